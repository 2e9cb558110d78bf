package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func deadCommand() *cli.Command {
	one := func(name, usage string, do func(context.Context, ledger.Operator, string, io.Writer) error) *cli.Command {
		var key string
		cmd := &cli.Command{Name: name, Usage: usage}
		cmd.Flags = []cli.Flag{&cli.StringFlag{
			Name: "key", Usage: "`KEY` of the message, as dormouse dead list shows it", Required: true, Destination: &key,
		}}
		return atLedger(cmd, func(ctx context.Context, book ledger.Operator, _ string, out io.Writer) error {
			return do(ctx, book, key, out)
		})
	}
	return &cli.Command{
		Name:  "dead",
		Usage: "look after the messages that were given up",
		Description: "A message is dead after DORMOUSE_MAX_ATTEMPTS failed attempts, after an agent's permanent refusal, or if it\n" +
			"cannot be read. It is kept with its error for 90 days.",
		Commands: []*cli.Command{
			atLedger(&cli.Command{Name: "list", Usage: "list them, the longest dead first"}, listDead),
			one("show", "show one with all that is kept of it: the user's message, too", showDead),
			one("retry", "put one back: the next drain takes it up as if it had never been tried", retryDead),
			one("drop", "drop one, and what it said", dropDead),
		},
	}
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
	fmt.Fprintln(w, "KEY\tDIED\tATTEMPTS\tERROR")
	for _, e := range dead {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", e.Key, stamp(e.Died), e.Attempts, e.Error)
	}
	return w.Flush()
}

func showDead(ctx context.Context, book ledger.Operator, key string, out io.Writer) error {
	e, err := book.ShowDead(ctx, key)
	if err != nil {
		return err
	}
	shown := struct {
		Key      string            `json:"key"`
		Died     string            `json:"died"`
		Attempts int               `json:"attempts"`
		Error    string            `json:"error"`
		Message  json.RawMessage   `json:"message,omitempty"`
		Actions  []json.RawMessage `json:"actions,omitempty"`
		Outcomes []string          `json:"outcomes,omitempty"`
	}{e.Key, stamp(e.Died), e.Attempts, e.Error, e.Body, e.Actions, e.Done}
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(shown)
}

func retryDead(ctx context.Context, book ledger.Operator, key string, out io.Writer) error {
	if err := book.RetryDead(ctx, key); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: put back; the next drain takes it up: dormouse arm\n", key)
	return nil
}

func dropDead(ctx context.Context, book ledger.Operator, key string, out io.Writer) error {
	if err := book.DropDead(ctx, key); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: dropped\n", key)
	return nil
}
