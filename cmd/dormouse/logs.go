package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/terminal"
)

const (
	followEvery = 2 * time.Second
	// settle is how late CloudWatch may show a line: while it is followed, the last seconds are read again.
	settle = 10 * time.Second
)

func logsCommand() *cli.Command {
	return &cli.Command{
		Name:     "logs",
		Category: categoryOperate,
		Metadata: example("dormouse logs --stack dormouse --since 1h",
			"dormouse logs --stack dormouse --delivery 615cf69d82aba6ca14bf2db7f62304c4", "dormouse logs --stack dormouse --follow"),
		Usage: "show what both functions logged, or one message's way from the poke to the reply",
		Description: `Reads the log groups of wake and drain in CloudWatch, in the order of time. With --delivery it shows the lines of one
message, and those of the runs that had it: the poke, the lease, the socket. The key of a message is in dormouse status, in
dormouse dead list, and what an agent gets as delivery.key. A gateway that dormouse host runs logs to that command's own output.`,
		Flags: []cli.Flag{
			stackFlag(), jsonFlag(),
			&cli.StringFlag{Name: "delivery", Usage: "only the way of the message with this `KEY`"},
			&cli.StringFlag{Name: "since", Value: "3h", Usage: "lines since `WHEN`: a time ago (2h, 90m) or a date (2026-11-27, or RFC 3339)"},
			&cli.BoolFlag{Name: "follow", Usage: "go on with what is logged from now on, until Ctrl-C"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			stack := cmd.String("stack")
			if stack == "" {
				return misuse(errors.New("which gateway: give --stack"))
			}
			from, err := parseSince(cmd.String("since"), time.Now())
			if err != nil {
				return misuse(err)
			}
			cloud, err := operatorConfig(ctx)
			if err != nil {
				return err
			}
			r := &reader{
				client: cloudwatchlogs.NewFromConfig(cloud), stack: stack, delivery: cmd.String("delivery"),
				raw: cmd.Bool("json"), out: cmd.Root().Writer, shown: map[string]bool{},
			}
			n, err := during(cmd.Root().ErrWriter, "reading CloudWatch", func() (int, error) { return r.read(ctx, from) })
			if err != nil {
				if p := (deployed{cloud: cloud}); p.find(ctx, stack) == nil && p.local {
					return fmt.Errorf("dormouse host runs %s, and prints its log itself, in the shell in which it was started", stack)
				}
				return err
			}
			if cmd.Bool("follow") {
				return r.follow(ctx)
			}
			if n == 0 {
				return found(r.nothing(from))
			}
			return nil
		},
	}
}

// reader reads the log groups of a stack.
type reader struct {
	client   *cloudwatchlogs.Client
	stack    string
	delivery string // only the way of this message; empty: all
	raw      bool   // print lines as they were logged
	out      io.Writer
	shown    map[string]bool // ids of the events that were printed
}

// logged is a line of a function's log.
type logged struct {
	id, function, text string
	at                 time.Time
	fields             map[string]any // nil: it is no JSON object
}

func (l logged) field(name string) string {
	s, _ := l.fields[name].(string)
	return s
}

// read prints what was logged since a time, but for what it has printed before. n counts the lines.
func (r *reader) read(ctx context.Context, from time.Time) (n int, err error) {
	var lines []logged
	if r.delivery == "" {
		lines, err = r.lines(ctx, from, "", "")
	} else {
		lines, err = r.way(ctx, from)
	}
	if err != nil {
		return 0, err
	}
	slices.SortStableFunc(lines, func(a, b logged) int { return a.at.Compare(b.at) })
	for _, l := range lines {
		if r.shown[l.id] {
			continue
		}
		r.shown[l.id] = true
		n++
		if err := r.print(l); err != nil {
			return n, err
		}
	}
	return n, nil
}

// way are the lines of one message, those of the runs that had it that are about no other message, and the pokes that may
// have started these.
func (r *reader) way(ctx context.Context, from time.Time) ([]logged, error) {
	own, err := r.lines(ctx, from, logs.KeyDelivery, r.delivery)
	if err != nil || len(own) == 0 {
		return nil, err
	}
	lines := own
	seen := map[string]bool{}
	first := own[0].at
	for _, l := range own {
		if l.at.Before(first) {
			first = l.at
		}
		request := l.field("requestId")
		if request == "" || seen[request] {
			continue
		}
		seen[request] = true
		run, err := r.lines(ctx, from, "requestId", request)
		if err != nil {
			return nil, err
		}
		for _, other := range run {
			if other.field(logs.KeyDelivery) == "" {
				lines = append(lines, other)
			}
		}
	}
	pokes, err := r.lines(ctx, first.Add(-2*time.Minute), "message", logs.Poke)
	if err != nil {
		return nil, err
	}
	for _, poke := range pokes {
		if poke.at.Before(first) {
			lines = append(lines, poke)
		}
	}
	return lines, nil
}

// lines are those of both groups since a time whose field has a value; all of them if it names none.
func (r *reader) lines(ctx context.Context, from time.Time, field, value string) (all []logged, err error) {
	for _, function := range []string{"wake", "drain"} {
		in := &cloudwatchlogs.FilterLogEventsInput{
			LogGroupName: aws.String("/aws/lambda/" + r.stack + "-" + function), StartTime: aws.Int64(from.UnixMilli()),
		}
		if field != "" { // CloudWatch sends fewer then; what it sends is looked at all the same
			in.FilterPattern = aws.String(fmt.Sprintf("{ $.%s = %q }", field, value))
		}
		for {
			out, err := r.client.FilterLogEvents(ctx, in)
			if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
				return nil, fmt.Errorf("there is no log group %s in %s: check --stack, and that AWS_REGION and the AWS profile are the "+
					"stack's (dormouse host logs to its own output)", *in.LogGroupName, r.client.Options().Region)
			}
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", *in.LogGroupName, err)
			}
			for _, e := range out.Events {
				l := logged{id: aws.ToString(e.EventId), function: function, text: strings.TrimSpace(aws.ToString(e.Message))}
				l.at = time.UnixMilli(aws.ToInt64(e.Timestamp))
				json.Unmarshal([]byte(l.text), &l.fields) // what is no JSON is printed as it is
				if at, err := time.Parse(time.RFC3339Nano, l.field("timestamp")); err == nil {
					l.at = at
				}
				if field == "" || l.field(field) == value {
					all = append(all, l)
				}
			}
			if aws.ToString(out.NextToken) == "" {
				break
			}
			in.NextToken = out.NextToken
		}
	}
	return all, nil
}

