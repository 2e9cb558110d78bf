// Package echo is a gateway that answers each message with the same text. It shows how a program from outside uses
// pkg/provision and pkg/relay: get credentials, dial, take what the connector has, go idle, and what to do when the
// connector says no.
//
// Run takes one backlog and returns; call it again when the connector pokes, or on a timer. It starts no goroutines of its
// own. It keeps nothing: a gateway that must not lose a message writes it down before it acks it, and one that must not
// answer twice recognises what it has taken.
package echo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Gateway is an echo for one bot. URL, GatewayID, Front and Token are required.
type Gateway struct {
	URL       relay.BaseURL         // the connector
	GatewayID string                // any name that no other gateway of this connector has
	Front     relay.Front           // the platform, and the bot there
	Token     provision.TokenSource // who we are; asked when there are no credentials
	Quiet     time.Duration         // how long nothing must come before Run goes idle; default 10 s
	Log       *slog.Logger          // nil discards

	credentials provision.Credentials // what the last provisioning gave
}

// Run answers what the connector has and returns once nothing has come for Quiet. If the connector refuses the credentials
// that Run has, it provisions once more; if it refuses new ones, Run returns the refusal.
func (g *Gateway) Run(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		fresh := g.credentials == (provision.Credentials{})
		if fresh {
			if err := g.provision(ctx); err != nil {
				return err
			}
		}
		err := g.serve(ctx)
		switch kind, ended := relay.KindOf(err); {
		case ended && kind == relay.CloseExpired && attempt == 0: // the next one gets a new upgrade token
		case ended && kind == relay.CloseRefused && !fresh:
			g.credentials = provision.Credentials{}
		default:
			return err // another gateway may want to wait and dial again
		}
	}
}

// provision exchanges the identity token for credentials.
func (g *Gateway) provision(ctx context.Context) error {
	token, err := g.Token.Token(ctx)
	if err != nil {
		return fmt.Errorf("identity token: %w", err)
	}
	client := provision.New(provision.Config{URL: g.URL, Log: g.Log})
	g.credentials, err = client.Provision(ctx, token, provision.Request{GatewayID: g.GatewayID, Fronts: []relay.Front{g.Front}})
	return err
}

// serve is one socket, from the dial to its close.
func (g *Gateway) serve(ctx context.Context) error {
	conn, err := relay.Dial(ctx, relay.Config{
		URL:    g.URL.RelayURL(),
		Token:  relay.UpgradeToken(g.credentials.GatewayID, g.credentials.Secret, time.Now(), 5*time.Minute),
		Fronts: []relay.Front{g.Front},
		Log:    g.Log,
	})
	if err != nil {
		return err
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		conn.Close(bye)
	}()
	for {
		d, err := g.receive(ctx, conn)
		switch {
		case errors.Is(err, errQuiet):
			return conn.GoIdle(ctx)
		case err != nil:
			return err
		}
		if err := conn.Ack(d.BufferID); err != nil {
			return err
		}
		if err := g.answer(ctx, conn, d); err != nil {
			return err
		}
	}
}

var errQuiet = errors.New("nothing has come for a while")

// receive waits for the next delivery, no longer than Quiet.
func (g *Gateway) receive(ctx context.Context, conn *relay.Conn) (relay.Delivery, error) {
	quiet := g.Quiet
	if quiet == 0 {
		quiet = 10 * time.Second
	}
	limited, cancel := context.WithTimeoutCause(ctx, quiet, errQuiet)
	defer cancel()
	d, err := conn.Receive(limited)
	if err != nil && context.Cause(limited) == errQuiet {
		return d, errQuiet
	}
	return d, err
}

// answer sends the text back to where it came from, in as many parts as the platform needs. Its error is one of the
// socket: a refused action is only logged.
func (g *Gateway) answer(ctx context.Context, conn *relay.Conn, d relay.Delivery) error {
	if d.Kind != relay.KindInbound || d.Event.Text == "" {
		return nil
	}
	source := d.Event.Source
	platform, metadata := source.Routing()
	for _, part := range conn.Descriptor(source.Platform).Split(d.Event.Text) {
		result, err := conn.Do(ctx, relay.Outbound{Platform: platform, Action: relay.Action{
			"op": "send", "chat_id": source.ChatID, "content": part, "reply_to": d.Event.MessageID, "metadata": metadata,
		}})
		var refused *relay.OpError
		switch {
		case err == nil:
		case errors.As(err, &refused), errors.Is(err, relay.ErrOutcomeUnknown):
			if g.Log != nil {
				g.Log.Warn("an answer was not delivered", "declined", result.Declined(), "error", err)
			}
			return nil // the rest would make no sense without this part
		default:
			return err
		}
	}
	return nil
}
