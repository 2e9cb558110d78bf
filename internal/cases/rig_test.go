package cases

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/pipenet"
)

const gateway = "gw-cases"

// script is what a case does to the gateway.
type script struct {
	descriptors []descriptor // of the fronted platforms
	frames      []frame
	stop        string // DORMOUSE_STOP; empty: its default

	// answer is the agent. Only it may take time.
	answer func(w http.ResponseWriter, r *http.Request, turn *request)
	// result is what the connector says of an action, nil: success with a new id. n counts the actions of that op, from 0.
	result func(a *action, n int) any
	// upload answers POST /relay/media.
	upload http.HandlerFunc
	// down is how long nobody listens where the agent is.
	down time.Duration
	// greet takes the place of what the connector says to the hello.
	greet []string
}

// descriptor is a platform's, as it is on the wire.
type descriptor struct {
	raw      json.RawMessage
	platform string
	unit     string
}

func (d *descriptor) UnmarshalJSON(raw []byte) error {
	var named struct {
		Platform string `json:"platform"`
		Unit     string `json:"len_unit"`
	}
	if err := json.Unmarshal(raw, &named); err != nil {
		return err
	}
	var line bytes.Buffer // a frame is one line
	if err := json.Compact(&line, raw); err != nil {
		return err
	}
	*d = descriptor{raw: line.Bytes(), platform: named.Platform, unit: named.Unit}
	return nil
}

// ordinary is a descriptor for cases that do not bring one.
func ordinary(platform string) descriptor {
	raw := `{"contract_version":1,"platform":"` + platform + `","label":"` + platform + `","max_message_length":2000,` +
		`"supports_draft_streaming":false,"supports_edit":true,"supports_threads":true,"markdown_dialect":"` + platform + `",` +
		`"len_unit":"chars","supported_ops":["send","edit","typing","react","follow_up","send_media","prompt","get_chat_info"]}`
	var d descriptor
	if err := json.Unmarshal([]byte(raw), &d); err != nil {
		panic(err)
	}
	return d
}

// request is a turn as the agent got it.
type request struct {
	turn      map[string]any
	text      string        // event.text
	cancelled time.Duration // after the first frame; 0: it was answered
}

// outcome is all that happened.
type outcome struct {
	requests []*request
	actions  []*action // typing left out
	typing   []*action
	acked    []string
	uploads  []upload
	delivery string // finished, dead, waiting, or missing if nothing was received
	fault    string // of the dead message
	reports  []drain.Report
	log      []record
}

// record is a line of the log, or how a run failed.
type record struct {
	at   time.Duration // after the start
	text string
}

// contents are those of the actions that have one.
func (o *outcome) contents() (list []string) {
	for _, a := range o.actions {
		if content, ok := a.body["content"].(string); ok {
			list = append(list, content)
		}
	}
	return list
}

// sends are the contents of the sends.
func (o *outcome) sends() (list []string) {
	for _, a := range o.actions {
		if a.op == "send" {
			content, _ := a.body["content"].(string)
			list = append(list, content)
		}
	}
	return list
}

func (o *outcome) texts() (list []string) {
	for _, r := range o.requests {
		list = append(list, r.text)
	}
	return list
}

// most is how many runs a delivery gets to end in: the wake, and sweeps after it.
const most = 4

// store says whether the journal outlives the process.
type store string

// ledger is in memory in any case.
func (s store) ledger() ledger.Ledger {
	if s == "without a table" {
		return ledger.NewMemory()
	}
	return ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return durable{l} })
}

type durable struct{ ledger.Lease }

func (durable) Durable() bool { return true }