// follow prints what is logged from now on, until ctx ends.
func (r *reader) follow(ctx context.Context) error {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			if _, err := r.read(ctx, now.Add(-settle)); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

func (r *reader) nothing(from time.Time) error {
	if r.delivery != "" {
		return fmt.Errorf("no line since %s is about the message %s: is the key whole, and did it come before that (--since)?", stamp(from), r.delivery)
	}
	return fmt.Errorf("nothing was logged since %s: give another --since", stamp(from))
}

// metaFields are in no line for people: they are in all lines, or are for programs.
var metaFields = []string{"timestamp", "level", "message", "version", "requestId", "_aws", logs.KeyDelivery}

// print prints a line: for programs as it was logged, for people its time, function, level and text, and its fields.
func (r *reader) print(l logged) error {
	if r.raw || l.fields == nil {
		_, err := fmt.Fprintln(r.out, terminal.Line(l.text))
		return err
	}
	text := cmp.Or(l.field("message"), l.field("type")) // Lambda's own lines have a type
	line := fmt.Sprintf("%s %-5s %-5s %s", l.at.UTC().Format("2006-01-02T15:04:05.000Z"), l.function, cmp.Or(l.field("level"), "-"), text)
	var names []string
	for name := range l.fields {
		if !slices.Contains(metaFields, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		value, is := l.fields[name].(string)
		if !is {
			raw, err := json.Marshal(l.fields[name])
			if err != nil {
				return err
			}
			value = string(raw)
		}
		line += fmt.Sprintf("  %s=%s", name, value)
	}
	if key := l.field(logs.KeyDelivery); key != "" && r.delivery == "" {
		line += "  delivery=" + key
	}
	_, err := fmt.Fprintln(r.out, terminal.Line(line))
	return err
}
