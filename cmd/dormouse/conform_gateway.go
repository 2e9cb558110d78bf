package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/conform"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func conformGateway() *cli.Command {
	return &cli.Command{
		Name:      "gateway",
		ArgsUsage: "-- COMMAND...",
		Metadata: example("dormouse conform gateway --slow -- build/dormouse host --no-table --schedule 5s",
			"dormouse conform gateway --preset rustcell -- python3 my_gateway.py",
			"dormouse conform gateway --wait --listen 127.0.0.1:8787"),
		Usage: "be the connector of the gateway that COMMAND runs, and say what it does otherwise than the contract",
		Description: `The gateway has to answer each message by a send, as an echo does. It finds what it needs in its environment:
GATEWAY_RELAY_URL, _ID, _PLATFORMS, _BOT_IDS, and GATEWAY_RELAY_IDENTITY_TOKEN where the preset provisions, else
GATEWAY_RELAY_SECRET. At the end it gets SIGTERM. With --wait no command is run: the same settings are printed, and
the gateway that somebody starts with them is waited for.

It may sleep: then it provisions its wake URL, or --wake-url names it. The last check revokes the gateway.`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "wait", Usage: "run no command, and wait for a gateway"},
			&cli.StringFlag{Name: "preset", Value: "hosted", Usage: "be a connector such as `NAME`: " + strings.Join(devconnector.PresetNames(), ", ")},
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:0", Usage: "`ADDRESS` for the gateway"},
			&cli.StringFlag{Name: "gateway-id", Value: "conform", Usage: "its `ID`"},
			&cli.StringSliceFlag{Name: "platform", Value: []string{"discord"}, Usage: "have it front the platform `NAME`", DefaultText: "discord, or the preset's only one"},
			&cli.BoolFlag{Name: "pinned", Usage: "give it a secret, also where the preset provisions"},
			&cli.StringFlag{Name: "wake-url", Usage: "`URL` to poke, of a gateway that does not provision it"},
			&cli.StringFlag{Name: "suite", Value: string(conform.All), Usage: "run the checks of `NAME`: " + strings.Join(conform.Suites(), ", ")},
			&cli.StringSliceFlag{Name: "only", Usage: "run the check `ID` alone; may be repeated"},
			&cli.DurationFlag{Name: "poke-cooldown", Usage: "shortest `TIME` between two pokes", DefaultText: "the preset's"},
			&cli.BoolFlag{Name: "slow", Usage: "also run checks that wait for minutes"},
			&cli.DurationFlag{Name: "redial", Value: 65 * time.Second, Usage: "wait `TIME` for a gateway whose socket was cut"},
			&cli.DurationFlag{Name: "timeout", Value: 10 * time.Second, Usage: "wait `TIME` for what has to come"},
		}, reportFlags()...),
		Action: runConformGateway,
	}
}

func runConformGateway(ctx context.Context, cmd *cli.Command) error {
	if cmd.Bool("list") {
		return listChecks(cmd, conform.GatewayCatalogue())
	}
	if cmd.Bool("wait") == cmd.Args().Present() {
		return misuse(errors.New("which gateway: give the command that runs one behind --, or --wait: see dormouse conform gateway --help"))
	}
	baseline, err := baselineOf(cmd)
	if err != nil {
		return misuse(err)
	}
	k, err := newGatewayKit(cmd)
	if err != nil {
		return err
	}
	defer k.close()
	ctx, gone := context.WithCancelCause(ctx)
	stop, err := k.start(cmd, gone)
	if err != nil {
		return err
	}
	report, err := conform.RunGateway(ctx, conform.GatewayConfig{
		Connector: k.connector, Gateway: cmd.String("gateway-id"), Platforms: k.platforms, Only: cmd.StringSlice("only"), Slow: cmd.Bool("slow"),
		Suite: conform.Suite(cmd.String("suite")), URL: k.url, Elsewhere: elsewhere(k.url),
		Wait: cmd.Duration("timeout"), Redial: cmd.Duration("redial"), Progress: progress(cmd),
	})
	cause := context.Cause(ctx)
	stop()
	switch {
	case err != nil && cause == nil:
		return misuse(err)
	case err != nil:
		return fmt.Errorf("%w: %w", err, cause)
	}
	return tellReport(cmd, report, baseline)
}

// elsewhere is a URL on this machine with another host in it; "" if there is none.
func elsewhere(local string) string {
	if other := strings.Replace(local, "127.0.0.1", "localhost", 1); other != local {
		return other
	}
	return ""
}

