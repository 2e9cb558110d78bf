package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	drainFunction = "drain"
	storm         = 8 * time.Second  // how long faults are injected
	patience      = 90 * time.Second // until all is quiet afterwards
	sessions      = 3
)

// weather is what a run's seed decides: shares of requests or turns that something happens to, and how long from one
// other fault to the next.
type weather struct {
	killTable, failTable, slowTable float64
	killTurn, failTurn, slowTurn    float64
	pause                           time.Duration
	lease                           time.Duration // of the drain: how soon a dead one's is free
	timeout                         time.Duration // of the function: a short one makes it hand over
}

// run is one instance with all that surrounds it.
type run struct {
	seed              uint64
	gateway, identity string
	endpoint, drain   string
	client            *dynamodb.Client
	tables            *http.Client // to the table, of the proxy
	connector         *devconnector.Connector
	host              *locallambda.Host
	wire              *wire
	calm              atomic.Bool
	wg                sync.WaitGroup

	mu       sync.Mutex // guards what follows
	rng      *rand.Rand
	weather  weather
	injected figures
	seen     figures
	history  history
	secrets  map[string]bool
	frozen   bool // a process was stopped at some time
	sent     []message
	wrong    []string
	log      []string
}

// message is one of a simulated user's.
type message struct {
	session, number int
	key             string // of its delivery
	buffered        bool   // has a buffer id: the connector sends it until it is acked
	calm            bool   // written when no fault was injected any more and all was settled
}

func (m message) id() string { return fmt.Sprintf("%d-%d", m.session, m.number) }

func newRun(seed uint64, endpoint, drain string, client *dynamodb.Client) *run {
	rng := rand.New(rand.NewPCG(seed, 14))
	pick := func(choices ...float64) float64 { return choices[rng.IntN(len(choices))] }
	return &run{
		seed: seed, gateway: fmt.Sprint("gw-", seed), identity: fmt.Sprint("identity-of-", seed, "-", rng.Uint64()),
		endpoint: endpoint, drain: drain, client: client, rng: rng,
		weather: weather{
			killTable: pick(0, 0, 0.003, 0.02), failTable: pick(0, 0, 0.05, 0.3), slowTable: pick(0, 0.05, 0.2),
			killTurn: pick(0, 0, 0.05, 0.2), failTurn: pick(0, 0.1, 0.3), slowTurn: pick(0, 0.3),
			lease: time.Duration(pick(1, 2)) * time.Second, timeout: time.Duration(pick(8, 20)) * time.Second,
			pause: time.Duration(pick(500, 1500, 4000)) * time.Millisecond,
		},
		injected: figures{}, seen: figures{}, secrets: map[string]bool{},
		history: history{
			journalled: map[string]time.Time{}, kept: map[string]time.Time{},
			finished: map[string]time.Time{}, confirmed: map[string]time.Time{},
		},
	}
}

// between is a random time in milliseconds.
func (r *run) between(from, to int) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Duration(from+r.rng.IntN(to-from)) * time.Millisecond
}

// lucky is a throw of the dice for a fault, which is counted.
func (r *run) lucky(name string, share float64) bool {
	if r.calm.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rng.Float64() >= share {
		return false
	}
	r.injected[name]++
	return true
}

func (r *run) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// do is the whole run. It returns what is wrong.
func (r *run) do(ctx context.Context) []string {
	stop, err := r.open()
	if err != nil {
		return []string{err.Error()}
	}
	weathering, end := context.WithTimeout(ctx, storm)
	next := 0
	r.wg.Go(func() { next = r.users(weathering) })
	r.wg.Go(func() { r.blow(weathering) })
	r.wg.Go(func() { r.schedules(weathering) })
	<-weathering.Done()
	end()
	r.calm.Store(true)
	r.wg.Wait()
	r.connector.DelayResults(0)
	r.connector.Duplicate(0)
	r.settle(ctx)
	for session := range sessions { // after the storm all is as if there had been none
		r.write(message{session: session, number: next, calm: true})
	}
	r.settle(ctx)
	state := r.connector.State()
	stop()
	r.check(state)
	return r.wrong
}

