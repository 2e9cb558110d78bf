package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/devstage"
	"github.com/dormouse-relay/dormouse/internal/page"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/version"
)

const (
	devAddress = "127.0.0.1:8780"
	devCloses  = 10 * time.Second
)

func devCommand() *cli.Command {
	return &cli.Command{
		Name:     "dev",
		Category: categoryTry,
		Metadata: example("dormouse dev --agent ./my-agent", "dormouse dev --agent http://127.0.0.1:8080/"),
		Usage:    "talk to an agent on a page, and see why the gateway does what it does",
		Description: `One command, nothing else to install or to configure: a connector for development, both functions as processes (this
program is both), a table that outlives them, the agent, and a page on this machine alone. The agent is a command, which is
started with a port in PORT and started again when its files change, or a URL, or echo. Settings come from this shell
(DORMOUSE_..., ..._ALLOW_BOTS) and from --set. What was said and done stays in the folder --dir.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "agent", Value: "echo", Usage: "`AGENT`: echo, the URL of one that runs, or a command that starts one"},
			&cli.StringFlag{Name: "agent-url", Usage: "`URL` where the command listens, if it does not heed PORT"},
			dirFlag(),
			&cli.StringFlag{Name: "listen", Value: devAddress, Usage: "`ADDRESS` of the page, on loopback; if this one is taken, any other"},
			&cli.StringFlag{Name: "preset", Value: "hosted", Usage: "whose ways the connector takes, as of dormouse connector: `NAME`"},
			&cli.StringSliceFlag{Name: "set", Usage: "`NAME=VALUE` of a setting (docs/settings.md); may be repeated"},
			&cli.DurationFlag{Name: "schedule", Value: 15 * time.Second, Usage: "`TIME` between two firings of the schedule"},
			&cli.StringFlag{Name: "case", Usage: "deliver what a case `FILE` holds, such as one of dormouse watch"},
			&cli.StringFlag{Name: "functions", Usage: "`DIR` with wake/bootstrap and drain/bootstrap, in place of this program"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			return dev(ctx, cmd)
		},
	}
}

// dev runs it all until ctx ends.
func dev(ctx context.Context, cmd *cli.Command) (err error) {
	cfg, err := devConfig(cmd)
	if err != nil {
		return err
	}
	opening, err := readCaseFile(cmd.String("case"))
	if err != nil {
		return err
	}
	listener, err := listenOnLoopback(cmd.String("listen"), !cmd.IsSet("listen"))
	if err != nil {
		return err
	}
	defer listener.Close()
	token, err := devFolder(cfg.Dir)
	if err != nil {
		return err
	}
	stage, err := devstage.Start(ctx, cfg)
	if err != nil {
		return err
	}
	machine := page.NewMachine(stage, version.String())
	server := page.New(page.Config{Model: machine.Model(), Acts: machine.Acts(), Files: machine, Token: token})
	web := &http.Server{Handler: server, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	defer func() {
		server.Close()
		web.Close()
		<-served
		machine.Close()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), devCloses)
		defer cancel()
		err = errors.Join(err, stage.Close(closing))
	}()
	out := cmd.Root().Writer
	announceDev(out, server.URL(rig.LocalURL(listener)), stage)
	if err := stage.Arm(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if opening != nil {
		if _, err := machine.Acts()["case"](ctx, opening); err != nil {
			return fmt.Errorf("--case: %w", err)
		}
	}
	return tellDev(ctx, out, stage.Log())
}

// announceDev says what there is. The page comes first: the rest is for those who want more.
func announceDev(out io.Writer, url string, stage *devstage.Stage) {
	fmt.Fprintf(out, "The page, for this machine alone (who has the link may use it):\n  %s\n\n", url)
	agent := stage.Agent()
	switch {
	case agent.Command != "":
		fmt.Fprintf(out, "The agent: %s, which finds its port in PORT; it is started anew when one of %d files changes.\n", agent.Command, agent.Watched)
	case agent.URL != "":
		fmt.Fprintf(out, "The agent: at %s\n", agent.URL)
	default:
		fmt.Fprintln(out, "The agent: echo. Give your own with --agent URL or --agent 'COMMAND'.")
	}
	fmt.Fprintf(out, "The table: %s\n\n", stage.Table().Path())
	fmt.Fprintf(out, "The operator's commands work here, too, in another shell:\n  export AWS_ENDPOINT_URL_DYNAMODB=%s%s\n"+
		"  build/dormouse status --table %s --instance %s\n\nCtrl-C ends it.\n\n", stage.TableURL(), anyKeys(nil), devstage.TableName, devstage.Gateway)
}

// devFolder makes the folder, keeps it out of git, and returns the page's token, which stays the same: a page that is open
// may go on when dev is started again.
func devFolder(dir string) (token string, err error) {
	if err := keepOutOfGit(dir); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "token")
	if kept, err := os.ReadFile(file); err == nil && len(kept) == len(newToken()) {
		return string(kept), nil
	}
	token = newToken()
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		return "", fmt.Errorf("keeping the page's token: %w", err)
	}
	return token, nil
}

// listenOnLoopback listens on an address, or, if another process does and that may be, on any port.
func listenOnLoopback(address string, elsewhere bool) (net.Listener, error) {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil || !addr.IP.IsLoopback() {
		return nil, misuse(fmt.Errorf("--listen is %s: want a loopback address, such as %s", address, devAddress))
	}
	listener, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) && elsewhere {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return nil, fmt.Errorf("listening for the page: %w: choose another address with --listen", err)
	}
	return listener, nil
}

func readCaseFile(name string) (json.RawMessage, error) {
	if name == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, misuse(fmt.Errorf("--case: %w", err))
	}
	if _, _, err := page.ReadCase(raw); err != nil {
		return nil, misuse(fmt.Errorf("--case %s: %w", name, err))
	}
	return raw, nil
}

// devPreset is the connector whose ways are taken.
func devPreset(name string) (devconnector.Preset, error) {
	preset, err := devconnector.PresetNamed(name)
	if err != nil {
		return preset, misuse(fmt.Errorf("--preset: %w", err))
	}
	return preset, nil
}
