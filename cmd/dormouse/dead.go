package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/terminal"
)

func deadCommand() *cli.Command {
	return &cli.Command{
		Name:     "dead",
		Category: categoryOperate,
		Metadata: example("dormouse dead list --stack dormouse"),
		Usage:    "look after the messages that were given up",
		Description: "A message is dead after DORMOUSE_MAX_ATTEMPTS failed attempts, after a refusal for good by the agent or the\n" +
			"connector, if it has waited for one of them for DORMOUSE_GIVE_UP_AFTER, or if it cannot be read. It is kept with\n" +
			"its error, and with its answer if there is one, for 90 days.",
		Commands: []*cli.Command{
			deadList(), deadShow(), deadRetry(), deadDrop(),
		},
	}
}

func deadList() *cli.Command {
	cmd := &cli.Command{
		Name:     "list",
		Usage:    "list them, the longest dead first",
		Metadata: example("dormouse dead list --stack dormouse", "dormouse dead list --stack dormouse --json"),
		Flags:    []cli.Flag{jsonFlag()},
	}
	return withLedger(cmd, func(cmd *cli.Command) (atBook, error) {
		if cmd.Bool("json") {
			return listDeadJSON, noArguments(cmd)
		}
		return listDead, noArguments(cmd)
	})
}

// deadMessage is a dead message in a list for programs.
type deadMessage struct {
	Key      string    `json:"key"`
	Died     time.Time `json:"died"`
	Chat     string    `json:"chat,omitempty"` // as --chat takes it
	Attempts int       `json:"attempts"`
	Error    string    `json:"error"`
}

func listDeadJSON(ctx context.Context, book ledger.Operator, _ string, out io.Writer) error {
	dead, err := book.ListDead(ctx)
	if err != nil {
		return err
	}
	list := []deadMessage{}
	for _, e := range dead {
		chat, err := chatOf(ctx, book, e.Key)
		if err != nil {
			return err
		}
		list = append(list, deadMessage{e.Key, e.Died.UTC(), chat, e.Attempts, e.Error})
	}
	return printJSON(out, list)
}

func deadShow() *cli.Command {
	cmd := &cli.Command{
		Name:      "show",
		Metadata:  example("dormouse dead show 615cf69d82aba6ca14bf2db7f62304c4 --stack dormouse"),
		ArgsUsage: "KEY", Usage: "show one with its error, the user's message, and what became of its answer",
		Description: "It is printed as JSON, also without --json.",
		Flags:       []cli.Flag{jsonFlag(), keyFlag()},
	}
	return withLedger(cmd, func(cmd *cli.Command) (atBook, error) {
		key, err := keyOf(cmd)
		if err == nil && key == "" {
			err = misuse(errors.New("which message: give its key, as dormouse dead list shows it"))
		}
		return func(ctx context.Context, book ledger.Operator, _ string, out io.Writer) error {
			return showDead(ctx, book, key, out)
		}, err
	})
}

func deadRetry() *cli.Command {
	cmd := &cli.Command{
		Name: "retry",
		Metadata: example("dormouse dead retry 615cf69d82aba6ca14bf2db7f62304c4 --stack dormouse", "dormouse dead retry --since 2h --ask --stack dormouse",
			"dormouse dead retry --all --stack dormouse --json"),
		ArgsUsage: "KEY", Usage: "put back one, or many: the next drain sends the answer, or asks the agent",
		Description: "A kept answer is sent as it is; what had reached its chat is not sent again. Without an answer the agent is asked.",
		Flags: append(choiceFlags(), &cli.BoolFlag{
			Name: "ask", Usage: "drop the answer and ask the agent again; it is told what of it had reached the chat",
		}),
	}
	return withLedger(cmd, func(cmd *cli.Command) (atBook, error) {
		c, err := chosen(cmd)
		return func(ctx context.Context, book ledger.Operator, _ string, out io.Writer) error {
			return retryDead(ctx, book, c, cmd.Bool("ask"), out)
		}, err
	})
}

