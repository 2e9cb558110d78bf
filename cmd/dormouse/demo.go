package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/demo"
	"github.com/dormouse-relay/dormouse/internal/devstage"
)

const agentSecretVariable = "DORMOUSE_AGENT_SECRET"

// demoCommand draws in colours, so it writes to the terminal itself.
func demoCommand(out io.Writer) *cli.Command {
	return &cli.Command{
		Name:     "demo",
		Category: categoryTry,
		Metadata: example("dormouse demo"),
		Usage:    "show the whole loop on this machine: poke, drain, answer, sleep",
		Description: `Starts a connector and the built functions as processes of their own, delivers messages while the
gateway sleeps, and prints what happens. It needs no network, no account and no settings, and ends
with an error if anything did not happen as it should.`,
		Flags: []cli.Flag{functionsFlag()},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			cfg, err := demoConfig(cmd)
			if err != nil {
				return err
			}
			cfg.Color = wantsColor(out)
			if err := demo.Run(ctx, cfg, out); err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			return nil
		},
	}
}

func chatCommand() *cli.Command {
	return &cli.Command{
		Name:     "chat",
		Category: categoryTry,
		Metadata: example("dormouse chat --agent http://127.0.0.1:8080/"),
		Usage:    "talk to an agent on this machine, through the whole loop",
		Description: `Each line is a message in a Discord channel, "/name ..." is a command, and a number presses that button of
the last question. What the agent does is printed as it reaches the connector. The gateway runs as in
the demonstration, with a table of its own: it sleeps a second after the last word, and a message wakes it. With a signing secret
in ` + agentSecretVariable + ` turns are signed.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "agent", Value: "echo", Usage: "`URL` of the agent, http on this machine or https, or echo"},
			functionsFlag(),
			dirFlag(),
		},
		Action: func(ctx context.Context, cmd *cli.Command) (err error) {
			cfg, err := demoConfig(cmd)
			if err != nil {
				return err
			}
			table, err := openOwnTable(ctx, cmd)
			if err != nil {
				return fmt.Errorf("chat: %w", err)
			}
			defer func() { err = errors.Join(err, table.Close()) }()
			cfg.Ledger = table.Ledger(demo.Gateway)
			env := table.Variables()
			env["DORMOUSE_AGENT"] = cmd.String("agent")
			fmt.Fprintf(cmd.Root().Writer, "What is said is kept %s. While this runs, in another shell:\n  export AWS_ENDPOINT_URL_DYNAMODB=%s%s\n"+
				"  build/dormouse status --table %[4]s --instance %[5]s\n  build/dormouse dead list --table %[4]s --instance %[5]s\n\n",
				table.Where(), table.URL, anyKeys(nil), devstage.TableName, demo.Gateway)
			if secret := os.Getenv(agentSecretVariable); secret != "" {
				env[agentSecretVariable] = secret
			}
			if err := demo.Chat(ctx, cfg, env, cmd.Root().Reader, cmd.Root().Writer); err != nil {
				return fmt.Errorf("chat: %w", err)
			}
			return nil
		},
	}
}

// demoConfig is the demonstration's configuration. The connector in it is this program, started once more.
func demoConfig(cmd *cli.Command) (demo.Config, error) {
	if err := noArguments(cmd); err != nil {
		return demo.Config{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return demo.Config{}, fmt.Errorf("finding this program, to start it as connector: %w", err)
	}
	return demo.Config{
		Functions: cmd.String("functions"), Connector: []string{self, "connector"},
	}, nil
}

// wantsColor reports whether out is a terminal whose user wants colours.
func wantsColor(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
