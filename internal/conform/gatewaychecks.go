package conform

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

// GatewayCatalogue returns the checks of gateways, in the order in which they run. The last one ends the gateway.
func GatewayCatalogue() []Check { return slices.Clone(gatewayChecks) }

var gatewayChecks = []Check{
	{
		ID: gatewayGate, Section: 11, Level: Must,
		Sentence: "it dials, and answers a message by a send to its chat",
		Quote:    "| `send` | yes | `chat_id`, `content`, `reply_to` (null when none), `metadata` |",
		gateway:  func(g *subject) error { _, _, err := g.exchange(); return err },
	},
	{
		ID: "gateway-token", Section: 2, Level: Must,
		Sentence: "each of its dials has a token that verifies",
		Quote:    "A token is minted anew at EVERY dial",
		gateway: func(g *subject) error {
			if m, err := g.buffered(nil); err == nil {
				if err := g.acked(m.buffer); err != nil {
					return err
				}
			}
			if refused := g.c.State().Count(devconnector.ObsRefused); refused > 0 {
				return fmt.Errorf("%d dials were refused", refused)
			}
			return nil
		},
	},
	{
		ID: "gateway-hello", Section: 4, Level: Must,
		Sentence: "hello is the first frame of each socket, for the platform that it fronts",
		Quote:    "Send one `hello` per fronted identity, in configured order, without waiting in between.",
		gateway:  checkGatewayHello,
	},
	{
		ID: "gateway-frames", Section: 5, Level: Must,
		Sentence: "its frames are those of the contract: known types, requestIds of 32 hex digits, acks with a string",
		Quote:    "| `outbound` | yes | `requestId` (32 hex), `action`, `platform`?, `botId`? |",
		gateway: func(g *subject) error {
			if _, _, err := g.exchange(); err != nil {
				return err
			}
			if breaches := g.c.State().Breaches; len(breaches) > 0 {
				return errors.New(strings.Join(breaches, "; "))
			}
			return nil
		},
	},
	{
		ID: "gateway-platform", Section: 10, Level: Must,
		Sentence: "an answer's frame is tagged with the chat's platform",
		Quote:    "The chat's platform is not metadata: it goes on the frame",
		gateway: func(g *subject) error {
			_, out, err := g.exchange()
			if err == nil && out.Platform != g.cfg.Platform {
				err = fmt.Errorf("platform %q", out.Platform)
			}
			return err
		},
	},
	{
		ID: "gateway-routing", Section: 10, Level: Must,
		Sentence: "an answer's metadata has the chat's scope and the author",
		Quote:    "On every outbound action that names a chat, `metadata` gets `scope_id`, `user_id` and `profile` where they are known",
		gateway:  checkGatewayRouting,
	},
	{
		ID: "gateway-reply-to", Section: 20, Level: Should,
		Sentence: "an answer is a reply to its message",
		Quote:    "`reply_to` of an answer = the message_id of its message",
		gateway:  checkGatewayReplyTo,
	},
	{
		ID: "gateway-ack", Section: 6, Level: Must,
		Sentence: "a buffered message is acked by its id, and answered",
		Quote:    "The reference sends `inbound_ack` after its handler returns, for every inbound frame whose `bufferId` is not empty",
		gateway: func(g *subject) error {
			m, err := g.buffered(nil)
			if err != nil {
				return err
			}
			if err := g.acked(m.buffer); err != nil {
				return err
			}
			_, err = g.answer(m)
			return err
		},
	},
	{
		ID: "gateway-once", Section: 6, Level: Must,
		Sentence: "a message that comes twice is answered once",
		Quote:    "also for duplicates that it drops",
		gateway:  checkGatewayOnce,
	},
	{
		ID: "gateway-garbage", Section: 3, Level: Must,
		Sentence: "bad lines and unknown frames lose no message that comes behind them",
		Quote:    "A line of bad JSON is skipped with a warning. A frame of an unknown `type` is ignored.",
		gateway: func(g *subject) error {
			if err := g.ready(); err != nil {
				return err
			}
			g.c.SendGarbage()
			_, _, err := g.exchange()
			return err
		},
	},
	{
		ID: "gateway-large", Section: 3, Level: Must,
		Sentence: "a message of 900,000 bytes is taken",
		Quote:    "the largest message is 1 MiB",
		gateway: func(g *subject) error {
			m, err := g.buffered(map[string]any{"conform": strings.Repeat("x", 900_000)})
			if err != nil {
				return err
			}
			return g.acked(m.buffer)
		},
	},
	{
		ID: "gateway-forward", Section: 9, Level: Must,
		Sentence: "a buffered forward is acked",
		Quote:    "The contract says that a buffered forward is acked after durable handoff.",
		gateway:  checkGatewayForward,
	},
	{
		ID: "gateway-interrupt", Section: 5, Level: Must,
		Sentence: "an interrupt of a session that is not at work changes nothing",
		Quote:    "it cancels exactly that session's turn",
		gateway: func(g *subject) error {
			if err := g.ready(); err != nil {
				return err
			}
			if g.c.Interrupt("agent:main:conform:group:none", "none") == 0 {
				return &skipped{"no interrupt was sent: the connector sends none, or nobody is connected"}
			}
			_, _, err := g.exchange()
			return err
		},
	},
	{
		ID: "gateway-declined", Section: 11, Level: Must,
		Sentence: "after an egress decline nothing more is sent to that chat for that message",
		Quote:    "Never try it again as another op or as a plain send to the same chat",
		gateway:  checkGatewayDeclined,
	},
	{
		ID: "gateway-limited", Section: 11, Level: Should,
		Sentence: "a send that is refused as rate limited is sent again",
		Quote:    "The reference's base adapter sends a network-like refusal again",
		gateway:  checkGatewayLimited,
	},
	{
		ID: "gateway-expired", Section: 13, Level: Must,
		Sentence: "after a close 4401 expired it dials again, and takes what waits",
		Quote:    "reason exactly `expired`: ordinary reconnect",
		gateway:  checkGatewayExpired,
	},
	{
		ID: "gateway-idle", Section: 12, Level: Must,
		Sentence: "a gateway that leaves by itself has had its going_idle acked before",
		Quote:    "never stop without the ack",
		needs:    needs{slow: true},
		gateway:  checkGatewayIdle,
	},
	{
		ID: "gateway-revoked", Section: 13, Level: Must,
		Sentence: "a gateway that is revoked dials at most twice more in two minutes",
		Quote:    "That connection accepted and then closed 4401 (not expired), or the dial itself failing with 4401: revoked, terminal.",
		needs:    needs{slow: true},
		gateway:  checkGatewayRevoked,
	},
}

