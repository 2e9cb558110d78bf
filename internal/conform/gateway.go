package conform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// GatewayConfig is what RunGateway needs. Connector, Gateway and Platforms are required; a zero duration means its default.
type GatewayConfig struct {
	Connector *devconnector.Connector // the gateway dials it
	Gateway   string                  // its id
	Platforms []string                // that the gateway fronts, in its order; messages come from the first
	URL       string                  // under which the gateway reaches the connector, for files; without it those checks are skipped
	Elsewhere string                  // the same under another host
	Suite     Suite                   // default All
	Only      []string                // ids; empty: all of the suite
	Slow      bool                    // also run checks that wait for minutes
	Wait      time.Duration           // for what has to come; default 10 s
	Quiet     time.Duration           // how long nothing has to come; default 1 s
	Redial    time.Duration           // until a gateway whose socket was cut has taken what waits; default 65 s, as reconnecting backs off
	Leave     time.Duration           // until a gateway that sleeps has gone to sleep; default 3 minutes
	Progress  func(Result)            // called after each check; may be nil
}

func (c GatewayConfig) withDefaults() (GatewayConfig, error) {
	for _, d := range []struct {
		at    *time.Duration
		value time.Duration
	}{{&c.Wait, 10 * time.Second}, {&c.Quiet, time.Second}, {&c.Redial, 65 * time.Second}, {&c.Leave, 3 * time.Minute}} {
		if *d.at <= 0 {
			*d.at = d.value
		}
	}
	if c.Progress == nil {
		c.Progress = func(Result) {}
	}
	if c.Suite == "" {
		c.Suite = All
	}
	var faults []error
	if len(c.Platforms) == 0 {
		faults = append(faults, errors.New("conform: no platform: name one that the gateway fronts"))
	}
	if !slices.Contains(Suites(), string(c.Suite)) {
		faults = append(faults, fmt.Errorf("conform: no suite %q: take one of %s", c.Suite, strings.Join(Suites(), ", ")))
	}
	for _, id := range c.Only {
		if !slices.ContainsFunc(GatewayCatalogue(), func(check Check) bool { return check.ID == id }) {
			faults = append(faults, fmt.Errorf("conform: no check %q: --list shows them", id))
		}
	}
	return c, errors.Join(faults...)
}

// RunGateway holds a gateway against the contract: one that dials the connector, and answers each message. It may sleep, if
// the connector can poke it.
func RunGateway(ctx context.Context, cfg GatewayConfig) (Report, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Report{}, err
	}
	var report Report
	dials := true
	for _, check := range GatewayCatalogue() {
		if check.ID != gatewayGate && !cfg.chooses(check) {
			continue
		}
		result := Result{ID: check.ID, Section: check.Section, Level: check.Level, Status: Skip, Expected: check.Sentence}
		switch {
		case !dials:
			result.Observed = "needs a gateway that answers, and " + gatewayGate + " failed"
		case check.needs.fronts > len(cfg.Platforms):
			result.Observed = fmt.Sprintf("needs %d platforms (--platform)", check.needs.fronts)
		case check.needs.slow && !cfg.Slow:
			result.Observed = "waits for minutes (--slow)"
		default:
			result = runGatewayCheck(ctx, cfg, check, result)
		}
		if ctx.Err() != nil {
			return report, fmt.Errorf("conform: %s: %w", check.ID, ctx.Err())
		}
		dials = dials && (check.ID != gatewayGate || result.Status != Fail)
		report.Checks = append(report.Checks, result)
		cfg.Progress(result)
	}
	return report, nil
}

const gatewayGate = "gateway-answer"

func (c GatewayConfig) chooses(check Check) bool {
	if len(c.Only) > 0 {
		return slices.Contains(c.Only, check.ID)
	}
	return c.Suite == All || check.Suite == c.Suite
}

func runGatewayCheck(ctx context.Context, cfg GatewayConfig, check Check, result Result) Result {
	g := &subject{ctx: ctx, cfg: cfg, c: cfg.Connector, check: check}
	from := len(g.c.State().Observations)
	err := check.gateway(g)
	for _, o := range g.c.State().Observations[from:] {
		if len(result.Frames) < mostTraces {
			result.Frames = append(result.Frames, observed(o))
		}
	}
	result.Status = Pass
	if skip, ok := errors.AsType[*skipped](err); ok {
		result.Status, result.Observed = Skip, skip.why
	} else if err != nil {
		result.Status, result.Observed = Fail, err.Error()
	}
	return result
}

// observed is an observation as a line of Result.Frames.
func observed(o devconnector.Observation) string {
	words := []string{o.What}
	for _, word := range []string{o.Op, o.Platform, o.Chat, o.MessageID, o.BufferID, o.Detail} {
		if word != "" {
			words = append(words, word)
		}
	}
	if o.Code != 0 {
		words = append(words, fmt.Sprint(o.Code))
	}
	return strings.Join(words, " ")
}

// subject is the gateway in one check.
type subject struct {
	ctx   context.Context
	cfg   GatewayConfig
	c     *devconnector.Connector
	check Check
	chats int

	messages int
}

// message is one that was written to the gateway.
type message struct{ chat, id, buffer string }

// until waits at most d for a state.
func (g *subject) until(d time.Duration, ok func(devconnector.State) bool) bool {
	ctx, cancel := context.WithTimeout(g.ctx, d)
	defer cancel()
	return g.c.Wait(ctx, ok) == nil
}

