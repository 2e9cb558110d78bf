package conform_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/conform"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/pipenet"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// checkGateway runs the kit against a gateway, in simulated time. start runs the gateway until its context ends.
func checkGateway(t *testing.T, preset devconnector.Preset, only []string, start func(ctx context.Context, ln *pipenet.Listener, platform string)) (
	report conform.Report,
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		known := devconnector.Gateway{ID: gatewayID, Tenant: "t", Secrets: []relay.Secret{relay.NewSecret(secret)}, Asleep: !preset.LiveOnly}
		c := devconnector.New(devconnector.Config{Preset: preset, Gateways: []devconnector.Gateway{known}})
		ln := pipenet.Listen()
		srv := serve(ln, c)
		platform := "discord"
		if preset.Platforms != nil {
			platform = preset.Platforms[0]
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { start(ctx, ln, platform) })
		var err error
		report, err = conform.RunGateway(t.Context(), conform.GatewayConfig{Connector: c, Gateway: gatewayID, Platform: platform, Only: only, Slow: true})
		if err != nil {
			t.Error(err)
		}
		cancel()
		running.Wait()
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	return report
}

// ours drains again and again, as under a schedule that is much too fast.
func ours(t *testing.T) func(ctx context.Context, ln *pipenet.Listener, platform string) {
	return func(ctx context.Context, ln *pipenet.Listener, platform string) {
		settings, err := config.Drain(map[string]string{
			"GATEWAY_RELAY_URL": "http://connector:80", "GATEWAY_RELAY_ID": gatewayID, "GATEWAY_RELAY_SECRET": secret,
			"GATEWAY_RELAY_PLATFORMS": platform, "GATEWAY_RELAY_BOT_IDS": fmt.Sprintf(`{%q:{"botId":"bot"}}`, platform),
		})
		if err != nil {
			t.Error(err)
			return
		}
		parts := drain.Parts{Ledger: ledger.NewMemory(), Agent: agent.Echo{}, NetDial: ln.Dial, Log: slog.New(slog.DiscardHandler)}
		drainer := drain.New(settings, parts)
		for ctx.Err() == nil {
			limit, cancel := context.WithTimeout(ctx, 15*time.Minute)
			_, _ = drainer.Run(limit, drain.Request{Reason: ledger.Wake}) // what comes of it is seen on the wire
			cancel()
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
}

// Under each preset our own drain keeps every sentence.
func TestOurDrainConforms(t *testing.T) {
	for _, name := range devconnector.PresetNames() {
		t.Run(name, func(t *testing.T) {
			report := checkGateway(t, named(t, name), nil, ours(t))
			for _, result := range report.Checks {
				if result.Status != conform.Pass {
					t.Logf("%s %s: %s\n%s", result.Status, result.ID, result.Observed, strings.Join(result.Frames, "\n"))
				}
			}
			is.New(t).Equal(failed(report), []string{})
		})
	}
}

// scratch is a small gateway that stays connected. Each field is a fault.
type scratch struct {
	oldToken, noHello, unboxed, untagged, unrouted, noReply, noAck, twice, fragile, small, noForward, mute, deaf bool
	insists, givesUp, staysAway, idleless, undead                                                                bool

	seen map[string]bool
	mu   sync.Mutex // guards writes
}

func (s *scratch) run(ctx context.Context, ln *pipenet.Listener, platform string) {
	s.seen = map[string]bool{}
	token := ""
	for dialled := 0; ctx.Err() == nil; dialled++ {
		if token == "" || !s.oldToken {
			token = relay.UpgradeToken(gatewayID, relay.NewSecret(secret), time.Now(), time.Minute).Reveal()
		}
		if s.oldToken && dialled > 0 {
			token = "stale"
		}
		dialer := websocket.Dialer{NetDialContext: ln.Dial}
		ws, resp, err := dialer.DialContext(ctx, "ws://connector/relay", http.Header{"Authorization": {"Bearer " + token}})
		if err != nil {
			if resp != nil {
				resp.Body.Close()
			}
			continue
		}
		stop := context.AfterFunc(ctx, func() { ws.NetConn().Close() })
		end := s.serve(ws, platform)
		stop()
		ws.Close()
		if end == 4401 && s.staysAway || end == 4401 && !s.undead && s.refused(end) {
			<-ctx.Done()
			return
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// refused says whether the second close in a row says that the credentials are refused.
func (s *scratch) refused(int) bool {
	again := s.seen["refused"]
	s.seen["refused"] = true
	return again
}

// serve answers until the socket ends, and returns its close code. After a minute of silence it goes to sleep.
func (s *scratch) serve(ws *websocket.Conn, platform string) (code int) {
	if !s.noHello {
		s.send(ws, `{"type":"hello","platform":%q,"botId":"bot"}`, platform)
	} else {
		s.send(ws, `{"type":"interrupt","session_key":"k","reason":null}`)
		s.send(ws, `{"type":"hello","platform":%q,"botId":"bot"}`, platform)
	}
	sent := map[string]string{}
	for {
		leave := time.AfterFunc(time.Minute, func() { // of silence
			if s.idleless {
				ws.NetConn().Close()
				return
			}
			s.send(ws, `{"type":"going_idle"}`)
		})
		_, raw, err := ws.ReadMessage()
		leave.Stop()
		if closed, ok := err.(*websocket.CloseError); ok {
			return closed.Code
		}
		if err != nil {
			return 1006
		}
		f := frameOf(string(raw))
		id, _ := f["bufferId"].(string)
		switch f["type"] {
		case "inbound":
			event := member(f, "event")
			source := member(event, "source")
			if s.small && len(raw) > 100_000 {
				return 1009
			}
			if id != "" && !s.noAck {
				s.send(ws, `{"type":"inbound_ack","bufferId":%q}`, id)
			}
			key := fmt.Sprint(event["message_id"])
			if s.seen[key] && !s.twice || s.mute || source["chat_id"] == nil {
				continue
			}
			s.seen[key] = true
			s.seen["refused"] = false
			s.answer(ws, platform, source, event["message_id"], sent)
		case "outbound_result":
			result := member(f, "result")
			again := sent[fmt.Sprint(f["requestId"])]
			declined := result["code"] == "egress_declined"
			if again != "" && result["success"] == false && (!declined && !s.givesUp || declined && s.insists) {
				s.send(ws, "%s", strings.Replace(again, fmt.Sprint(f["requestId"]), strings.Repeat("b", 32), 1))
			}
		case "passthrough_forward":
			if id != "" && !s.noForward {
				s.send(ws, `{"type":"inbound_ack","bufferId":%q}`, id)
			}
		case "interrupt_inbound":
			if s.deaf {
				s.mute = true
			}
		case "going_idle_ack":
			return 1000
		case nil:
			if s.fragile {
				return 1006
			}
		}
	}
}

func (s *scratch) answer(ws *websocket.Conn, platform string, source map[string]any, message any, sent map[string]string) {
	id := fmt.Sprintf("%032x", len(s.seen))
	if s.unboxed {
		id = "7"
	}
	tag, reply, metadata := fmt.Sprintf(`,"platform":%q,"botId":"bot"`, platform), fmt.Sprintf("%q", message), `{}`
	if s.untagged {
		tag = ""
	}
	if s.noReply {
		reply = "null"
	}
	if !s.unrouted {
		metadata = fmt.Sprintf(`{"user_id":%q,"scope_id":%q}`, source["user_id"], source["scope_id"])
	}
	line := fmt.Sprintf(`{"type":"outbound","requestId":%q,"action":{"op":"send","chat_id":%q,"content":"hi","reply_to":%s,"metadata":%s}%s}`,
		id, source["chat_id"], reply, metadata, tag)
	sent[id] = line
	s.send(ws, "%s", line)
}

func (s *scratch) send(ws *websocket.Conn, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format+"\n", args...))
}

// gatewayFaults has a scratch gateway for each check that breaks its sentence.
var gatewayFaults = map[string]*scratch{
	"gateway-answer":    {mute: true},
	"gateway-token":     {oldToken: true},
	"gateway-idle":      {idleless: true},
	"gateway-hello":     {noHello: true},
	"gateway-frames":    {unboxed: true},
	"gateway-platform":  {untagged: true},
	"gateway-routing":   {unrouted: true},
	"gateway-reply-to":  {noReply: true},
	"gateway-ack":       {noAck: true},
	"gateway-once":      {twice: true},
	"gateway-garbage":   {fragile: true},
	"gateway-large":     {small: true},
	"gateway-forward":   {noForward: true},
	"gateway-interrupt": {deaf: true},
	"gateway-declined":  {insists: true},
	"gateway-limited":   {givesUp: true},
	"gateway-expired":   {staysAway: true},
	"gateway-revoked":   {undead: true},
}

func TestEachGatewayCheckFindsItsFault(t *testing.T) {
	var ids []string
	for _, c := range conform.GatewayCatalogue() {
		ids = append(ids, c.ID)
	}
	is.New(t).Equal(slices.Sorted(maps.Keys(gatewayFaults)), sorted(ids))
	preset := devconnector.Hosted()
	preset.Routing = devconnector.RouteAny
	for id, faulty := range gatewayFaults {
		t.Run(id, func(t *testing.T) {
			report := checkGateway(t, preset, []string{id}, new(scratch).run)
			last := report.Checks[len(report.Checks)-1]
			if last.Status != conform.Pass {
				t.Errorf("without the fault: %s %s: %s\n%s", last.Status, last.ID, last.Observed, strings.Join(last.Frames, "\n"))
			}
			report = checkGateway(t, preset, []string{id}, faulty.run)
			if !slices.Contains(failed(report), id) {
				last = report.Checks[len(report.Checks)-1]
				t.Errorf("%s %s: %s\n%s", last.Status, last.ID, last.Observed, strings.Join(last.Frames, "\n"))
			}
		})
	}
}