func checkGatewayHello(g *subject) error {
	state := g.c.State()
	first := map[int]string{}
	for _, o := range state.Observations {
		kind := o.What
		if slices.Contains([]string{devconnector.ObsHello, devconnector.ObsOutbound, devconnector.ObsInboundAck, devconnector.ObsGoingIdle,
			devconnector.ObsInterrupt, devconnector.ObsBreach}, kind) && first[o.Socket] == "" {
			first[o.Socket] = kind
		}
	}
	for socket, kind := range first {
		if kind != devconnector.ObsHello {
			return fmt.Errorf("socket %d began with %s", socket, kind)
		}
	}
	if !slices.ContainsFunc(state.Hellos, func(h devconnector.Hello) bool { return h.Platform == g.cfg.Platform }) {
		return fmt.Errorf("no hello for %s", g.cfg.Platform)
	}
	return nil
}

func checkGatewayRouting(g *subject) error {
	_, out, err := g.exchange()
	if err != nil {
		return err
	}
	if out.Metadata["scope_id"] != "conform-scope" || out.Metadata["user_id"] != author {
		return fmt.Errorf("scope_id %v, user_id %v", out.Metadata["scope_id"], out.Metadata["user_id"])
	}
	return nil
}

func checkGatewayReplyTo(g *subject) error {
	m, out, err := g.exchange()
	if err == nil && out.Action["reply_to"] != m.id {
		err = fmt.Errorf("reply_to %v", out.Action["reply_to"])
	}
	return err
}

