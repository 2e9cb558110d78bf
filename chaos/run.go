package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/rig"
)

const (
	storm    = 8 * time.Second  // how long faults are injected
	patience = 90 * time.Second // until all is quiet afterwards
	sessions = 3
)

// run is one instance with all that surrounds it.
type run struct {
	seed              uint64
	gateway, identity string
	endpoint, drain   string
	client            *dynamodb.Client
	tables            *http.Client // to the table, of the proxy
	connector         *devconnector.Connector
	host              *rig.Rig
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
	r.secrets[r.identity] = true
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	r.tables = &http.Client{Transport: transport}
	proxy := httptest.NewServer(http.HandlerFunc(r.serveTable))
	agents := httptest.NewServer(http.HandlerFunc(r.serveAgent))
	home, err := os.MkdirTemp("", "chaos")
	if err == nil {
		r.host, err = rig.Start(r.config(home, proxy.URL, agents.URL))
	}
	stop = func() {
		closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if r.host != nil {
			if err := r.host.Close(closing); err != nil {
				r.fault("%v", err)
			}
		}
		if r.wire != nil {
			r.wire.close()
		}
		for _, s := range []*httptest.Server{proxy, agents} {
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
	r.connector = r.host.Connector
	return stop, nil
}

// config is the built drain, and a connector behind a wire that can be cut.
func (r *run) config(home, database, agent string) rig.Config {
	return rig.Config{
		Drain: &locallambda.Function{
			Command: []string{r.drain}, Timeout: r.weather.timeout, Env: r.settings(home, database, agent),
		},
		Host: locallambda.Config{
			Region: region, Retries: -1, NoFreeze: true,
			Log: func(_, line string) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.log = append(r.log, line)
			},
		},
		Connector: &devconnector.Config{
			Preset:     r.preset(),
			Gateways:   []devconnector.Gateway{{ID: r.gateway, Tenant: "tenant", Asleep: true, WakeURL: "http://127.0.0.1/w"}},
			Identities: map[string]string{r.identity: "tenant"},
			Poke:       func(context.Context, string) (int, error) { return http.StatusAccepted, r.invoke() },
		},
		Secret: r.secret,
		Between: func(url string) (_ string, err error) {
			r.wire, err = newWire(strings.TrimPrefix(url, "http://"))
			if err != nil {
				return "", err
			}
			return "http://" + r.wire.Addr().String(), nil
		},
	}
}

// preset is a connector whose ways the seed decides.
func (r *run) preset() devconnector.Preset {
	preset := devconnector.Hosted()
	preset.PokeCooldown = 200 * time.Millisecond
	preset.BufferUnflipped = r.rng.IntN(4) > 0 // else it drops what comes after a death
	preset.Window = []int{1, 1, 0, 4}[r.rng.IntN(4)]
	preset.LiveIDs = []devconnector.LiveIDs{devconnector.LiveNever, devconnector.LiveSometimes, devconnector.LiveAlways}[r.rng.IntN(3)]
	return preset
}

func (r *run) settings(home, database, agent string) map[string]string {
	return map[string]string{
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
		"DORMOUSE_MAX_ATTEMPTS":        "50", // so that no fault makes a message dead
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
	return r.host.InvokeEvent(rig.Drain, []byte(`{"reason":"wake"}`))
}

func (r *run) secret(s string) {
	if s == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secrets[s] = true
}

// settle lets the schedule fire until nothing is left to do.
func (r *run) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		result, err := r.host.Invoke(ctx, rig.Drain, []byte(`{"reason":"schedule"}`))
		if err != nil && !errors.Is(err, locallambda.ErrThrottled) {
			r.fault("not quiet after %s: %v: %s", patience, err, r.rest(context.Background()))
			return
		}
		if err == nil && result.FunctionError == "" && r.host.Events(rig.Drain) == 0 && r.rest(ctx) == "" {
			return
		}
		pause(ctx, 200*time.Millisecond)
	}
}
