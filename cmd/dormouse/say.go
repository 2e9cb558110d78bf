package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/say"
)

const mostSay = 256 << 10 // bytes of a say: what Lambda takes for an asynchronous invocation, as it always was

func sayCommand() *cli.Command {
	return &cli.Command{
		Name:     "say",
		Category: categoryOperate,
		Metadata: example(`dormouse say --stack dormouse --chat telegram:-1001234 "Staging is green again."`,
			`dormouse say --stack dormouse --chat slack:C0123 --every "monday 09:00" --timezone Europe/Berlin --ask "What is due this week?"`,
			"dormouse say list --stack dormouse"),
		Usage:     "have the gateway say something in a chat, now, at a time, or again and again",
		ArgsUsage: "TEXT",
		Description: `The text is kept in the table under its key, so that it is said once however often it is sent, and goes to the chat like any
answer: in order, and again if the connector refuses it for now. A chat that has written within 90 days is found by its platform
and id; any other wants --type and --scope, too. With --ask the text is put to the agent, and its answer goes to the chat.
With --at or --every it becomes a schedule of EventBridge in the stack's group; the time of each firing is in its key.
--reply-to is a part of an answer that an agent has announced for later.`,
		Flags:    append(sayFlags(), whenFlags()...),
		Action:   sayAction,
		Commands: []*cli.Command{sayList(), sayRemove()},
	}
}

func sayFlags() []cli.Flag {
	return []cli.Flag{
		stackFlag(), jsonFlag(),
		&cli.StringFlag{Name: "chat", Usage: "where: `PLATFORM:ID`"},
		&cli.StringFlag{Name: "thread", Usage: "`ID` of a thread in that chat"},
		&cli.StringFlag{Name: "type", Usage: "`TYPE` of a chat that has not written: dm, group, channel, thread or forum"},
		&cli.StringFlag{Name: "scope", Usage: "`ID` of its guild, workspace or server; likewise"},
		&cli.StringFlag{Name: "user", Usage: "`ID` of a user: of a dm, who it is; with --ask, whose session it is"},
		&cli.StringFlag{Name: "file", Usage: "read the text from `FILE`, - for standard input; from a .json file an answer as an agent gives it"},
		&cli.BoolFlag{Name: "ask", Usage: "put the text to the agent, whose answer goes to the chat"},
		&cli.StringFlag{Name: "key", DefaultText: "a new one", Usage: "`KEY` under which it is said once"},
		&cli.StringFlag{Name: "reply-to", Usage: "answer the message of this `KEY` late, in place of --chat"},
		&cli.IntFlag{Name: "part", Usage: "with --reply-to: it is the part `N`, from 1; the whole answer without"},
		&cli.BoolFlag{Name: "last", Usage: "with --part: it is the last one"},
		&cli.BoolFlag{Name: "wait", Usage: "wait until the gateway has said it, or has given it to the drain that runs"},
	}
}

// spoken is what a say came to.
type spoken struct {
	Key      string        `json:"key"`
	Schedule string        `json:"schedule,omitempty"` // its name
	Drain    *drain.Report `json:"drain,omitempty"`    // with --wait
}

func sayAction(ctx context.Context, cmd *cli.Command) error {
	if cmd.String("stack") == "" {
		return misuse(errors.New("which gateway: give --stack"))
	}
	when, err := whenOf(cmd)
	if err != nil {
		return misuse(err)
	}
	payload, key, err := payloadOf(cmd, when)
	if err != nil {
		return misuse(err)
	}
	cloud, err := operatorConfig(ctx)
	if err != nil {
		return err
	}
	p := deployed{cloud: cloud}
	if err := p.find(ctx, cmd.String("stack")); err != nil {
		return err
	}
	if when.expression != "" {
		return p.schedule(ctx, cmd, when, payload, key)
	}
	client := lambda.NewFromConfig(cloud)
	out := cmd.Root().Writer
	if !cmd.Bool("wait") {
		_, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &p.function, InvocationType: types.InvocationTypeEvent, Payload: payload})
		if err != nil {
			return notInvoked(p.function, err)
		}
		if cmd.Bool("json") {
			return printJSON(out, spoken{Key: key})
		}
		_, err = fmt.Fprintf(out, "accepted under the key %s\n", key)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, armingTime)
	defer cancel()
	report, err := invokeWith(ctx, client, p.function, payload)
	if err != nil {
		return err
	}
	return toldSay(cmd, key, report)
}