func checkGatewayOnce(g *subject) error {
	g.c.Duplicate(1)
	m, err := g.buffered(nil)
	if err != nil {
		return err
	}
	if _, err := g.answer(m); err != nil {
		return err
	}
	g.quiet(g.cfg.Quiet)
	if n := len(sends(g.c.State(), m)); n > 1 {
		return fmt.Errorf("%d answers", n)
	}
	return nil
}

func checkGatewayForward(g *subject) error {
	if g.cfg.Platform != "discord" {
		return &skipped{"only Discord has forwards"}
	}
	if err := g.idle(); err != nil {
		return err
	}
	id := g.c.Forward(g.cfg.Gateway, forward("conform-forward"))
	if id == "" {
		return &skipped{"the connector does not buffer forwards"}
	}
	if err := g.cut(); err != nil {
		return err
	}
	return g.acked(id)
}

func checkGatewayDeclined(g *subject) error {
	if err := g.ready(); err != nil {
		return err
	}
	if err := g.c.RefuseAs(devconnector.Refusing{Class: "declined", Op: "send", Count: 1}); err != nil {
		return err
	}
	m := g.write(nil)
	defer g.c.Refuse("", 0)
	if !g.until(g.cfg.Wait, func(s devconnector.State) bool { return len(sends(s, m)) > 0 }) {
		return fmt.Errorf("no send within %v", g.cfg.Wait)
	}
	g.quiet(g.cfg.Quiet)
	if n := len(sends(g.c.State(), m)); n > 1 {
		return fmt.Errorf("%d sends to the chat that was declined", n)
	}
	return nil
}

func checkGatewayLimited(g *subject) error {
	if err := g.ready(); err != nil {
		return err
	}
	if err := g.c.RefuseAs(devconnector.Refusing{Class: "rate_limited", Op: "send", Count: 1, RetryAfter: time.Second}); err != nil {
		return err
	}
	defer g.c.Refuse("", 0)
	m := g.write(nil)
	if _, err := g.answer(m); err != nil {
		return fmt.Errorf("%d refused, then: %w", len(sends(g.c.State(), m)), err)
	}
	return nil
}

func checkGatewayExpired(g *subject) error {
	if _, _, err := g.exchange(); err != nil { // so that it is connected
		return err
	}
	if err := g.idle(); err != nil {
		return err
	}
	m := g.write(nil)
	if err := g.c.Expire(g.cfg.Gateway); err != nil {
		return &skipped{"it went to sleep before its token could expire: " + err.Error()}
	}
	if m.buffer == "" {
		return &skipped{"the connector buffers nothing"}
	}
	return g.acked(m.buffer)
}

func checkGatewayIdle(g *subject) error {
	if _, _, err := g.exchange(); err != nil {
		return err
	}
	var last devconnector.Socket
	if !g.until(g.cfg.Leave, func(s devconnector.State) bool {
		last = s.Sockets[len(s.Sockets)-1]
		return !s.Instance(g.cfg.Gateway).Connected
	}) {
		return &skipped{fmt.Sprintf("it does not sleep: it is connected after %v", g.cfg.Leave)}
	}
	for _, idle := range g.c.State().Idles {
		if idle.Socket == last.ID && idle.Acked {
			return nil
		}
	}
	return fmt.Errorf("socket %d ended by %s with %d, without going_idle", last.ID, last.By, last.Code)
}

func checkGatewayRevoked(g *subject) error {
	if _, _, err := g.exchange(); err != nil {
		return err
	}
	before := dials(g.c.State())
	if err := g.c.Revoke(g.cfg.Gateway); err != nil {
		return err
	}
	g.write(nil)
	g.quiet(2 * time.Minute)
	if n := dials(g.c.State()) - before; n > 2 {
		return fmt.Errorf("%d dials in two minutes", n)
	}
	return nil
}
