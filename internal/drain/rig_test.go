package drain_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/pipenet"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	gateway       = "gw-1"
	identityToken = "identity-canary"
	pinnedSecret  = "secret-canary"
)

// rig is a gateway and a connector in one bubble: the upgrade is real, the wire an in-memory pipe.
type rig struct {
	*devconnector.Connector
	t        *testing.T
	settings config.DrainSettings
	parts    *drain.Parts
	drainer  *drain.Drainer
	ledger   ledger.Ledger
	log      *lockedBuffer
	open     *atomic.Int64 // connections of ours to the connector
	running  *atomic.Int64 // drains
	settling *sync.Mutex

	mu    sync.Mutex
	dials int
	down  bool // the connector cannot be reached
	again []drain.Request
	first func(http.ResponseWriter, *http.Request) bool // sees requests before the connector does, and may answer them
}

// proxy lets first answer what it wants to in the connector's place.
func (r *rig) proxy(first func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first = first
}

func (r *rig) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	first := r.first
	r.mu.Unlock()
	if first == nil || !first(w, req) {
		r.Connector.ServeHTTP(w, req)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// setup is what a test changes of the ordinary rig.
type setup struct {
	preset  string // hosted by default
	change  func(*devconnector.Preset)
	pinned  bool // credentials are pinned; always so where the preset does not provision
	env     map[string]string
	ledger  ledger.Ledger
	agent   agent.Agent
	clients identity.Clients
	awake   bool // the gateway has not gone idle
	noAgain bool
}

// bubble runs test in a synctest bubble with a rig.
func bubble(t *testing.T, s setup, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, s)
		test(t, r)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := r.Connector.Close(ctx); err != nil {
			t.Error(err)
		}
		for _, secret := range []string{identityToken, pinnedSecret} {
			if strings.Contains(r.log.String(), secret) {
				t.Errorf("the log shows %s", secret)
			}
		}
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
}

func newRig(t *testing.T, s setup) *rig {
	r := &rig{t: t, ledger: s.ledger, log: &lockedBuffer{}, open: new(atomic.Int64), running: new(atomic.Int64), settling: new(sync.Mutex)}
	name := s.preset
	if name == "" {
		name = "hosted"
	}
	preset, err := devconnector.PresetNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	if s.change != nil {
		s.change(&preset)
	}
	pinned := s.pinned || preset.Provision == devconnector.ProvisionNone
	cfg := devconnector.Config{
		Preset:     preset,
		Identities: map[string]string{identityToken: "tenant-1"},
		Poke:       func(context.Context, string) (int, error) { return http.StatusAccepted, nil },
	}
	known := devconnector.Gateway{ID: gateway, Tenant: "tenant-1", WakeURL: "https://wake.example/w/path-canary", Asleep: !s.awake}
	if pinned {
		known.Secrets = []relay.Secret{relay.NewSecret(pinnedSecret)}
	}
	cfg.Gateways = []devconnector.Gateway{known}
	r.Connector = devconnector.New(cfg)

	ln := pipenet.Listen()
	srv := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(r.serve), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}}
	srv.Start()
	t.Cleanup(srv.Close)

	env := map[string]string{
		"GATEWAY_RELAY_URL":       "http://connector:80",
		"GATEWAY_RELAY_ID":        gateway,
		"GATEWAY_RELAY_PLATFORMS": "discord,telegram,slack,whatsapp",
		"GATEWAY_RELAY_BOT_IDS":   `{"discord":{"botId":"d-1"},"telegram":{"botId":"t-1"},"slack":{"botId":"s-1"},"whatsapp":{"botId":"w-1"}}`,
		"DORMOUSE_LOG_LEVEL":      "debug",
	}
	if preset.Platforms != nil {
		env["GATEWAY_RELAY_PLATFORMS"] = strings.Join(preset.Platforms, ",")
	}
	if pinned {
		env["GATEWAY_RELAY_SECRET"] = pinnedSecret
	} else {
		env["GATEWAY_RELAY_IDENTITY_TOKEN"] = identityToken
	}
	maps.Copy(env, s.env)
	settings, err := config.Drain(env)
	if err != nil {
		t.Fatal(err)
	}
	if r.ledger == nil {
		r.ledger = ledger.NewMemory()
	}
	if s.agent == nil {
		s.agent = agent.Echo{}
	}
	r.settings = settings
	r.parts = &drain.Parts{
		Ledger:  r.ledger,
		Agent:   s.agent,
		Clients: s.clients,
		NetDial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			r.mu.Lock()
			r.dials++
			down := r.down
			r.mu.Unlock()
			if down {
				return nil, errors.New("connection refused")
			}
			conn, err := ln.Dial(ctx, "", "")
			if err != nil {
				return nil, err
			}
			r.open.Add(1)
			return &countedConn{Conn: conn, open: r.open}, nil
		},
		Log: slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if !s.noAgain {
		r.parts.Again = func(_ context.Context, req drain.Request) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.again = append(r.again, req)
			return nil
		}
	}
	r.drainer = drain.New(settings, *r.parts)
	return r
}

