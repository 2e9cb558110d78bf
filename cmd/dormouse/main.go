// Command dormouse is the operator's command line. It has a demonstration of the whole loop on one machine, a connector, an
// issuer and a host for development, and the commands that look after a deployed gateway.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/terminal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // so that a second signal ends the process at once
	code := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs one command line and returns its exit code. Much of what it prints was said by chats, agents, connectors and
// functions: no terminal obeys it.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	errs = terminal.Writer(errs)
	if err := newCommand(in, out, errs).Run(ctx, args); err != nil {
		fmt.Fprintln(errs, "dormouse:", err)
		return 1
	}
	return 0
}

func newCommand(in io.Reader, out, errs io.Writer) *cli.Command {
	root := &cli.Command{
		Name:    "dormouse",
		Usage:   "a sleeping gateway for a relay connector: try it and develop against it",
		Version: version(),
		Description: "The gateway itself is two Lambda functions, wake and drain. This program runs them on this machine,\n" +
			"stands in for the connector and the issuer that they talk to, and looks after a deployed one.",
		Commands: []*cli.Command{
			demoCommand(out), chatCommand(), connectorCommand(), issuerCommand(), hostCommand(),
			enrollCommand(), rotateCommand(), armCommand(), statusCommand(), enableCommand(), deadCommand(),
		},
		HideHelpCommand: true,
		Suggest:         true,
		Reader:          in,
		Writer:          terminal.Writer(out),
		ErrWriter:       errs,
		OnUsageError:    usageError,
		ExitErrHandler:  func(context.Context, *cli.Command, error) {}, // run prints the error
		Action: func(_ context.Context, cmd *cli.Command) error {
			if cmd.Args().Present() {
				return fmt.Errorf("no command %q: see dormouse --help", cmd.Args().First())
			}
			return cli.ShowRootCommandHelp(cmd)
		},
	}
	for _, cmd := range root.Commands {
		cmd.OnUsageError = usageError
	}
	return root
}

func usageError(_ context.Context, cmd *cli.Command, err error, _ bool) error {
	return fmt.Errorf("%w: see %s --help", err, cmd.FullName())
}

// noArguments refuses arguments of a command that takes flags only.
func noArguments(cmd *cli.Command) error {
	if cmd.Args().Present() {
		return fmt.Errorf("%s takes flags only, not %q: see %[1]s --help", cmd.FullName(), cmd.Args().First())
	}
	return nil
}

// version is the module's version and the compiler's. For a build by make, which records no version, it is "(devel)".
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version + " " + info.GoVersion
}
