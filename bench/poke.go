package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/rig"
)

const (
	pokeRuns  = 10
	addedRTT  = 40 * time.Millisecond
	timeLimit = 2 * time.Minute // for a poke and the drain that it starts, also in figure (e)
)

// cpu is the fraction of a core that each function has.
type cpu struct{ wake, drain float64 }

func (c cpu) String() string {
	if c.wake == c.drain {
		return fmt.Sprintf("%.0f %% CPU", 100*c.wake)
	}
	return fmt.Sprintf("wake %.0f %%, drain %.0f %% CPU", 100*c.wake, 100*c.drain)
}

// shares are Lambda's: a whole core comes with 1769 MB. So these are 1769, 512, 256 and 128 MB.
var shares = []cpu{{1, 1}, {0.28, 0.28}, {0.14, 0.14}, {0.07, 0.07}}

// deployed are the shares that the template deploys, both functions with 128 MB, to which the targets apply.
var deployed = cpu{0.07, 0.07}

// larger are those with 256 MB, to which a target of TLS applies, too.
var larger = cpu{0.14, 0.14}

// poking is one setting of figure (f).
type poking struct {
	share     cpu
	rtt       time.Duration // added to the connector's
	authority *authority    // nil for no TLS
	table     *slowTable    // nil for the ledger in memory
}

func (p poking) String() string {
	name := fmt.Sprintf("%v, %d ms added", p.share, p.rtt.Milliseconds())
	if p.authority != nil {
		name += ", TLS " + p.authority.curve
	}
	return name
}

// environment is what both functions need for it.
func (p poking) environment() map[string]string {
	env := map[string]string{"GOMAXPROCS": "1"}
	if p.authority != nil {
		env["SSL_CERT_FILE"], env["SSL_CERT_DIR"] = p.authority.file, os.DevNull
	}
	if p.table != nil {
		env["DORMOUSE_TABLE"], env["AWS_ENDPOINT_URL_DYNAMODB"] = "bench", p.table.URL
	}
	return env
}

// pokes is figure (f): from the poke's request to the first typing at the connector, through both built functions. The
// bare client has no poke, no process start and no CPU limit. It shows what the wire alone takes, with the same number of
// round trips.
func (b *bench) pokes(ctx context.Context) ([]figure, error) {
	var figures []figure
	for _, rtt := range []time.Duration{0, addedRTT} {
		for _, share := range shares {
			measured, err := b.pokesAt(ctx, poking{share: share, rtt: rtt})
			if err != nil {
				return nil, fmt.Errorf("%v, %v added: %w", share, rtt, err)
			}
			figures = append(figures, measured...)
		}
	}
	encrypted, err := b.encrypted(ctx)
	if err != nil {
		return nil, err
	}
	replies, err := b.replies(ctx)
	return slices.Concat(figures, encrypted, replies), err
}

// temperatures are the two kinds of start, with the bare client's round trips: those of TCP, of TLS, of provisioning when
// cold, of the upgrade, of hello and the first message, and half a one for the typing.
var temperatures = []struct {
	name   string
	cold   bool
	trips  float64
	target float64 // of the deployed shares without TLS, with what is added
}{{"cold", true, 4.5, 1.15}, {"warm", false, 3.5, 1.06}}

func (b *bench) pokesAt(ctx context.Context, p poking) ([]figure, error) {
	c, err := newConnector(1, p.authority)
	if err != nil {
		return nil, err
	}
	defer c.close()
	link := c.url
	if p.rtt > 0 {
		scheme, addr, _ := strings.Cut(c.url, "://")
		far, err := newDelay(addr, p.rtt)
		if err != nil {
			return nil, err
		}
		defer far.close()
		link = scheme + "://" + far.addr()
	}
	g, err := b.newGateway(ctx, link, p.share, p.environment())
	if err != nil {
		return nil, err
	}
	defer g.close()

	taken := make([]poked, len(temperatures))
	for range pokeRuns {
		for i, start := range temperatures {
			if err := p.once(ctx, g, c, link, start.cold, &taken[i]); err != nil {
				return nil, err
			}
		}
	}
	var figures []figure
	for i, start := range temperatures {
		f := p.figure(start.name, start.trips, taken[i])
		if target := p.target(start.cold, start.target); target > 0 {
			f = f.atMost(f.ratio, target, "times")
		}
		log.Printf("    %s: %s", strings.TrimPrefix(f.what, "(f) "), f.measured.in("ms"))
		figures = append(figures, f)
	}
	return figures, nil
}

// target is that of the ratio; 0 for none.
func (p poking) target(cold bool, plain float64) float64 {
	switch {
	case p.authority == nil && p.rtt > 0 && p.share == deployed:
		return plain
	case p.authority == nil:
		return 0
	case p.share == deployed && !cold:
		return 1.10
	case cold && (p.share == deployed || p.share == larger && p.authority.curve == "P-384"):
		return 1.25
	}
	return 0
}

// poked is what was measured of several pokes: milliseconds to the first typing, those of the bare client, and the calls of
// the table until then.
type poked struct{ took, floor, calls []float64 }

