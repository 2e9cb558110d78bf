// Gateway answers each message that a connector has with the same text, and ends when nothing has come for a while. It is
// a module of its own: an example of a program that uses pkg/relay and pkg/provision from outside.
//
//	IDENTITY_TOKEN=... go run . -url https://connector.example -id gw-echo -platform discord -bot 42
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/dormouse-relay/dormouse/examples/gateway/echo"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func main() {
	url := flag.String("url", "", "the connector's URL")
	id := flag.String("id", "gw-echo", "this gateway's id")
	platform := flag.String("platform", "discord", "the platform that it serves")
	bot := flag.String("bot", "", "its bot id there")
	quiet := flag.Duration("quiet", 10*time.Second, "how long nothing must come before it ends")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	g := &echo.Gateway{
		URL:       relay.NewBaseURL(*url),
		GatewayID: *id,
		Front:     relay.Front{Platform: *platform, BotID: *bot},
		Token:     provision.StaticToken(relay.NewSecret(os.Getenv("IDENTITY_TOKEN"))),
		Quiet:     *quiet,
		Log:       log,
	}
	if err := g.Run(ctx); err != nil {
		log.Error("the gateway has ended", "error", err)
		os.Exit(1)
	}
}
