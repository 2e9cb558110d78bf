package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/version"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:     "version",
		Category: categoryOperate,
		Usage:    "say which Dormouse this is",
		Description: `The part behind the plus sign is a hash of the sources: programs built from the same ones have the same. dormouse
status says which version a deployed gateway is.`,
		Metadata: example("dormouse version", "dormouse version --json"),
		Flags:    []cli.Flag{jsonFlag()},
		Action: func(_ context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			out := cmd.Root().Writer
			if cmd.Bool("json") {
				return printJSON(out, map[string]string{"version": version.String(), "go": runtime.Version()})
			}
			_, err := fmt.Fprintf(out, "dormouse %s, built by %s\n", version.String(), runtime.Version())
			return err
		},
	}
}