// play runs a script in a bubble until what came has ended, or has been left by most runs.
func (s *script) play(t *testing.T, kept store) *outcome {
	t.Helper()
	start := time.Now()
	c := newConnector(t, s)
	mind, brain := newMind(t, s, c)
	logs := &lines{start: start}
	journal := kept.ledger()
	settings, err := config.Drain(s.environment())
	if err != nil {
		t.Fatal(err)
	}
	drainer := drain.New(settings, drain.Parts{
		Ledger: journal, Agent: brain, NetDial: c.listener.Dial,
		Log: slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	o := &outcome{}
	for reason, run := ledger.Wake, 0; run < most; run++ {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		rep, err := drainer.Run(ctx, drain.Request{Reason: reason})
		cancel()
		o.reports = append(o.reports, rep)
		if err != nil {
			logs.add(err.Error())
		}
		if o.end(t, journal, c); o.delivery != "waiting" {
			break
		}
		time.Sleep(5 * time.Minute)
		reason = ledger.Schedule
	}
	c.tell(o)
	o.requests = mind.all()
	o.log = logs.all()
	return o
}

// end says how the delivery has ended by now. Without a table one that waits may be with the connector alone, unacked.
func (o *outcome) end(t *testing.T, journal ledger.Ledger, c *connector) {
	dead, err := journal.ListDead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	overview, err := journal.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case len(dead) > 0:
		o.delivery, o.fault = "dead", dead[0].Error
	case !slices.ContainsFunc(o.reports, func(r drain.Report) bool { return r.Received > 0 }):
		o.delivery = "missing"
	case overview.Pending > 0, len(c.unacked()) > 0:
		o.delivery = "waiting"
	default:
		o.delivery = "finished"
	}
}

// environment are the gateway's settings: the defaults, and off what the cases have off.
func (s *script) environment() map[string]string {
	var platforms []string
	bots := map[string]map[string]string{}
	for _, d := range s.descriptors {
		platforms = append(platforms, d.platform)
		bots[d.platform] = map[string]string{"botId": "bot-of-" + d.platform}
	}
	ids, err := json.Marshal(bots)
	if err != nil {
		panic(err)
	}
	env := map[string]string{
		"GATEWAY_RELAY_URL":       "http://connector:80",
		"GATEWAY_RELAY_ID":        gateway,
		"GATEWAY_RELAY_SECRET":    "secret-of-the-cases",
		"GATEWAY_RELAY_PLATFORMS": strings.Join(platforms, ","),
		"GATEWAY_RELAY_BOT_IDS":   string(ids),
		"DORMOUSE_LOG_LEVEL":      "debug",
	}
	if s.stop != "" {
		env["DORMOUSE_STOP"] = s.stop
	}
	for _, name := range []string{"DORMOUSE_APOLOGY", "DORMOUSE_MERGE", "DORMOUSE_REACTIONS"} {
		if slices.Contains(config.DrainVariables(), name) {
			env[name] = "off"
		}
	}
	return env
}

// mind is the agent's side of HTTP.
type mind struct {
	mu       sync.Mutex
	requests []*request
}

func newMind(t *testing.T, s *script, c *connector) (*mind, agent.Agent) {
	t.Helper()
	m := &mind{}
	listener := pipenet.Listen()
	server := &httptest.Server{Listener: listener, Config: &http.Server{
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			turn := &request{}
			if err != nil || json.Unmarshal(body, &turn.turn) != nil {
				t.Errorf("the agent cannot read a turn: %v", err)
			}
			event, _ := turn.turn["event"].(map[string]any)
			turn.text, _ = event["text"].(string)
			m.mu.Lock()
			m.requests = append(m.requests, turn)
			m.mu.Unlock()
			s.answer(w, r, turn)
			if r.Context().Err() != nil {
				m.mu.Lock()
				turn.cancelled = c.since()
				m.mu.Unlock()
			}
		}),
	}}
	server.Start()
	t.Cleanup(server.Close)
	up := time.Now().Add(s.down)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if time.Now().Before(up) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		return listener.Dial(ctx, network, addr)
	}
	brain, done, err := agent.New("http://127.0.0.1/turn", agent.Options{NetDial: dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return m, brain
}

func (m *mind) all() []*request {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests
}

// lines is the log.
type lines struct {
	start time.Time
	mu    sync.Mutex
	list  []record
}

func (l *lines) Write(p []byte) (int, error) {
	l.add(string(p))
	return len(p), nil
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, record{time.Since(l.start), line})
}

func (l *lines) all() []record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list
}
