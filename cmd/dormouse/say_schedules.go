package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/say"
	"github.com/dormouse-relay/dormouse/internal/terminal"
)

// firingTime is what EventBridge Scheduler puts the time of a firing in the place of: two invocations of one firing have one
// key, and two firings have two.
const firingTime = "<aws.scheduler.scheduled-time>"

const (
	outputRole = "ScheduleRoleArn" // of the template: what schedules invoke drain as
	lateFiring = 6 * 60 * 60       // seconds for which a firing is tried
)

// when says when something is said; without an expression: now.
type when struct {
	name, expression, zone string
	once                   bool
}

func whenFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "at", Usage: "say it once, at this `TIME`: 2026-12-24T18:00, or with an offset as RFC 3339 has it"},
		&cli.StringFlag{Name: "every", Usage: "say it again and again: `WHEN` is a time (2h, 1d), a day (\"monday 09:00\", \"weekday 09:00\", " +
			"\"day 09:00\"), or an expression of EventBridge Scheduler (cron(...), rate(...))"},
		&cli.StringFlag{Name: "timezone", Value: "UTC", Usage: "`ZONE` of --at and --every, such as Europe/Berlin"},
		&cli.StringFlag{Name: "name", DefaultText: "made of what it says", Usage: "`NAME` of the schedule, which dormouse say list shows"},
	}
}

var scheduleName = regexp.MustCompile(`^[0-9a-zA-Z_.-]{1,64}$`)

// whenOf reads the flags that say when.
func whenOf(cmd *cli.Command) (w when, err error) {
	at, every := cmd.String("at"), cmd.String("every")
	switch {
	case at != "" && every != "":
		return when{}, errors.New("--at is once, and --every again and again: give one of them")
	case at == "" && every == "":
		if cmd.IsSet("name") || cmd.IsSet("timezone") {
			return when{}, errors.New("--name and --timezone are for --at and --every")
		}
		return when{}, nil
	case cmd.Bool("wait"):
		return when{}, errors.New("--wait is for what is said now")
	case cmd.IsSet("key"):
		return when{}, errors.New("--key: that of a schedule is its --name and the time of the firing")
	}
	w.zone = cmd.String("timezone")
	zone, err := zoneNamed(w.zone)
	if err != nil {
		return when{}, err
	}
	if at != "" {
		w.once = true
		w.expression, err = atOnce(at, zone, time.Now())
	} else {
		w.expression, err = again(every)
	}
	if err != nil {
		return when{}, err
	}
	sum := sha256.Sum256([]byte(strings.Join(append(cmd.Args().Slice(), cmd.String("chat"), cmd.String("file"), w.expression), "\x00")))
	if w.name = cmd.String("name"); w.name == "" {
		w.name = "say-" + hex.EncodeToString(sum[:4])
	}
	if !scheduleName.MatchString(w.name) {
		return when{}, fmt.Errorf("--name: %.80q: want letters, digits, and _ . - only, 64 at most", w.name)
	}
	return w, nil
}

var errNoEventBridge = errors.New("dormouse host has no EventBridge: schedules want a deployed gateway")

// schedule has the payload said when it is time.
func (p *deployed) schedule(ctx context.Context, cmd *cli.Command, w when, payload []byte, key string) error {
	if p.local {
		return errNoEventBridge
	}
	role, err := stackOutput(ctx, cloudformation.NewFromConfig(p.cloud), p.stack, outputRole)
	if err != nil {
		return err
	}
	function, err := lookUp(ctx, lambda.NewFromConfig(p.cloud), p.function)
	if err != nil {
		return err
	}
	in := &scheduler.CreateScheduleInput{
		Name: &w.name, GroupName: &p.stack, ScheduleExpression: &w.expression, ScheduleExpressionTimezone: &w.zone,
		Description:        aws.String("dormouse say: " + cmd.String("chat")),
		FlexibleTimeWindow: &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
		Target: &types.Target{
			Arn: function.FunctionArn, RoleArn: &role, Input: aws.String(string(payload)),
			RetryPolicy: &types.RetryPolicy{MaximumEventAgeInSeconds: aws.Int32(lateFiring)},
		},
	}
	if w.once {
		in.ActionAfterCompletion = types.ActionAfterCompletionDelete
	}
	_, err = scheduler.NewFromConfig(p.cloud).CreateSchedule(ctx, in)
	if _, there := errors.AsType[*types.ConflictException](err); there {
		return fmt.Errorf("there is a schedule %s already: remove it (dormouse say remove %[1]s --stack %s), or give another --name", w.name, p.stack)
	}
	if err != nil {
		return p.noSchedules("making the schedule "+w.name, err)
	}
	out := cmd.Root().Writer
	if cmd.Bool("json") {
		return printJSON(out, spoken{Key: key, Schedule: w.name})
	}
	_, err = fmt.Fprintf(out, "schedule %s: %s %s\n", w.name, w.expression, w.zone)
	return err
}

// noSchedules is an error of EventBridge Scheduler, with what to do if the stack has no group.
func (p *deployed) noSchedules(act string, err error) error {
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
		return fmt.Errorf("%s: the stack %s has no such schedule, or no group of schedules: if it was deployed by an earlier version, deploy it again: %w",
			act, p.stack, err)
	}
	return fmt.Errorf("%s: %w", act, err)
}

