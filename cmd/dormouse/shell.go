package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/terminal"
)

// What all commands have in common: exit codes, --json, a line of progress, and an example in each help.

// The exit codes. Every command keeps to them, and dormouse --help explains them.
const (
	exitFailed = 1 // what was asked for could not be done
	exitMisuse = 2 // the command line is wrong: nothing was done
	exitFound  = 3 // it was done, and what was found is not well
)

// The groups of commands in dormouse --help.
const (
	categoryTry     = "Try it on this machine"
	categoryDeploy  = "Deploy it"
	categoryOperate = "Look after it"
	categoryDevelop = "Develop against it"
)

// codedError is an error with an exit code of its own.
type codedError struct {
	error
	code int
}

func (e *codedError) Unwrap() error { return e.error }

// misuse marks an error as one of the command line.
func misuse(err error) error { return &codedError{err, exitMisuse} }

// found marks an error as what the command was to find out: it did its work.
func found(err error) error { return &codedError{err, exitFound} }

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if coded, ok := errors.AsType[*codedError](err); ok {
		return coded.code
	}
	return exitFailed
}

func usageError(_ context.Context, cmd *cli.Command, err error, _ bool) error {
	return misuse(fmt.Errorf("%w: see %s --help", err, cmd.FullName()))
}

// noArguments refuses arguments of a command that takes flags only.
func noArguments(cmd *cli.Command) error {
	if cmd.Args().Present() {
		return misuse(fmt.Errorf("%s takes flags only, not %q: see %[1]s --help", cmd.FullName(), cmd.Args().First()))
	}
	return nil
}

const exampleKey = "example"

// example is a command's Metadata: the command lines that its help shows.
func example(lines ...string) map[string]any {
	return map[string]any{exampleKey: strings.Join(lines, "\n   ")}
}

const exampleTemplate = `{{with .Metadata}}{{with .example}}
EXAMPLE:
   {{.}}
{{end}}{{end}}`

// complete gives a command, and all below it, what every command has.
func complete(cmd *cli.Command) {
	cmd.OnUsageError = usageError
	cmd.Suggest = true
	cmd.CustomHelpTemplate = cli.CommandHelpTemplate + exampleTemplate
	if len(cmd.Commands) > 0 && cmd.Action == nil {
		cmd.CustomHelpTemplate = cli.SubcommandHelpTemplate + exampleTemplate
		cmd.HideHelpCommand = true
		cmd.Action = group
	}
	if cmd.ArgsUsage != "" {
		cmd.CommandNotFound = helpAnyway
	}
	for _, sub := range cmd.Commands {
		complete(sub)
	}
}

// helpAnyway is what --help does behind an argument, which the library takes for the name of a command.
func helpAnyway(ctx context.Context, cmd *cli.Command, _ string) {
	if err := cli.ShowCommandHelp(ctx, cmd.Lineage()[1], cmd.Name); err != nil {
		fmt.Fprintln(cmd.Root().ErrWriter, err)
	}
}

// group is what a command does that only has others below it: it says which.
func group(_ context.Context, cmd *cli.Command) error {
	if name := cmd.Args().First(); name != "" {
		if name == "help" {
			return misuse(fmt.Errorf("help is a flag: %s --help, or %[1]s COMMAND --help", cmd.FullName()))
		}
		more := ""
		if near := cli.SuggestCommand(cmd.Commands, name); near != "" {
			more = ", or is it " + near + "?"
		}
		return misuse(fmt.Errorf("no command %q: see %s --help%s", name, cmd.FullName(), more))
	}
	if cmd.Root() == cmd {
		return cli.ShowRootCommandHelp(cmd)
	}
	return cli.ShowSubcommandHelp(cmd)
}

// stackFlag names the gateway, in each command that looks after a deployed one.
func stackFlag() cli.Flag {
	return &cli.StringFlag{Name: "stack", Usage: "`NAME` of the deployed stack"}
}

// jsonFlag asks for JSON, for programs, in place of text for people.
func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON, for programs"} }

// printJSON prints a value in one indented object, in which no terminal finds orders.
func printJSON(out io.Writer, v any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false) // people read it, too
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s", terminal.JSON(b.Bytes()))
	return err
}

const progressAfter = time.Second

// during does something, and says what on the error output if it takes longer than a second.
func during[T any](errs io.Writer, what string, do func() (T, error)) (T, error) {
	said := make(chan struct{})
	timer := time.AfterFunc(progressAfter, func() {
		defer close(said)
		fmt.Fprintf(errs, "%s ...\n", what)
	})
	result, err := do()
	if !timer.Stop() {
		<-said
	}
	return result, err
}
