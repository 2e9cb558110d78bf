package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"
	"github.com/urfave/cli/v3"
)

// parse reads a command line as the program would, and runs nothing. It returns the full name of the command.
func parse(ctx context.Context, args ...string) (name string, err error) {
	root := newCommand(strings.NewReader(""), io.Discard, io.Discard)
	eachCommand(root, func(cmd *cli.Command) {
		cmd.Before = nil
		leaf := len(cmd.Commands) == 0 || cmd.ArgsUsage != "" // say has both
		cmd.Action = func(_ context.Context, cmd *cli.Command) error {
			name = cmd.FullName()
			switch {
			case !leaf && cmd.Args().Present():
				return group(ctx, cmd)
			case leaf && cmd.Args().Present() && cmd.ArgsUsage == "":
				return noArguments(cmd)
			}
			return nil
		}
	})
	return name, root.Run(ctx, args)
}

func eachCommand(cmd *cli.Command, do func(*cli.Command)) {
	do(cmd)
	for _, sub := range cmd.Commands {
		eachCommand(sub, do)
	}
}

// Every command's help ends with an example, which is one of its command lines.
func TestEachHelpHasAnExampleThatIsRight(t *testing.T) {
	names := 0
	var look func(cmd *cli.Command, path []string)
	look = func(cmd *cli.Command, path []string) {
		for _, sub := range cmd.Commands {
			look(sub, append(append([]string{}, path...), sub.Name))
		}
		if len(cmd.Commands) > 0 || cmd.Name == "completion" {
			return
		}
		names++
		t.Run(strings.Join(path, " "), func(t *testing.T) {
			is := is.New(t)
			code, out, _ := dormouse(t.Context(), append(path, "--help")...)
			is.Equal(code, 0)
			_, examples, ok := strings.Cut(out, "\nEXAMPLE:\n")
			is.True(ok)
			for line := range strings.Lines(strings.TrimSpace(examples)) {
				name, err := parse(t.Context(), strings.Fields(line)...)
				is.NoErr(err)
				is.Equal(name, "dormouse "+strings.Join(path, " "))
			}
		})
	}
	root := newCommand(strings.NewReader(""), io.Discard, io.Discard)
	look(root, nil)
	is.New(t).True(names > 12)
	for _, cmd := range root.Commands {
		is.New(t).True(cmd.Category != "") // dormouse --help shows it in a group
	}
}

func TestExitCodes(t *testing.T) {
	plain := errors.New("x")
	for want, err := range map[int]error{0: nil, 1: plain, 2: fmt.Errorf("y: %w", misuse(plain)), 3: errors.Join(plain, found(plain))} {
		is.New(t).Equal(exitCode(err), want)
	}
	is.New(t).True(errors.Is(found(plain), plain))
}

func TestWhatTakesLongerThanASecondIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		var errs buffer
		for _, took := range []time.Duration{0, 999 * time.Millisecond, 1001 * time.Millisecond} {
			got, err := during(&errs, fmt.Sprint("waiting ", took), func() (int, error) {
				time.Sleep(took)
				return 7, io.EOF
			})
			is.Equal(got, 7)
			is.Equal(err, io.EOF)
		}
		is.Equal(errs.String(), "waiting 1.001s ...\n")
	})
}

// What is printed for programs people read, too: only what a terminal would obey is escaped.
func TestJSONIsReadable(t *testing.T) {
	is := is.New(t)
	var out strings.Builder
	is.NoErr(printJSON(&out, map[string]string{"error": "HTTP 501: <html> & \x1b[2J"}))
	is.Equal(out.String(), "{\n  \"error\": \"HTTP 501: <html> & \\u001b[2J\"\n}\n")
}
