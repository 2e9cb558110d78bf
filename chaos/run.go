package main

import (
	"context"
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
	storm    = 8 * time.Second // how long faults are injected
	sessions = 8

	maxAttempts = 3 // as deployed
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
	agents            *agentServer
	calm              atomic.Bool
	awayStatus        atomic.Int32 // what the agent answers while it is away; 0: it is there
	wg                sync.WaitGroup
	number            int             // of the newest message; whoever writes has it
	pressed           map[string]bool // questions answered, likewise

	mu         sync.Mutex // guards what follows
	rng        *rand.Rand
	weather    weather
	injected   figures
	seen       figures
	history    history
	secrets    map[string]bool
	stops      []span // when processes were stopped
	unwritable bool
	awayUntil  time.Time // the agent is, beyond the storm
	sent       []*message
	byID       map[string]*message
	requests   map[string]*message // by the request ids of their answers
	late       map[string]*message // by the request ids of their late answers, which are in requests, too
	announced  map[string]bool     // by delivery key: the agent answers later
	apologies  map[string]*message // by the request ids of what their chats are told of them
	failures   map[string]int      // of the agent, by delivery key
	wrong      []string
	log        []string
}

func newRun(seed uint64, endpoint, drain string, client *dynamodb.Client) *run {
	rng := rand.New(rand.NewPCG(seed, 14))
	return &run{
		seed: seed, gateway: fmt.Sprint("gw-", seed), identity: fmt.Sprint("identity-of-", seed, "-", rng.Uint64()),
		endpoint: endpoint, drain: drain, client: client, rng: rng, weather: newWeather(seed, rng),
		pressed: map[string]bool{}, injected: figures{}, seen: figures{}, secrets: map[string]bool{}, history: newHistory(),
		byID: map[string]*message{}, requests: map[string]*message{}, apologies: map[string]*message{},
		late: map[string]*message{}, announced: map[string]bool{}, failures: map[string]int{},
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
	r.wg.Go(func() { r.users(weathering) })
	r.wg.Go(func() { r.blow(weathering) })
	r.wg.Go(func() { r.refuse(weathering) })
	r.wg.Go(func() { r.hush(weathering) })
	r.wg.Go(func() { r.schedules(weathering) })
	r.wg.Go(func() { r.sayings(weathering) })
	<-weathering.Done()
	end()
	r.calm.Store(true)
	r.wg.Wait()
	r.connector.DelayResults(0)
	r.connector.LeaveUnanswered("", 0)
	r.connector.Duplicate(0)
	r.connector.LosePoke("")
	r.connector.RefuseAs(devconnector.Refusing{})
	r.outlast(ctx)
	r.agentBack()
	before := r.number
	left := r.settle(ctx, before)
	waiting := map[int]bool{} // sessions whose next message would wait behind another
	for _, m := range r.sent {
		waiting[m.session] = waiting[m.session] || left.waits(m.key)
	}
	for session := range sessions + 1 { // after the storm all is as if there had been none; one is new
		if !waiting[session] {
			r.press(session) // by now the process that has asked is gone, or the lease was another's since
			r.write(&message{session: session, calm: true, kind: []kind{one, three, growing, filing}[session%4]})
		}
	}
	for i, m := range r.unsaid(false) { // once more, although the table has taken them
		if i < 3 {
			r.say(m)
		}
	}
	left = r.settle(ctx, before)
	state := r.connector.State()
	stop()
	r.check(state, left)
	return r.wrong
}

// open starts everything.
func (r *run) open() (stop func(), err error) {
	r.secrets[r.identity] = true
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	r.tables = &http.Client{Transport: transport}
	proxy := r.newTableProxy()
	home, err := os.MkdirTemp("", "chaos")
	if err == nil {
		r.agents, err = newAgentServer(r.seed, r.serveAgent)
	}
	if err == nil {
		r.host, err = rig.Start(r.config(home, proxy))
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
		if r.agents != nil {
			r.agents.close()
		}
		proxy.CloseClientConnections()
		proxy.Close()
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

func (r *run) config(home string, proxy *httptest.Server) rig.Config {
	return rig.Config{
		Drain: &locallambda.Function{
			Command: []string{r.drain}, Timeout: r.weather.timeout,
			Env: r.settings(home, proxy.URL, "http://"+r.agents.addr+"/"),
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
		Before: r.beforeConnector,
		Secret: r.secret,
		Between: func(url string) (_ string, err error) {
			r.wire, err = newWire(strings.TrimPrefix(url, "http://"), r.process)
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
	preset.BufferUnflipped = r.rng.IntN(4) > 0 || r.weather.quiet // else it drops what comes after a death
	preset.Window = []int{1, 1, 0, 4}[r.rng.IntN(4)]
	preset.LiveIDs = []devconnector.LiveIDs{devconnector.LiveNever, devconnector.LiveSometimes, devconnector.LiveAlways}[r.rng.IntN(3)]
	return preset
}

func (r *run) settings(home, database, agent string) map[string]string {
	sweep := "1s" // each schedule finds one due
	if r.weather.quiet {
		sweep = "1h"
	}
	window := "" // the ordinary one
	if r.weather.narrow {
		window = "262144"
	}
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
		"DORMOUSE_APOLOGY":             apology,
		"DORMOUSE_OUTBOUND_TIMEOUT":    "2s",
		"DORMOUSE_HANDOFF_MARGIN":      "2s",
		"DORMOUSE_LEASE":               r.weather.lease.String(),
		"DORMOUSE_IDLE_AFTER":          "200ms",
		"DORMOUSE_EMPTY_AFTER":         "200ms",
		"DORMOUSE_POKE_COOLDOWN":       "250ms",
		"DORMOUSE_SECOND_LOOK":         "100ms",
		"DORMOUSE_SWEEP":               sweep,
		"DORMOUSE_SWEEP_MAX":           sweep,
		"DORMOUSE_WINDOW":              window,
		"DORMOUSE_MERGE":               map[bool]string{true: "on", false: "off"}[r.seed%6 > 0],
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

// sessionOf is the session of a delivery, or of the apology for one.
func (r *run) sessionOf(key string) int {
	key = strings.TrimSuffix(key, apologySuffix)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.sent {
		if m.key == key || m.key+lateSuffix == key {
			return m.session
		}
	}
	return -1
}