// open starts everything.
func (r *run) open() (stop func(), err error) {
	preset := devconnector.Hosted()
	preset.PokeCooldown = 200 * time.Millisecond
	preset.BufferUnflipped = r.rng.IntN(4) > 0 // else it drops what comes after a death
	preset.Window = []int{1, 1, 0, 4}[r.rng.IntN(4)]
	preset.LiveIDs = []devconnector.LiveIDs{devconnector.LiveNever, devconnector.LiveSometimes, devconnector.LiveAlways}[r.rng.IntN(3)]
	r.secrets[r.identity] = true
	r.connector = devconnector.New(devconnector.Config{
		Preset:     preset,
		Gateways:   []devconnector.Gateway{{ID: r.gateway, Tenant: "tenant", Asleep: true, WakeURL: "http://127.0.0.1/w"}},
		Identities: map[string]string{r.identity: "tenant"},
		Poke:       func(context.Context, string) (int, error) { return http.StatusAccepted, r.invoke() },
	})
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	r.tables = &http.Client{Transport: transport}
	relays := httptest.NewServer(http.HandlerFunc(r.serveRelay))
	proxy := httptest.NewServer(http.HandlerFunc(r.serveTable))
	agents := httptest.NewServer(http.HandlerFunc(r.serveAgent))
	home, err := os.MkdirTemp("", "chaos")
	if err == nil {
		r.wire, err = newWire(relays.Listener.Addr().String())
	}
	if err == nil {
		r.host, err = locallambda.Start(locallambda.Config{
			Functions: []locallambda.Function{{
				Name: drainFunction, Command: []string{r.drain}, Memory: 256, Timeout: r.weather.timeout,
				Env: r.settings(home, proxy.URL, agents.URL),
			}},
			Region: region, Retries: -1, NoFreeze: true,
			Log: func(_, line string) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.log = append(r.log, line)
			},
		})
	}
	stop = func() {
		closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if r.host != nil {
			if err := r.host.Close(closing); err != nil {
				r.fault("%v", err)
			}
		}
		if err := r.connector.Close(closing); err != nil {
			r.fault("%v", err)
		}
		if r.wire != nil {
			r.wire.close()
		}
		for _, s := range []*httptest.Server{relays, proxy, agents} {
			s.CloseClientConnections()
			s.Close()
		}
		transport.CloseIdleConnections()
		os.RemoveAll(home)
	}
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

func (r *run) settings(home, database, agent string) map[string]string {
	return map[string]string{
		"GATEWAY_RELAY_URL":            "http://" + r.wire.Addr().String(),
		"GATEWAY_RELAY_ID":             r.gateway,
		"GATEWAY_RELAY_IDENTITY_TOKEN": r.identity,
		"GATEWAY_RELAY_WAKE_URL":       "http://127.0.0.1/w",
		"GATEWAY_RELAY_PLATFORMS":      "discord",
		"GATEWAY_RELAY_BOT_IDS":        `{"discord":{"botId":"bot"}}`,
		"DORMOUSE_ALLOW_ENV_SECRETS":   "1",
		"DORMOUSE_TABLE":               table,
		"AWS_ENDPOINT_URL_DYNAMODB":    database,
		"DORMOUSE_AGENT":               agent,
		"DORMOUSE_AGENT_TIMEOUT":       "4s",
		"DORMOUSE_MAX_ATTEMPTS":        "50", // whatever the weather, nobody is given up
		"DORMOUSE_OUTBOUND_TIMEOUT":    "2s",
		"DORMOUSE_HANDOFF_MARGIN":      "2s",
		"DORMOUSE_LEASE":               r.weather.lease.String(),
		"DORMOUSE_IDLE_AFTER":          "200ms",
		"DORMOUSE_EMPTY_AFTER":         "200ms",
		"DORMOUSE_POKE_COOLDOWN":       "250ms",
		"DORMOUSE_SECOND_LOOK":         "100ms",
		"DORMOUSE_SWEEP":               "1s", // each schedule finds one due
		"DORMOUSE_SWEEP_MAX":           "1s",
		"TMPDIR":                       home,
		"HOME":                         home,
	}
}