// stackOutput is an output of a stack.
func stackOutput(ctx context.Context, client *cloudformation.Client, stack, name string) (string, error) {
	found, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &stack})
	if err != nil {
		return "", fmt.Errorf("looking up the stack %s: %w", stack, err)
	}
	for _, o := range found.Stacks[0].Outputs {
		if aws.ToString(o.OutputKey) == name {
			return aws.ToString(o.OutputValue), nil
		}
	}
	return "", fmt.Errorf("the stack %s has no output %s: it was deployed by an earlier version; deploy it again", stack, name)
}

// scheduled is a schedule in a list.
type scheduled struct {
	Name string `json:"name"`
	When string `json:"when"`
	Zone string `json:"timezone,omitempty"`
	Chat string `json:"chat"`
	Says string `json:"says"`
	Asks bool   `json:"asks,omitempty"`
}

func sayList() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the schedules of what is to be said",
		Metadata: example("dormouse say list --stack dormouse", "dormouse say list --stack dormouse --json"),
		Flags:    []cli.Flag{stackFlag(), jsonFlag()},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			p, err := stackOf(ctx, cmd)
			if err != nil {
				return err
			}
			list, err := p.schedules(ctx)
			if err != nil {
				return err
			}
			if cmd.Bool("json") {
				return printJSON(cmd.Root().Writer, list)
			}
			return printSchedules(cmd.Root().Writer, list)
		},
	}
}

func sayRemove() *cli.Command {
	return &cli.Command{
		Name: "remove", Usage: "remove a schedule", ArgsUsage: "NAME",
		Metadata: example("dormouse say remove say-0a1b2c3d --stack dormouse"),
		Flags:    []cli.Flag{stackFlag()},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.Args().Len() != 1 {
				return misuse(errors.New("which schedule: give its name, as dormouse say list shows it"))
			}
			p, err := stackOf(ctx, cmd)
			if err != nil {
				return err
			}
			name := cmd.Args().First()
			_, err = scheduler.NewFromConfig(p.cloud).DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{Name: &name, GroupName: &p.stack})
			if err != nil {
				return p.noSchedules("removing the schedule "+name, err)
			}
			_, err = fmt.Fprintf(cmd.Root().Writer, "removed %s\n", name)
			return err
		},
	}
}

// stackOf is the deployed gateway of a command that knows only its stack.
func stackOf(ctx context.Context, cmd *cli.Command) (*deployed, error) {
	stack := cmd.String("stack")
	if stack == "" {
		return nil, misuse(errors.New("which gateway: give --stack"))
	}
	cloud, err := operatorConfig(ctx)
	if err != nil {
		return nil, err
	}
	p := &deployed{cloud: cloud, stack: stack}
	if p.find(ctx, stack) == nil && p.local { // who may only list schedules may not look the function up
		return nil, errNoEventBridge
	}
	return &deployed{cloud: cloud, stack: stack}, nil
}

// schedules are those of the stack's group, by name.
func (p *deployed) schedules(ctx context.Context) ([]scheduled, error) {
	client := scheduler.NewFromConfig(p.cloud)
	list := []scheduled{}
	pages := scheduler.NewListSchedulesPaginator(client, &scheduler.ListSchedulesInput{GroupName: &p.stack})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, p.noSchedules("listing the schedules", err)
		}
		for _, one := range page.Schedules {
			s, err := client.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: one.Name, GroupName: &p.stack})
			if err != nil {
				return nil, p.noSchedules("reading the schedule "+aws.ToString(one.Name), err)
			}
			next := scheduled{
				Name: aws.ToString(s.Name), When: aws.ToString(s.ScheduleExpression), Zone: aws.ToString(s.ScheduleExpressionTimezone),
			}
			if s.Target != nil {
				next.describe(aws.ToString(s.Target.Input))
			}
			list = append(list, next)
		}
	}
	slices.SortFunc(list, func(a, b scheduled) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// describe says what a schedule says, and where.
func (s *scheduled) describe(input string) {
	parsed, err := say.Parse([]byte(input))
	if err != nil {
		s.Says = "(not a say: " + err.Error() + ")"
		return
	}
	s.Chat = parsed.Chat.Platform + ":" + parsed.Chat.ChatID
	if s.Asks = parsed.Ask != nil; s.Asks {
		s.Says = parsed.Ask.Text
		return
	}
	s.Says, _ = parsed.Actions[0]["content"].(string)
	if s.Says == "" || len(parsed.Actions) > 1 {
		s.Says = strings.TrimSpace(fmt.Sprintf("%s (%d actions)", s.Says, len(parsed.Actions)))
	}
}

func printSchedules(out io.Writer, list []scheduled) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "no schedules")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range list {
		what := s.Says
		if s.Asks {
			what = "asks: " + what
		}
		fmt.Fprintf(w, "%s\t%s %s\t%s\t%.60q\n", s.Name, s.When, s.Zone, terminal.Line(s.Chat), what)
	}
	return w.Flush()
}
