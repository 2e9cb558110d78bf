// Command dormouse is the operator's command line. It has a demonstration of the whole loop on one machine, a connector, an
// issuer and a host for development, and the commands that look after a deployed gateway.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/terminal"
	"github.com/dormouse-relay/dormouse/internal/version"
)

func main() {
	asFunction(os.Args)
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
	err := newCommand(in, out, errs).Run(ctx, args)
	if err != nil {
		fmt.Fprintln(errs, "dormouse:", err)
	}
	return exitCode(err)
}

func newCommand(in io.Reader, out, errs io.Writer) *cli.Command {
	root := &cli.Command{
		Name:    "dormouse",
		Usage:   "a sleeping gateway for a relay connector: try it, deploy it, look after it",
		Version: version.String(),
		Description: `The gateway itself is two Lambda functions, wake and drain. This program runs them on this machine, stands in for the
connector and the issuer that they talk to, prepares a deployment, and looks after a deployed gateway.

AWS is reached as the AWS command line would reach it (AWS_PROFILE, AWS_REGION and so on). The exit code is 0 if
all is well, 1 if it could not be done, 2 if the command line is wrong, and 3 if what was found is not well.
Completion for your shell: source <(dormouse completion bash), or zsh, fish, pwsh.`,
		Commands: []*cli.Command{
			devCommand(), demoCommand(out), chatCommand(),
			initCommand(), enrollCommand(), armCommand(), drainCommand(), removeCommand(),
			statusCommand(), watchCommand(), doctorCommand(), logsCommand(), enableCommand(), deadCommand(), rotateCommand(), sayCommand(), versionCommand(),
			connectorCommand(), issuerCommand(), hostCommand(), conformCommand(),
		},
		EnableShellCompletion: true,
		HideHelpCommand:       true,
		Reader:                in,
		Writer:                terminal.Writer(out),
		ErrWriter:             errs,
		ExitErrHandler:        func(context.Context, *cli.Command, error) {}, // run prints the error
		Action:                group,
	}
	complete(root)
	return root
}