// invoke starts a drain as a poke does.
func (r *run) invoke() error {
	return r.host.InvokeEvent(drainFunction, []byte(`{"reason":"wake"}`))
}

// serveRelay is the connector. It notes every credential that passes.
func (r *run) serveRelay(w http.ResponseWriter, req *http.Request) {
	_, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	r.secret(token)
	if req.URL.Path != "/relay/provision" {
		r.connector.ServeHTTP(w, req)
		return
	}
	answer := httptest.NewRecorder()
	r.connector.ServeHTTP(answer, req)
	var issued struct{ Secret, DeliveryKey string }
	json.Unmarshal(answer.Body.Bytes(), &issued)
	r.secret(issued.Secret)
	r.secret(issued.DeliveryKey)
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	w.Write(answer.Body.Bytes())
}

func (r *run) secret(s string) {
	if s == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secrets[s] = true
}

// lines are what the agent answers to a message, each a send of its own: as one whole answer, or as a stream.
func (m message) lines() (lines []string, streamed bool) {
	switch m.number % 10 {
	case 3:
		return []string{m.id(), m.id() + " and more"}, false
	case 7, 9:
		return []string{m.id(), m.id() + " and more"}, true
	}
	return []string{m.id()}, false
}

func (r *run) serveAgent(w http.ResponseWriter, req *http.Request) {
	asked := time.Now()
	var t agent.Turn
	if err := json.NewDecoder(req.Body).Decode(&t); err != nil {
		return // cut off with its process
	}
	io.Copy(io.Discard, req.Body)
	r.mu.Lock()
	r.seen["turns asked of the agent"]++
	if !r.calm.Load() {
		r.seen["turns asked of it in the storm"]++
	}
	kept, ok := r.history.kept[t.Delivery.Key]
	if ok && kept.Before(asked) && !r.frozen { // one that wakes up late may ask before it knows that it has lost
		r.wrong = append(r.wrong, fmt.Sprintf("%s: the agent is asked although its answer is kept", t.Event.MessageID))
	}
	r.mu.Unlock()
	if r.lucky("agent slow", r.weather.slowTurn) {
		time.Sleep(r.between(50, 600))
	}
	switch {
	case r.lucky("agent kills the process", r.weather.killTurn):
		r.host.Kill(drainFunction)
		panic(http.ErrAbortHandler)
	case r.lucky("agent answers 500", r.weather.failTurn/2):
		w.WriteHeader(http.StatusInternalServerError)
	case r.lucky("agent answers nonsense", r.weather.failTurn/2):
		io.WriteString(w, "nonsense")
	default:
		r.answer(w, t)
	}
}

// answer answers whole or line by line. In a stream that was cut short it goes on behind the lines that certainly arrived.
func (r *run) answer(w http.ResponseWriter, t agent.Turn) {
	var m message
	fmt.Sscanf(t.Event.MessageID, "%d-%d", &m.session, &m.number)
	lines, streamed := m.lines()
	if !streamed {
		var actions []relay.Action
		for _, line := range lines {
			actions = append(actions, relay.Action{"op": "send", "content": line})
		}
		json.NewEncoder(w).Encode(map[string]any{"actions": actions})
		return
	}
	for _, sent := range t.Delivery.Sent {
		if sent.MessageID != "" && len(lines) > 0 {
			lines = lines[1:]
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	for _, line := range lines {
		fmt.Fprintf(w, "{\"text\":%q}\n", line)
		http.NewResponseController(w).Flush()
		if r.lucky("agent slow within a stream", r.weather.slowTurn) {
			time.Sleep(r.between(50, 600))
		}
		if r.lucky("agent breaks off a stream", r.weather.failTurn/2) {
			panic(http.ErrAbortHandler)
		}
	}
}

// users write numbered messages, each in a chat of his own. It returns the number of the next.
func (r *run) users(ctx context.Context) (next int) {
	for next = 1; ctx.Err() == nil; next++ {
		for session := range sessions {
			if r.between(0, 1000) < 300*time.Millisecond {
				pause(ctx, r.between(10, 300))
			}
			r.write(message{session: session, number: next})
		}
		pause(ctx, r.between(50, 500))
	}
	return next
}

func (r *run) write(m message) {
	event := relay.Event{
		Text: "message " + m.id(), MessageType: "text", MessageID: m.id(),
		Source: relay.Source{
			Platform: "discord", ChatID: fmt.Sprint("chat-", m.session), ChatType: "group", UserID: "user", ScopeID: "scope",
		},
	}
	m.key = turn.Key(r.gateway, relay.Delivery{Kind: relay.KindInbound, Event: &event})
	m.buffered = r.connector.Deliver(r.gateway, event) != ""
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, m)
}

// schedules fire as EventBridge does, only faster.
func (r *run) schedules(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, 700*time.Millisecond)
		if err := r.host.InvokeEvent(drainFunction, []byte(`{"reason":"schedule"}`)); err != nil {
			r.fault("schedule: %v", err)
		}
	}
}