// gatewayKit is the connector that a gateway is held against, on a listener.
type gatewayKit struct {
	connector *devconnector.Connector
	server    *http.Server
	served    chan struct{}
	platforms []string
	url       string   // under which the gateway reaches the connector
	settings  []string // for the gateway
}

func newGatewayKit(cmd *cli.Command) (*gatewayKit, error) {
	preset, err := devconnector.PresetOf(cmd.String("preset"))
	if err != nil {
		return nil, misuse(fmt.Errorf("--preset: %w", err))
	}
	if cmd.IsSet("poke-cooldown") {
		preset.PokeCooldown = max(0, cmd.Duration("poke-cooldown"))
	}
	ln, err := net.Listen("tcp", cmd.String("listen"))
	if err != nil {
		return nil, fmt.Errorf("listening for the gateway: %w: choose another address with --listen", err)
	}
	id, proof := cmd.String("gateway-id"), rand.Text()
	k := &gatewayKit{platforms: cmd.StringSlice("platform"), url: rig.LocalURL(ln), served: make(chan struct{})}
	if preset.Platforms != nil && !cmd.IsSet("platform") {
		k.platforms = preset.Platforms
	}
	bots := map[string]map[string]string{}
	for n, platform := range k.platforms {
		bots[platform] = map[string]string{"botId": fmt.Sprint(n + 1)}
	}
	ids, err := json.Marshal(bots)
	if err != nil {
		return nil, err
	}
	cfg := devconnector.Config{Preset: preset, Gateways: []devconnector.Gateway{{ID: id, WakeURL: cmd.String("wake-url"), Asleep: true}}}
	k.settings = []string{
		"GATEWAY_RELAY_URL=" + k.url, "GATEWAY_RELAY_ID=" + id, "GATEWAY_RELAY_PLATFORMS=" + strings.Join(k.platforms, ","),
		"GATEWAY_RELAY_BOT_IDS=" + string(ids),
	}
	switch {
	case preset.NoCredentials:
		k.settings = append(k.settings, "GATEWAY_RELAY_IDENTITY=none")
	case preset.Provision != devconnector.ProvisionNone && !cmd.Bool("pinned"):
		cfg.Identities = map[string]string{proof: "dev"}
		k.settings = append(k.settings, "GATEWAY_RELAY_IDENTITY_TOKEN="+proof, "DORMOUSE_ALLOW_ENV_SECRETS=1")
	default:
		cfg.Gateways[0].Secrets = []relay.Secret{relay.NewSecret(proof)}
		k.settings = append(k.settings, "GATEWAY_RELAY_SECRET="+proof, "DORMOUSE_ALLOW_ENV_SECRETS=1")
	}
	k.connector = devconnector.New(cfg)
	k.server = &http.Server{Handler: k.connector, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(k.served)
		k.server.Serve(ln)
	}()
	return k, nil
}

// close ends the connector.
func (k *gatewayKit) close() {
	ctx, cancel := context.WithTimeout(context.Background(), farewellTime)
	defer cancel()
	_ = k.connector.Close(ctx) // its sockets are cut by then
	k.server.Close()
	<-k.served
}

// start runs the gateway, or prints what to start it with. gone is called when it ends; stop ends it.
func (k *gatewayKit) start(cmd *cli.Command, gone context.CancelCauseFunc) (stop func(), err error) {
	if cmd.Bool("wait") {
		fmt.Fprintln(cmd.Root().ErrWriter, "Start the gateway with:")
		for _, setting := range k.settings {
			name, value, _ := strings.Cut(setting, "=")
			fmt.Fprintf(cmd.Root().ErrWriter, "  export %s='%s'\n", name, value)
		}
		return func() { gone(nil) }, nil
	}
	args := cmd.Args().Slice()
	gateway := exec.Command(args[0], args[1:]...)
	gateway.Env = append(os.Environ(), k.settings...)
	gateway.Stdout, gateway.Stderr = cmd.Root().ErrWriter, cmd.Root().ErrWriter
	gateway.WaitDelay = farewellTime
	if err := gateway.Start(); err != nil {
		return nil, fmt.Errorf("starting the gateway: %w: give its command behind --", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := gateway.Wait()
		gone(fmt.Errorf("the gateway's command has ended: %w: it has to run until it gets SIGTERM", cmp.Or(err, errors.New("exit status 0"))))
	}()
	return func() {
		_ = gateway.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(farewellTime):
			_ = gateway.Process.Kill()
			<-ended
		}
	}, nil
}
