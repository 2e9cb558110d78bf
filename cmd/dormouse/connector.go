package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/demo"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/terminal"
)

const (
	// Variables for secrets: everybody on the machine can see a command line.
	identityVariable = demo.IdentityVariable
	redeemVariable   = variablePrefix + "ENROLLMENT_TOKEN"
	strangerVariable = variablePrefix + "STRANGER_TOKEN"
	secretVariable   = variablePrefix + "SECRET"
	wakeURLVariable  = variablePrefix + "WAKE_URL"
	variablePrefix   = demo.VariablePrefix

	defaultIdentity = "dev"
	farewellTime    = 3 * time.Second
)

func connectorCommand() *cli.Command {
	return &cli.Command{
		Name:     "connector",
		Category: categoryDevelop,
		Metadata: example("dormouse connector --preset hosted"),
		Usage:    "run the connector for development",
		Description: `It owns no platforms: messages are delivered to it by its control API. A gateway provisions with an
identity token and is buffered for and poked from then on, as by the real ones. Everything is in memory.

A command line shows in ps: give secrets in a file or in the variables named below. Who can reach
this can try the identity token "dev", so behind a tunnel choose your own, or have the tokens of an
issuer verified, for instance those of dormouse issuer. From a container (sam local
invoke) it is http://host.docker.internal:8787; on Linux that takes --listen 0.0.0.0:8787 here, and
--add-host host.docker.internal:host-gateway there.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8787", Usage: "`ADDRESS` for gateways"},
			&cli.StringFlag{Name: "control", Value: "127.0.0.1:8788",
				Usage: "`ADDRESS` of the control API, on loopback, as it asks for no credential"},
			&cli.StringFlag{Name: "preset", Value: "hosted",
				Usage: "whose ways to take: `NAME` is one of " + strings.Join(devconnector.PresetNames(), ", ") + ", or a file that conform connector --profile wrote"},
			&cli.StringSliceFlag{Name: "identity-token", Value: []string{defaultIdentity},
				Sources: cli.EnvVars(identityVariable),
				Usage:   "accept `TOKEN` or TOKEN=TENANT at provisioning; may be repeated"},
			&cli.StringSliceFlag{Name: "enrollment-token", Sources: cli.EnvVars(redeemVariable),
				Usage: "let `TOKEN` or TOKEN=TENANT be redeemed, once, by dormouse enroll or rotate; may be repeated"},
			&cli.StringFlag{Name: "oidc-issuer", Usage: "accept the identity tokens of the issuer at `URL`, AWS's for an account included"},
			&cli.StringFlag{Name: "oidc-audience", Usage: "if they are for `AUDIENCE`: what the gateway has as GATEWAY_RELAY_IDENTITY_AUDIENCE"},
			&cli.StringFlag{Name: "oidc-subject", Usage: "and of `SUBJECT`, such as the ARN of drain's role", DefaultText: "anybody's"},
			&cli.StringFlag{Name: "gateway", Usage: "know the gateway `ID` by its pinned secret; it need not provision"},
			&cli.StringFlag{Name: "secret-file",
				Usage: "`FILE` with the secret of --gateway; else $" + secretVariable + " holds it"},
			&cli.StringFlag{Name: "anonymous", Usage: "take dials without a token for the gateway `ID`"},
			&cli.StringFlag{Name: "wake-url", Sources: cli.EnvVars(wakeURLVariable),
				Usage: "`URL` to poke for --gateway or --anonymous; others name theirs when they provision"},
			&cli.DurationFlag{Name: "poke-cooldown", Usage: "shortest `TIME` between two pokes", DefaultText: "the preset's"},
			&cli.IntFlag{Name: "window", Usage: "buffered messages sent ahead of their acks: `N`, or 0 for no limit", DefaultText: "the preset's"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON lines: the two addresses, then whatever happens"},
			&cli.BoolFlag{Name: demo.UntilEOF, Hidden: true, Usage: "end when standard input ends, and with it the program that started this one"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			cfg, err := connectorConfig(cmd)
			if err != nil {
				return misuse(fmt.Errorf("%w\nsee dormouse connector --help", err))
			}
			if cmd.Bool(demo.UntilEOF) {
				var stop context.CancelFunc
				ctx, stop = context.WithCancel(ctx)
				defer stop()
				go func() { // until the end of the process
					io.Copy(io.Discard, cmd.Root().Reader)
					stop()
				}()
			}
			c := &connector{out: cmd.Root().Writer, json: cmd.Bool("json"), cfg: cfg}
			return c.run(ctx, cmd.String("listen"), cmd.String("control"))
		},
	}
}

// connector is the running command.
type connector struct {
	cfg  devconnector.Config
	out  io.Writer
	json bool
}

// run serves until ctx ends, which is no error.
func (c *connector) run(ctx context.Context, listen, control string) error {
	relayListener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listening for gateways: %w: choose another address with --listen", err)
	}
	defer relayListener.Close()
	controlListener, err := net.Listen("tcp", control)
	if err != nil {
		return fmt.Errorf("listening for control: %w: choose another address with --control", err)
	}
	defer controlListener.Close()
	c.announce(demo.Listening{What: demo.WhatListening, Relay: rig.LocalURL(relayListener), Control: rig.LocalURL(controlListener)})

	c.cfg.Observe = c.tell
	connector := devconnector.New(c.cfg)
	farewell := func() error {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTime)
		defer cancel()
		return connector.Close(closing)
	}
	return serve(ctx, farewell, endpoint{relayListener, connector}, endpoint{controlListener, connector.Control()})
}

// endpoint is a handler and the listener that it is served on.
type endpoint struct {
	net.Listener
	http.Handler
}

// serve serves until ctx ends, which is no error. Then it calls farewell, and closes what is still open.
func serve(ctx context.Context, farewell func() error, endpoints ...endpoint) (err error) {
	var serving sync.WaitGroup
	failed := make(chan error, len(endpoints))
	var servers []*http.Server
	for _, at := range endpoints {
		server := &http.Server{Handler: at.Handler, ReadHeaderTimeout: 10 * time.Second}
		servers = append(servers, server)
		serving.Go(func() {
			if err := server.Serve(at.Listener); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	err = errors.Join(err, farewell())
	for _, server := range servers {
		server.Close()
	}
	serving.Wait()
	return err
}

// announce prints how to use the connector.
func (c *connector) announce(at demo.Listening) {
	if c.json {
		c.line(at)
		return
	}
	fmt.Fprintf(c.out, "Connector for development, with the ways of %q. Ctrl-C ends it.\n\n", c.cfg.Preset.Name)
	fmt.Fprintf(c.out, "For a gateway on this machine (behind a tunnel, the tunnel's URL):\n")
	fmt.Fprintf(c.out, "  export GATEWAY_RELAY_URL=%s\n", at.Relay)
	for _, setting := range c.credentials() {
		fmt.Fprintf(c.out, "  export %s\n", setting)
	}
	platform := "telegram"
	if c.cfg.Preset.Platforms != nil {
		platform = c.cfg.Preset.Platforms[0]
	}
	fmt.Fprintf(c.out, "  export GATEWAY_RELAY_PLATFORMS=%s\n", platform)
	fmt.Fprintf(c.out, "  export GATEWAY_RELAY_BOT_IDS='{%q:{\"botId\":\"1\"}}'\n\n", platform)
	when := ""
	if len(c.cfg.Gateways) == 0 {
		when = ", once a gateway has provisioned"
	}
	fmt.Fprintf(c.out, "To deliver a message%s:\n", when)
	fmt.Fprintf(c.out, "  curl %s/deliver -d '{%s\"event\":{\"text\":\"hello\",\"message_id\":\"1\",\n"+
		"    \"source\":{\"platform\":%q,\"chat_id\":\"42\",\"chat_type\":\"dm\",\"user_id\":\"42\"}}}'\n\n",
		at.Control, c.addressee(), platform)
}

// credentials are the settings with which a gateway is let in.
func (c *connector) credentials() []string {
	const allow = "DORMOUSE_ALLOW_ENV_SECRETS=1"
	if c.cfg.Preset.NoCredentials {
		return []string{"GATEWAY_RELAY_IDENTITY=none"}
	}
	if len(c.cfg.Gateways) == 0 {
		if len(c.cfg.Identities) == 0 {
			return []string{"GATEWAY_RELAY_IDENTITY=aws # or oidc: an issuer's tokens are verified here"}
		}
		token := "'(one of yours)'"
		if c.cfg.Identities[defaultIdentity] != "" {
			token = defaultIdentity
		}
		return []string{"GATEWAY_RELAY_IDENTITY_TOKEN=" + token, allow}
	}
	id := "GATEWAY_RELAY_ID=" + c.cfg.Gateways[0].ID
	if len(c.cfg.Gateways[0].Secrets) == 0 {
		return []string{id}
	}
	return []string{id, "GATEWAY_RELAY_SECRET='(the pinned one)'", allow}
}

// addressee names the gateway for a control request if there are several.
func (c *connector) addressee() string {
	if len(c.cfg.Gateways) < 2 {
		return ""
	}
	return fmt.Sprintf("%q:%q,", "gateway", c.cfg.Gateways[0].ID)
}

// tell prints one observation.
func (c *connector) tell(o devconnector.Observation) {
	if c.json {
		c.line(o)
		return
	}
	words := []string{o.Op, o.Platform}
	for _, named := range [][2]string{
		{"gateway", o.Gateway}, {"chat", o.Chat}, {"message", o.MessageID}, {"buffer", o.BufferID}, {"by", o.By},
	} {
		if named[1] != "" {
			words = append(words, named[0]+" "+named[1])
		}
	}
	if number := cmp.Or(o.Status, o.Code); number != 0 {
		words = append(words, fmt.Sprint(number))
	}
	words = append(words, o.Detail)
	said := strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), "  ")
	fmt.Fprintf(c.out, "%s  %-20s%s\n", o.At.Format("15:04:05.000"), o.What, terminal.Line(said))
}

func (c *connector) line(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		panic("dormouse: numbers, strings and times always marshal: " + err.Error())
	}
	c.out.Write(append(terminal.JSON(line), '\n'))
}
