package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:     "status",
		Category: categoryOperate,
		Metadata: example("dormouse status --stack dormouse", "dormouse status --stack dormouse --json"),
		Usage:    "say what a deployed gateway is doing, and what it waits for",
		Description: `The first line says it in a word: asleep, draining, disabled, identity refused, connector unreachable, agent
away, seat taken by another, credentials refused, budget used up. What it cost in the last day comes from CloudWatch, all else
from its table, which the last drain has written. dormouse doctor goes and looks.`,
		Flags: append(deployedFlags(), jsonFlag()),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			v, err := during(cmd.Root().ErrWriter, "reading its table and CloudWatch", func() (view, error) { return viewOf(ctx, cmd) })
			if err != nil {
				return err
			}
			if cmd.Bool("json") {
				return printJSON(cmd.Root().Writer, v)
			}
			return v.print(cmd.Root().Writer, time.Now())
		},
	}
}

// viewOf is what there is to know of the gateway that a command line means.
func viewOf(ctx context.Context, cmd *cli.Command) (view, error) {
	p, err := deployedAt(ctx, cmd)
	if err != nil {
		return view{}, err
	}
	book, err := p.ledger()
	if err != nil {
		return view{}, err
	}
	now := time.Now()
	v, err := look(ctx, book, p.instance, now)
	if err == nil {
		v.Cost = p.costOf(ctx, now)
	}
	return v, err
}

func enableCommand() *cli.Command {
	return withLedger(&cli.Command{
		Name:     "enable",
		Category: categoryOperate,
		Metadata: example("dormouse enable --stack dormouse"),
		Usage:    "switch a gateway on again that the connector had refused for good",
		Description: `A gateway whose refusal was final stays off, whatever pokes it, until its operator says otherwise. First see
to it that the connector accepts it again: have it enabled there, or enroll it anew with dormouse rotate.`,
		Flags: []cli.Flag{jsonFlag()},
	}, func(cmd *cli.Command) (atBook, error) {
		if cmd.Bool("json") {
			return enableJSON, noArguments(cmd)
		}
		return enable, noArguments(cmd)
	})
}

// atBook does something with the ledger of an instance, and prints what was done.
type atBook func(ctx context.Context, book ledger.Operator, instance string, out io.Writer) error

// withLedger makes a command that works on the ledger of a deployed gateway. read turns its command line into what is to be
// done.
func withLedger(cmd *cli.Command, read func(*cli.Command) (atBook, error)) *cli.Command {
	cmd.Flags = append(cmd.Flags, deployedFlags()...)
	cmd.Action = func(ctx context.Context, cmd *cli.Command) error {
		do, err := read(cmd)
		if err != nil {
			return err
		}
		p, err := deployedAt(ctx, cmd)
		if err != nil {
			return err
		}
		book, err := p.ledger()
		if err != nil {
			return err
		}
		return do(ctx, book, p.instance, cmd.Root().Writer)
	}
	return cmd
}

// status prints an instance's state. A disabled instance is no error: it is off until an operator enables it.
func status(ctx context.Context, book ledger.Operator, instance string, out io.Writer) error {
	now := time.Now()
	v, err := look(ctx, book, instance, now)
	if err != nil {
		return err
	}
	return v.print(out, now)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

func enable(ctx context.Context, book ledger.Operator, instance string, out io.Writer) error {
	standing, err := book.Standing(ctx)
	if err != nil {
		return err
	}
	if !standing.Disabled {
		fmt.Fprintf(out, "%s: is not disabled\n", instance)
		return nil
	}
	if err := book.Enable(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: enabled; see whether it is accepted: dormouse arm\n", instance)
	return nil
}

// enableJSON is enable for programs: whether it was off.
func enableJSON(ctx context.Context, book ledger.Operator, instance string, out io.Writer) error {
	standing, err := book.Standing(ctx)
	if err == nil && standing.Disabled {
		err = book.Enable(ctx)
	}
	if err != nil {
		return err
	}
	return printJSON(out, map[string]any{"instance": instance, "enabled": true, "was_disabled": standing.Disabled})
}
