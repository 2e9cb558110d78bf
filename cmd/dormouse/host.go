package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/rig"
)

// The stack and the functions that host runs, by the names that arm and status use.
const (
	localStack = "local"
	localWake  = localStack + "-wake"
	localDrain = localStack + "-drain"
)

func hostCommand() *cli.Command {
	return &cli.Command{
		Name:     "host",
		Category: categoryDevelop,
		Metadata: example("dormouse host"),
		Usage:    "run both functions on this machine, as Lambda would run them",
		Description: `Wake gets a URL and drain the settings of this shell (docs/settings.md): GATEWAY_..., DORMOUSE_..., AWS_...,
..._ALLOW_BOTS. The schedule fires, too, and dormouse arm and status find them as the stack "` + localStack + `". Nothing is
deployed; AWS is asked only for what the settings name, such as a stored secret. If they name no table (DORMOUSE_TABLE), this
command has one of its own, in --dir.`,
		Flags: []cli.Flag{
			functionsFlag(),
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8790", Usage: "`ADDRESS` of the wake URL"},
			&cli.StringFlag{Name: "lambda", Value: "127.0.0.1:8791", Usage: "`ADDRESS` of the Lambda API, on loopback, as it asks for no credential (it shows none either)"},
			dirFlag(),
			&cli.BoolFlag{Name: "no-table", Usage: "without DORMOUSE_TABLE, keep what a table would hold in drain's memory: it dies with the process"},
			&cli.DurationFlag{Name: "schedule", Value: 5 * time.Minute, Usage: "`TIME` between two firings of the schedule"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			if cmd.Duration("schedule") <= 0 {
				return misuse(fmt.Errorf("--schedule is %v: want more than 0", cmd.Duration("schedule")))
			}
			return host(ctx, cmd)
		},
	}
}

// host runs the functions and the schedule until ctx ends. A running drain then sends going_idle, so that the connector
// buffers, and gives its lease back.
func host(ctx context.Context, cmd *cli.Command) (err error) {
	front, err := net.Listen("tcp", cmd.String("listen"))
	if err != nil {
		return fmt.Errorf("listening for pokes: %w: choose another address with --listen", err)
	}
	path := "/w/" + rand.Text()
	env := hostSettings(config.Environ(), rig.LocalURL(front)+path)
	out := cmd.Root().Writer
	var table *ownTable
	if env["DORMOUSE_TABLE"] == "" && !cmd.Bool("no-table") {
		if table, err = openOwnTable(ctx, cmd); err != nil {
			front.Close()
			return err
		}
		defer func() { err = errors.Join(err, table.Close()) }()
		maps.Copy(env, table.Variables())
	}
	r, err := hostFunctions(cmd.String("functions"), cmd.String("lambda"), rig.Config{Front: front, WakePath: path}, env, out)
	if err != nil {
		front.Close()
		return err
	}
	fmt.Fprint(out, "Both functions on this machine, as Lambda would run them. Ctrl-C ends it.\n\n")
	fmt.Fprintf(out, "The wake URL, which drain names when it provisions:\n  %s\n\n", env["GATEWAY_RELAY_WAKE_URL"])
	tellHost(out, r.URL(), table, env)
	fire(ctx, r.Host, cmd.Duration("schedule"))
	r.Refuse() // a drain that a poke starts from now on could not end as the one that runs does
	shut := r.Shutdown(localDrain)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTime)
	defer cancel()
	return errors.Join(shut, r.Close(closing))
}

// tellHost says how the operator's commands find the gateway.
func tellHost(out io.Writer, lambdaURL string, table *ownTable, env map[string]string) {
	look := "look"
	switch {
	case table != nil:
		fmt.Fprintf(out, "The table: %s\n\n", table.Where())
	case env["DORMOUSE_TABLE"] == "":
		look = "look (status needs a table)"
	}
	fmt.Fprintf(out, "To arm, and to %s, in another shell:\n  export AWS_ENDPOINT_URL_LAMBDA=%s%s\n"+
		"  build/dormouse arm --stack %[4]s\n  build/dormouse status --stack %[4]s\n\n", look, lambdaURL, anyKeys(env), localStack)
}

// anyKeys are AWS keys for a shell that has none. The local Lambda API takes any, but without keys the SDK would look for
// some on the network.
func anyKeys(env map[string]string) string {
	if env["AWS_ACCESS_KEY_ID"] != "" || env["AWS_PROFILE"] != "" {
		return ""
	}
	return " AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any"
}

// hostSettings are those of this shell's variables that are for drain.
func hostSettings(environ map[string]string, wakeURL string) map[string]string {
	env := map[string]string{}
	for name, value := range environ {
		foreign := strings.HasPrefix(name, variablePrefix) || name == clientSecretVariable || name == enrollVariable
		if !foreign && (strings.HasPrefix(name, "GATEWAY_") || strings.HasPrefix(name, "DORMOUSE_") || strings.HasPrefix(name, "AWS_") ||
			strings.HasSuffix(name, "_ALLOW_BOTS")) {
			env[name] = value
		}
	}
	delete(env, "AWS_LAMBDA_FUNCTION_NAME") // the host sets the name, and the address of its own Lambda API
	delete(env, "AWS_ENDPOINT_URL_LAMBDA")
	if env["AWS_ACCESS_KEY_ID"] != "" && env["AWS_SESSION_TOKEN"] == "" {
		env["AWS_SESSION_TOKEN"] = "" // the host's default does not belong to these keys
	}
	env["GATEWAY_RELAY_WAKE_URL"] = cmp.Or(env["GATEWAY_RELAY_WAKE_URL"], wakeURL)
	return env
}

// hostFunctions starts both functions, wake as cfg says, and the Lambda API at address.
func hostFunctions(dir, address string, cfg rig.Config, drainEnv map[string]string, out io.Writer) (*rig.Rig, error) {
	if addr, err := net.ResolveTCPAddr("tcp", address); err != nil || !addr.IP.IsLoopback() {
		return nil, misuse(fmt.Errorf("--lambda is %s: want a loopback address, such as 127.0.0.1:8791", address))
	}
	bootstraps, err := rig.Find(dir)
	if err != nil {
		return nil, err
	}
	wakeEnv := map[string]string{}
	if level := drainEnv["DORMOUSE_LOG_LEVEL"]; level != "" {
		wakeEnv["DORMOUSE_LOG_LEVEL"] = level
	}
	cfg.Wake = &locallambda.Function{Name: localWake, Command: []string{bootstraps.Wake}, Env: wakeEnv}
	cfg.Drain = &locallambda.Function{Name: localDrain, Command: []string{bootstraps.Drain}, Env: drainEnv, Shown: operatorVariables}
	cfg.Host = locallambda.Config{
		Listen: address,
		Region: cmp.Or(drainEnv["AWS_REGION"], drainEnv["AWS_DEFAULT_REGION"]),
		Log: func(function, line string) {
			fmt.Fprintf(out, "%-6s%s\n", strings.TrimPrefix(function, localStack+"-"), line)
		},
	}
	return rig.Start(cfg)
}

// functionsFlag is for the commands that run the built functions. make host builds them, and make run calls that.
func functionsFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "functions", Value: "build/functions", Usage: "`DIR` with wake/bootstrap and drain/bootstrap, as make host builds them",
	}
}

// fire invokes drain as the schedule would, until ctx ends.
func fire(ctx context.Context, host *locallambda.Host, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := host.InvokeEvent(localDrain, []byte(`{"reason":"schedule"}`)); errors.Is(err, locallambda.ErrClosed) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