func retryDead(ctx context.Context, book ledger.Operator, c choice, ask bool, out io.Writer) error {
	h, err := c.forEach(ctx, book, func(ctx context.Context, key string) error { return book.RetryDead(ctx, key, ask) })
	if c.json {
		return errors.Join(printJSON(out, h), err)
	}
	h.tell(out, "put back", c.key == "" && err == nil)
	if len(h.Done) > 0 {
		fmt.Fprintln(out, "the next drain takes up what was put back: dormouse arm")
	}
	return err
}

func deadDrop() *cli.Command {
	cmd := &cli.Command{
		Name:      "drop",
		Metadata:  example("dormouse dead drop --chat telegram:-100123 --stack dormouse", "dormouse dead drop --all --stack dormouse --json"),
		ArgsUsage: "KEY", Usage: "drop one, or many: what was said, and what was to be answered",
		Flags: choiceFlags(),
	}
	return withLedger(cmd, func(cmd *cli.Command) (atBook, error) {
		c, err := chosen(cmd)
		return func(ctx context.Context, book ledger.Operator, _ string, out io.Writer) error {
			return dropDead(ctx, book, c, out)
		}, err
	})
}

func dropDead(ctx context.Context, book ledger.Operator, c choice, out io.Writer) error {
	h, err := c.forEach(ctx, book, book.DropDead)
	if c.json {
		return errors.Join(printJSON(out, h), err)
	}
	h.tell(out, "dropped", c.key == "" && err == nil)
	return err
}

func listDead(ctx context.Context, book ledger.Operator, instance string, out io.Writer) error {
	dead, err := book.ListDead(ctx)
	if err != nil {
		return err
	}
	if len(dead) == 0 {
		fmt.Fprintf(out, "%s: no message is dead\n", instance)
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tDIED\tCHAT\tATTEMPTS\tERROR")
	for _, e := range dead {
		chat, err := chatOf(ctx, book, e.Key)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", e.Key, stamp(e.Died), cmp.Or(terminal.Line(chat), "-"), e.Attempts, terminal.Line(e.Error))
	}
	fmt.Fprintln(w, "message and answer: dormouse dead show KEY; put back: dead retry KEY; give up: dead drop KEY")
	return w.Flush()
}

// chatOf is where a dead message is from, as --chat takes it; empty if that is not known.
func chatOf(ctx context.Context, book ledger.Operator, key string) (string, error) {
	source, err := sourceOf(ctx, book, key)
	if err != nil || source.ChatID == "" {
		return "", err
	}
	return source.Platform + ":" + source.ChatID, nil
}

// shownAction is an action of a kept answer, with what became of it.
type shownAction struct {
	Action  json.RawMessage `json:"action"`
	Outcome string          `json:"outcome"`
}

func showDead(ctx context.Context, book ledger.Operator, key string, out io.Writer) error {
	e, err := book.ShowDead(ctx, key)
	if errors.Is(err, ledger.ErrNotDead) {
		return notDead(key, err)
	}
	if err != nil {
		return err
	}
	shown := struct {
		Key      string          `json:"key"`
		Died     string          `json:"died"`
		Attempts int             `json:"attempts"`
		Error    string          `json:"error"`
		Message  json.RawMessage `json:"message,omitempty"`
		Answer   []shownAction   `json:"answer,omitempty"`
		Broken   bool            `json:"answer_is_incomplete,omitempty"`
	}{Key: e.Key, Died: stamp(e.Died), Attempts: e.Attempts, Error: e.Error, Message: e.Body, Broken: e.Open}
	for i, action := range e.Actions {
		shown.Answer = append(shown.Answer, shownAction{action, cmp.Or(e.Done[i], "not sent, as far as is known")})
	}
	if err := printJSON(out, shown); err != nil {
		return fmt.Errorf("%s cannot be shown, or is not as it was written: %w", key, err)
	}
	return nil
}
