package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/terminal"
)

func statusCommand() *cli.Command {
	return atLedger(&cli.Command{
		Name:     "status",
		Category: categoryOperate,
		Metadata: example("dormouse status --stack dormouse"),
		Usage:    "show a deployed gateway: enabled or disabled, lease, last drain, next sweep, pending and dead messages",
	}, status)
}

func enableCommand() *cli.Command {
	return atLedger(&cli.Command{
		Name:     "enable",
		Category: categoryOperate,
		Metadata: example("dormouse enable --stack dormouse"),
		Usage:    "switch a gateway on again that the connector had refused for good",
		Description: `A gateway whose refusal was final stays off, whatever pokes it, until its operator says otherwise. First see
to it that the connector accepts it again: have it enabled there, or enroll it anew with dormouse rotate.`,
	}, enable)
}

// atLedger is withLedger for a command that takes flags only.
func atLedger(cmd *cli.Command, do atBook) *cli.Command {
	return withLedger(cmd, func(cmd *cli.Command) (atBook, error) { return do, noArguments(cmd) })
}

// atBook does something with the ledger of an instance, and prints what was done.
type atBook func(ctx context.Context, book ledger.Operator, instance string, out io.Writer) error

// withLedger makes a command that works on the ledger of a deployed gateway. read turns its command line into what is to be
// done.
func withLedger(cmd *cli.Command, read func(*cli.Command) (atBook, error)) *cli.Command {
	cmd.Flags = append(cmd.Flags,
		stackFlag(),
		&cli.StringFlag{Name: "table", Usage: "`NAME` of its table, instead; with --instance"},
		&cli.StringFlag{Name: "instance", Usage: "`ID` of the instance, else the gateway id, in that table"},
	)
	cmd.Action = func(ctx context.Context, cmd *cli.Command) error {
		do, err := read(cmd)
		if err != nil {
			return err
		}
		stack, table, instance := cmd.String("stack"), cmd.String("table"), cmd.String("instance")
		if stack == "" && (table == "" || instance == "") {
			return misuse(errors.New("which gateway: give --stack, or --table and --instance"))
		}
		cloud, err := operatorConfig(ctx)
		if err != nil {
			return err
		}
		if table == "" || instance == "" {
			function := stack + "-drain"
			variables, err := variablesOf(ctx, lambda.NewFromConfig(cloud), function)
			if err != nil {
				return err
			}
			if variables["DORMOUSE_TABLE"] == "" {
				return fmt.Errorf("%s has no table: its ledger is in its memory and cannot be read from here", function)
			}
			table = cmp.Or(table, variables["DORMOUSE_TABLE"])
			instance = cmp.Or(instance, variables["GATEWAY_RELAY_INSTANCE_ID"], variables["GATEWAY_RELAY_ID"], "gw-"+function)
		}
		return do(ctx, dynamo.New(dynamo.NewClient(cloud), table, instance), instance, cmd.Root().Writer)
	}
	return cmd
}

// status prints an instance's state. A disabled instance is no error: it is off until an operator enables it.
func status(ctx context.Context, book ledger.Operator, instance string, out io.Writer) error {
	o, err := book.Overview(ctx)
	if err != nil {
		return err
	}
	dead, err := book.ListDead(ctx)
	if err != nil {
		return err
	}
	standing := o.Standing
	switch {
	case standing.Disabled:
		fmt.Fprintf(out, "%s: disabled\n  since  %s\n  by     %s\n", instance, stamp(standing.DisabledAt), terminal.Line(standing.DisabledBy))
		fmt.Fprint(out, "  Nothing is dialled, provisioned or retried. Once the connector accepts it again: dormouse enable\n")
	case standing.Handshaken == "":
		fmt.Fprintf(out, "%s: enabled, never connected so far\n", instance)
	default:
		fmt.Fprintf(out, "%s: enabled, known to the connector as %s\n", instance, standing.Handshaken)
	}
	tellTrouble(out, standing.Trouble)
	lease := "free"
	if o.Held {
		lease = "held, until " + stamp(o.Until) + " unless renewed"
	}
	fmt.Fprintf(out, "  lease       %s\n", lease)
	fmt.Fprintf(out, "  last drain  %s\n", stamp(o.Ended))
	if !standing.Disabled {
		next := "at the schedule's next firing"
		if !o.Asked && !o.Plan.At.IsZero() {
			next = stamp(o.Plan.At)
		}
		fmt.Fprintf(out, "  next sweep  %s\n", next)
	}
	fmt.Fprintf(out, "  pending     %d messages\n", o.Pending)
	fmt.Fprintf(out, "  dead        %d messages\n", len(dead))
	tellBudgets(out, o, time.Now())
	tellRefusals(out, o.Refusals)
	if err := tellWaiting(ctx, book, out, o.Pending); err != nil {
		return err
	}
	if n := len(standing.FreshIDs); n > 0 {
		fmt.Fprintf(out, "  %d fresh gateway ids within a day, as its secret is withheld: enroll and pin instead\n", n)
	}
	return nil
}

// tellTrouble says what hinders an instance that is switched on.
func tellTrouble(out io.Writer, t ledger.Trouble) {
	switch {
	case t.What == "":
	case t.What == string(drain.Replaced):
		fmt.Fprintf(out, "  replaced    since %s: another socket takes this gateway's seat: two deployments share it;\n"+
			"              stop one, or give it another id (%s)\n", stamp(t.Since), terminal.Line(t.Said))
	case t.What == string(drain.IdentityRefused):
		fmt.Fprintf(out, "  identity    refused since %s, which is no opt-out: the next drain that is accepted goes on\n"+
			"              (%s)\n", stamp(t.Since), terminal.Line(t.Said))
	default:
		fmt.Fprintf(out, "  hindered    since %s: %s: %s\n", stamp(t.Since), terminal.Line(t.What), terminal.Line(t.Said))
	}
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