// toldSay says what became of a say that was waited for.
func toldSay(cmd *cli.Command, key string, report drain.Report) error {
	out := cmd.Root().Writer
	var err error
	switch {
	case report.Status == drain.Disabled:
		err = found(errors.New("it is kept, and the gateway is off: dormouse enable says what to do"))
	case report.Dead > 0:
		err = found(fmt.Errorf("%d were given up in this run: dormouse dead list --stack %s", report.Dead, cmd.String("stack")))
	}
	if cmd.Bool("json") {
		return errors.Join(printJSON(out, spoken{Key: key, Drain: &report}), err)
	}
	said := fmt.Sprintf("%s under the key %s\n", report.Status, key)
	if report.Said > 0 && report.Dead == 0 {
		said = fmt.Sprintf("said under the key %s (%s)\n", key, report.Status)
	}
	_, failed := io.WriteString(out, said)
	return errors.Join(failed, err)
}

// payloadOf is the invocation that has said what a command line means, checked as drain checks it.
func payloadOf(cmd *cli.Command, w when) (payload []byte, key string, err error) {
	s := map[string]any{"reason": say.Reason}
	if err := addWhere(cmd, s); err != nil {
		return nil, "", err
	}
	key = cmd.String("key")
	switch reply := cmd.String("reply-to"); {
	case reply != "" && w.expression != "":
		return nil, "", errors.New("--reply-to is said now: leave out --at and --every")
	case reply != "":
		if key != "" {
			return nil, "", errors.New("--key: of a late answer it is that of the message and the part's number; leave it out")
		}
	case w.expression != "":
		s["key"] = w.name + "@" + firingTime
	case key == "":
		key = "say-" + strings.ToLower(rand.Text()[:16])
		fallthrough
	default:
		s["key"] = key
	}
	if err := addWhat(cmd, s); err != nil {
		return nil, "", err
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // EventBridge looks for firingTime as it is written
	if err := encoder.Encode(s); err != nil {
		return nil, "", err
	}
	payload = bytes.TrimSpace(b.Bytes())
	if len(payload) > mostSay {
		return nil, "", fmt.Errorf("it has %d bytes; %d are taken: say it in parts", len(payload), mostSay)
	}
	parsed, err := say.Parse(payload)
	if err != nil {
		return nil, "", fmt.Errorf("%w (these are the members of what drain is invoked with)", err)
	}
	return payload, parsed.Key, nil
}

// addWhere adds the chat that a command line names, or the message that it answers.
func addWhere(cmd *cli.Command, s map[string]any) error {
	if reply := cmd.String("reply-to"); reply != "" {
		if cmd.String("chat") != "" {
			return errors.New("--reply-to goes where its message came from: leave out --chat")
		}
		s["reply_to_delivery"] = reply
		if cmd.IsSet("part") {
			s["n"], s["last"] = cmd.Int("part"), cmd.Bool("last")
		}
		return nil
	}
	platform, id, ok := strings.Cut(cmd.String("chat"), ":")
	if !ok || platform == "" || id == "" {
		return errors.New("--chat: want PLATFORM:ID, such as telegram:-1001234; the id is what an agent gets as event.source.chat_id")
	}
	chat := map[string]string{"platform": platform, "chat_id": id}
	for flag, member := range map[string]string{"thread": "thread_id", "type": "chat_type", "scope": "scope_id", "user": "user_id"} {
		if value := cmd.String(flag); value != "" {
			chat[member] = value
		}
	}
	s["chat"] = chat
	return nil
}

// addWhat adds what is to be said: the arguments, or a file.
func addWhat(cmd *cli.Command, s map[string]any) error {
	text, file := strings.Join(cmd.Args().Slice(), " "), cmd.String("file")
	switch {
	case text != "" && file != "":
		return errors.New("there is a text and a --file: give one of them")
	case file != "":
		raw, err := readSay(cmd, file)
		if err != nil {
			return err
		}
		text = strings.TrimRight(string(raw), "\n")
		if strings.HasSuffix(file, ".json") && !cmd.Bool("ask") {
			var answer map[string]any
			if err := json.Unmarshal(raw, &answer); err != nil {
				return fmt.Errorf(`%s: want an answer as an agent gives it, {"actions":[...]} or {"text":"..."}: %w`, file, err)
			}
			for _, member := range []string{"actions", "text"} {
				if answer[member] != nil {
					s[member] = answer[member]
				}
			}
			return nil
		}
	}
	if cmd.Bool("ask") {
		s["ask"] = map[string]string{"text": text}
	} else {
		s["text"] = text
	}
	return nil
}

func readSay(cmd *cli.Command, file string) ([]byte, error) {
	if file != "-" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--file: %w", err)
		}
		return raw, nil
	}
	raw, err := io.ReadAll(io.LimitReader(cmd.Root().Reader, mostSay+1))
	if err != nil {
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	return raw, nil
}