// run drains for reason within limit and returns how it ended and how long it took.
func (r *rig) run(reason ledger.Reason, limit time.Duration) (drain.Report, time.Duration, error) {
	r.t.Helper()
	return r.request(drain.Request{Reason: reason}, limit)
}

func (r *rig) request(req drain.Request, limit time.Duration) (drain.Report, time.Duration, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	r.running.Add(1)
	start := time.Now()
	rep, err := r.drainer.Run(ctx, req)
	took := time.Since(start)
	// Lambda freezes a process whose handler has returned: a socket that is left open would be a ghost.
	if r.running.Add(-1) == 0 && r.settling.TryLock() {
		defer r.settling.Unlock()
		synctest.Wait() // net/http ends a connection that it has just read an answer from by itself
		if n := r.open.Load(); r.running.Load() == 0 && n > 0 {
			r.t.Errorf("%s: %d connections are open after the drain", rep.Status, n)
		}
	}
	return rep, took, err
}

func (r *rig) reach(up bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = !up
}

func (r *rig) handedOn() []drain.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.again
}

// event is a message in a chat; the chat's scope is its platform's name and its own.
func event(platform, chat, id, text string) relay.Event {
	return relay.Event{
		Text: text, MessageType: "text", MessageID: id,
		Source: relay.Source{
			Platform: platform, ChatID: chat, ChatType: "group", UserID: "u-" + chat, UserName: "Ann", ScopeID: "scope-" + chat,
		},
	}
}

// replies are the sends that the connector took, as "chat text".
func (r *rig) replies() (list []string) {
	for _, out := range r.Outbounds() {
		if out.Op == "send" {
			list = append(list, fmt.Sprint(out.ChatID, " ", out.Content))
		}
	}
	return list
}

// during runs f beside a drain, once the connector's state is as ok wants it.
func (r *rig) during(ok func(devconnector.State) bool, f func()) (wait func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Wait(r.t.Context(), ok); err != nil {
			r.t.Error(err)
			return
		}
		f()
	})
	return wg.Wait
}

func connected(s devconnector.State) bool { return s.Instance(gateway).Connected }

// answered says that a reply has been taken, so the handshake is over on both sides.
func answered(s devconnector.State) bool {
	return slices.ContainsFunc(s.Outbounds, func(out devconnector.Outbound) bool { return out.Op == "send" })
}

// coldStart is the same gateway in a new process: the ledger and the connector stay, what was in memory is gone.
func (r *rig) coldStart(t *testing.T) *rig {
	cold := *r.parts
	return &rig{t: t, Connector: r.Connector, ledger: r.ledger, log: r.log, open: r.open, running: r.running, settling: r.settling, parts: r.parts, settings: r.settings,
		drainer: drain.New(r.settings, cold)}
}

// countedConn counts as open until it is closed.
type countedConn struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}