// ready waits until a message can reach the gateway: it is connected, or asleep and can be poked.
func (g *subject) ready() error {
	if !g.until(g.cfg.Redial, func(s devconnector.State) bool {
		inst := s.Instance(g.cfg.Gateway)
		return inst.Connected || inst.Flipped
	}) {
		return fmt.Errorf("the gateway has no socket after %v", g.cfg.Redial)
	}
	return nil
}

// write has somebody write to the gateway. more are further members of the event.
func (g *subject) write(more map[string]any) message { return g.writeIn(g.newChat(), more) }

// newChat is one that no other check uses.
func (g *subject) newChat() string {
	g.chats++
	return fmt.Sprintf("%s-%x-%d", g.check.ID, time.Now().UnixNano(), g.chats)
}

// writeIn is write in a chat.
func (g *subject) writeIn(chat string, more map[string]any) message {
	g.messages++
	m := message{chat: chat, id: fmt.Sprintf("m-%s-%d", chat, g.messages)}
	event := map[string]any{
		"text": "conform", "message_type": "text", "message_id": m.id,
		"source": map[string]any{
			"platform": g.cfg.Platforms[0], "chat_id": m.chat, "chat_type": "group", "chat_name": "Conformance", "user_id": author,
			"user_name": "Conformance", "thread_id": nil, "chat_topic": nil, "scope_id": "conform-scope",
		},
	}
	maps.Copy(event, more)
	raw, err := json.Marshal(event)
	if err != nil {
		panic("conform: our events always marshal: " + err.Error())
	}
	m.buffer = g.c.DeliverRaw(g.cfg.Gateway, raw)
	return m
}

// buffered has somebody write while the connector takes the gateway for idle. A gateway that is connected gets what is buffered
// on its socket: to dial again may take it a while.
func (g *subject) buffered(more map[string]any) (message, error) {
	if err := g.idle(); err != nil {
		return message{}, err
	}
	m := g.write(more)
	if err := g.resume(); err != nil {
		return m, err
	}
	if m.buffer == "" {
		return m, &skipped{"the connector buffers nothing"}
	}
	return m, nil
}

// idle has the connector take the gateway for idle.
func (g *subject) idle() error {
	if err := g.ready(); err != nil {
		return err
	}
	return g.c.TakeForIdle(g.cfg.Gateway)
}

// resume has what is buffered be sent, if the gateway is connected; one that is not dials for it.
func (g *subject) resume() error {
	if g.c.State().Instance(g.cfg.Gateway).Connected {
		return g.c.Resume(g.cfg.Gateway)
	}
	return nil
}

// cut ends the gateway's socket, if it has one.
func (g *subject) cut() error {
	if g.c.State().Instance(g.cfg.Gateway).Connected {
		return g.c.Drop(g.cfg.Gateway)
	}
	return nil
}

// sends are the answers to a message.
func sends(s devconnector.State, m message) (list []devconnector.Outbound) {
	for _, out := range s.Outbounds {
		if out.Op == "send" && out.ChatID == m.chat {
			list = append(list, out)
		}
	}
	return list
}

// answer waits for the first one that was carried out.
func (g *subject) answer(m message) (first devconnector.Outbound, err error) {
	found := g.until(g.cfg.Redial, func(s devconnector.State) bool {
		for _, out := range sends(s, m) {
			if out.Applied {
				first = out
				return true
			}
		}
		return false
	})
	if !found {
		return first, fmt.Errorf("no send that answers the message within %v", g.cfg.Redial)
	}
	return first, nil
}

// acked waits for the ack of a buffer id.
func (g *subject) acked(id string) error {
	if !g.until(g.cfg.Redial, func(s devconnector.State) bool {
		return slices.ContainsFunc(s.Acks, func(ack devconnector.Ack) bool { return ack.BufferID == id })
	}) {
		return fmt.Errorf("no inbound_ack of %s within %v", id, g.cfg.Redial)
	}
	return nil
}

// quiet lets time pass.
func (g *subject) quiet(d time.Duration) {
	g.until(d, func(devconnector.State) bool { return false })
}

// exchange has somebody write and waits for the answer. Where the connector buffers nothing, what is written in the moment in
// which the gateway leaves is lost, so somebody writes once more.
func (g *subject) exchange() (m message, out devconnector.Outbound, err error) {
	for range 2 {
		if err := g.ready(); err != nil {
			return m, out, err
		}
		m = g.write(nil)
		if out, err = g.answer(m); err == nil || !g.c.Behaviour().LiveOnly {
			break
		}
	}
	return m, out, err
}

// forward is a Discord command.
func forward(channel string) relay.Forward {
	body := fmt.Sprintf(`{"id":"i-%s","type":2,"channel_id":%q,"guild_id":"conform-scope","member":{"user":{"id":%q,"username":"c"}},`+
		`"data":{"name":"help"}}`, channel, channel, author)
	return relay.Forward{Platform: "discord", BotID: "conform", Method: "POST", Path: "/interactions", Body: []byte(body)}
}

// dials counts those that were refused by HTTP, too.
func dials(s devconnector.State) int {
	n := len(s.Sockets)
	if s.Preset == "agentsync" {
		n += s.Count(devconnector.ObsRefused)
	}
	return n
}