// blow injects the faults that do not hang on a request.
func (r *run) blow(ctx context.Context) {
	losses := []devconnector.PokeLoss{devconnector.LostInCooldown, devconnector.LostInFlip, devconnector.LostByFailure}
	for {
		if !pause(ctx, r.between(50, int(2*r.weather.pause.Milliseconds()))) {
			return
		}
		r.mu.Lock()
		which, way := r.rng.IntN(14), losses[r.rng.IntN(len(losses))]
		r.mu.Unlock()
		name := ""
		switch which {
		case 0, 1:
			name = "SIGKILL"
			r.host.Kill(drainFunction)
		case 2:
			name = "SIGTERM"
			r.host.Shutdown(drainFunction)
		case 3, 4:
			name = "SIGSTOP for a while"
			r.freeze(r.between(100, 4500))
		case 5:
			name = "socket cut by the connector"
			if r.connector.Drop(r.gateway) != nil {
				continue // nobody is connected
			}
		case 6:
			name = "connection cut"
			r.wire.each((*line).cut)
		case 7, 8:
			name = "acks and actions dropped, then the connection cut"
			r.wire.each(func(l *line) { l.muted.Store(true) })
			pause(ctx, r.between(20, 400))
			r.wire.each(func(l *line) {
				if l.muted.Load() {
					l.cut()
				}
			})
		case 9, 10:
			name = "poke lost: " + string(way)
			r.connector.LosePoke(way)
		case 11:
			name = "deliveries doubled"
			r.connector.Duplicate(2)
		case 12:
			name = "token expired"
			if r.connector.Expire(r.gateway) != nil {
				continue
			}
		case 13:
			name = "results delayed"
			r.connector.DelayResults(r.between(0, 300))
		}
		r.mu.Lock()
		r.injected[name]++
		r.mu.Unlock()
	}
}

// freeze stops the function's processes, and lets them go on after d.
func (r *run) freeze(d time.Duration) {
	pids := r.host.PIDs(drainFunction)
	r.mu.Lock()
	r.frozen = true
	r.mu.Unlock()
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
	r.wg.Go(func() {
		time.Sleep(d)
		for _, pid := range r.host.PIDs(drainFunction) { // whose number is another's by now was not stopped
			syscall.Kill(pid, syscall.SIGCONT)
		}
	})
}

// pause says whether it lasted the whole time.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// settle lets the schedule fire until nothing is left to do.
func (r *run) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		result, err := r.host.Invoke(ctx, drainFunction, []byte(`{"reason":"schedule"}`))
		if err != nil && !errors.Is(err, locallambda.ErrThrottled) {
			r.fault("not quiet after %s: %v: %s", patience, err, r.rest(context.Background()))
			return
		}
		if err == nil && result.FunctionError == "" && r.host.Events(drainFunction) == 0 && r.rest(ctx) == "" {
			return
		}
		pause(ctx, 200*time.Millisecond)
	}
}