// once lets first the bare client and then the gateway have its turn.
func (p poking) once(ctx context.Context, g *gateway, c *connector, link string, cold bool, taken *poked) error {
	began := time.Now()
	if err := bareClient(link, p.authority, cold, 1); err != nil {
		return fmt.Errorf("bare client: %w", err)
	}
	bare := <-c.ended
	if bare.err != nil {
		return fmt.Errorf("bare client: %w", bare.err)
	}
	var calls int64
	if p.table != nil {
		p.table.calls.Store(0)
		c.typed = func() { calls = p.table.calls.Load() }
		defer func() { c.typed = nil }()
	}
	if cold {
		g.discard()
	}
	went, err := g.poke(ctx, c)
	if err != nil {
		return err
	}
	if went.cold != cold {
		return fmt.Errorf("the start was to have cold=%t, and had not", cold)
	}
	taken.floor = append(taken.floor, milliseconds(bare.typing.Sub(began)))
	taken.took = append(taken.took, milliseconds(went.traffic.typing.Sub(went.poked)))
	taken.calls = append(taken.calls, float64(calls))
	return nil
}

func (p poking) figure(start string, trips float64, taken poked) figure {
	f := figure{what: fmt.Sprintf("(f) poke to first typing, %s, %v", start, p), measured: spreadOf(taken.took), unit: "ms"}
	if p.authority != nil {
		trips++
	}
	if p.table != nil {
		f.what += fmt.Sprintf(", %.0f table calls of %d ms", spreadOf(taken.calls).median, lambdaTableLatency.Milliseconds())
	}
	return f.against(fmt.Sprintf("bare client, %.1f round trips", trips), spreadOf(taken.floor))
}

// gateway is the two built functions on the local host, set up as the template does, with an HTTP API in front.
type gateway struct {
	host *rig.Rig
	done chan locallambda.Result

	mu  sync.Mutex
	log []string // the newest lines
}

// drainEnvironment is drain's. Waiting times are short: a run ends when its last message is answered.
func drainEnvironment(connector string) map[string]string {
	return map[string]string{
		"GOMEMLIMIT":                   "102MiB",
		"GATEWAY_RELAY_URL":            connector,
		"GATEWAY_RELAY_ID":             "gw-bench",
		"GATEWAY_RELAY_PLATFORMS":      "discord",
		"GATEWAY_RELAY_BOT_IDS":        `{"discord":{"botId":"1"}}`,
		"GATEWAY_RELAY_IDENTITY_TOKEN": "bench",
		"DORMOUSE_ALLOW_ENV_SECRETS":   "1",
		"DORMOUSE_AGENT":               "echo",
		"DORMOUSE_IDLE_AFTER":          "20ms",
		"DORMOUSE_POKE_COOLDOWN":       "0s",
		"DORMOUSE_SECOND_LOOK":         "0s",
	}
}

func (b *bench) newGateway(ctx context.Context, connector string, share cpu, env map[string]string) (*gateway, error) {
	wake, err := b.build(ctx, "functions/wake")
	if err != nil {
		return nil, err
	}
	drain, err := b.build(ctx, "functions/drain")
	if err != nil {
		return nil, err
	}
	wakeEnv, drainEnv := map[string]string{"GOMEMLIMIT": "102MiB"}, drainEnvironment(connector)
	for name, value := range env {
		drainEnv[name] = value
		if name == "GOMAXPROCS" {
			wakeEnv[name] = value
		}
	}
	g := &gateway{done: make(chan locallambda.Result, 1)}
	g.host, err = rig.Start(rig.Config{
		Wake:  &locallambda.Function{Command: []string{wake}, Env: wakeEnv, CPU: share.wake},
		Drain: &locallambda.Function{Command: []string{drain}, Env: drainEnv, CPU: share.drain},
		Host: locallambda.Config{
			Retries: -1, Log: g.remember, Done: func(_ string, result locallambda.Result) { g.done <- result },
		},
	})
	return g, err
}

func (g *gateway) remember(function, line string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.log = append(g.log, function+": "+line); len(g.log) > 20 {
		g.log = g.log[1:]
	}
}

// discard makes the next poke a cold one.
func (g *gateway) discard() {
	g.host.Kill(rig.Wake)
	g.host.Kill(rig.Drain)
}

func (g *gateway) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	g.host.Close(ctx)
}

// course is what was measured of one poke.
type course struct {
	poked   time.Time
	cold    bool
	traffic traffic
}

// poke pokes and returns once the drain has answered everything and has ended.
func (g *gateway) poke(ctx context.Context, c *connector) (course, error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	went, err := g.follow(ctx, c)
	if err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		err = fmt.Errorf("%w; the functions' last words:\n%s", err, strings.Join(g.log, "\n"))
	}
	return went, err
}

func (g *gateway) follow(ctx context.Context, c *connector) (course, error) {
	went := course{poked: time.Now()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.host.WakeURL, nil)
	if err != nil {
		return went, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return went, err
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return went, fmt.Errorf("the poke was answered %s", resp.Status)
	}
	var ended bool
	for !ended || went.traffic.first.IsZero() {
		select {
		case result := <-g.done:
			ended, went.cold = true, result.Cold
			var report struct {
				Status string `json:"status"`
			}
			if json.Unmarshal(result.Payload, &report); report.Status != "drained" {
				return went, fmt.Errorf("the drain ended with %s", result.Payload)
			}
		case went.traffic = <-c.ended:
			if went.traffic.err != nil {
				return went, fmt.Errorf("connector: %w", went.traffic.err)
			}
		case <-ctx.Done():
			return went, errors.New("the drain did not end in time")
		}
	}
	return went, nil
}
