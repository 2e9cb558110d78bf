// Package conform holds a connector or a gateway against the relay contract, by what can be seen on the wire. For a connector
// it acts as a gateway, as two where a check needs two, and as the wake URL; a gateway dials a development connector.
// Sections named in comments are the contract's.
//
// Catalogue lists the checks: each has an id that stays, a section, a level, and the words of the contract that it checks.
// Run runs those of a suite against one connector, one after another, and returns a Report. A check needs credentials that
// the connector accepts; those about messages also need an Injector, through which somebody writes to the gateway on the
// platform's side. Without one they are skipped, and counted as skipped.
//
// GatewayCatalogue and RunGateway are the same for gateways.
//
// A check of a connector speaks the wire itself, with raw WebSocket messages: package relay is used for the token and the addresses only.
// Run starts goroutines for its sockets and waits for them. It is for one caller at a time.
package conform

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Level is how binding a sentence is.
type Level string

const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
)

// Suite names a part of the catalogue.
type Suite string

const (
	Core     Suite = "core"     // upgrade, handshake, frames, the seat, actions, live messages
	Sleep    Suite = "sleep"    // going idle, the buffer, acks, pokes
	Identity Suite = "identity" // provision, enroll, policy, what becomes of a gateway whose credentials are withdrawn
	Media    Suite = "media"    // upload and download
	Prompts  Suite = "prompts"  // prompts and their answers, forwards, interrupts
	All      Suite = "all"
)

// Suites lists what Config.Suite takes.
func Suites() []string {
	return []string{string(Core), string(Sleep), string(Identity), string(Media), string(Prompts), string(All)}
}

// Check is one entry of the catalogue.
type Check struct {
	ID       string `json:"id"`
	Suite    Suite  `json:"suite,omitempty"` // of a connector's check
	Section  int    `json:"section"`         // of docs/contract.md
	Level    Level  `json:"level"`
	Sentence string `json:"sentence"` // what a connector does
	Quote    string `json:"quote"`    // the words of that section that say so

	needs   needs
	run     func(*trial) error   // of a connector's
	gateway func(*subject) error // of a gateway's
}

// needs is what a check cannot do without.
type needs struct {
	inject   bool // somebody writes
	wake     bool // pokes are seen
	slow     bool // it waits for a cooldown to end
	fronts   int  // platforms
	secret   bool // the kit dials with a token
	identity bool // gateways can be provisioned
	stranger bool // and by another tenant, too
	enroll   bool // an enrollment token is there
}

// Status is how a check ended.
type Status string

const (
	Pass Status = "pass"
	Fail Status = "fail"
	Skip Status = "skip"
)

// Result is what one check found.
type Result struct {
	ID       string   `json:"id"`
	Section  int      `json:"section"`
	Level    Level    `json:"level"`
	Status   Status   `json:"status"`
	Observed string   `json:"observed,omitempty"` // of a skipped one, why
	Expected string   `json:"expected"`
	Frames   []string `json:"frames,omitempty"` // what went over the wire; > from the gateway, < from the connector
}

// Report is what a run found, in the order of the catalogue.
type Report struct {
	Checks []Result `json:"checks"`

	facts facts
}

// Count says how many checks ended so.
func (r Report) Count(status Status) (n int) {
	for _, c := range r.Checks {
		if c.Status == status {
			n++
		}
	}
	return n
}

// Injector has something happen on the platform's side. What is one of "deliver", "forward", "interrupt"; body is JSON as the
// development connector's control API takes it.
type Injector interface {
	Inject(ctx context.Context, what string, body []byte) error
}

// DialFunc opens a connection.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Config is what Run needs. URL, GatewayID and Platforms are required; a zero duration means its default.
type Config struct {
	URL       string        // the connector's, as in GATEWAY_RELAY_URL
	GatewayID string        // of the gateway that the kit acts as
	Secret    relay.Secret  // its secret; without one the kit dials without a token
	Platforms []string      // what the gateway fronts, the first one for messages
	BotID     string        // of each hello
	Suite     Suite         // default All
	Only      []string      // ids; empty: all of the suite
	Inject    Injector      // nil: checks that need one are skipped
	Wakes     *Wakes        // the handler behind the gateway's wake URL; nil: checks of pokes are skipped
	WakeURL   string        // under which the connector reaches Wakes, for gateways that the kit provisions
	Identity  relay.Secret  // an identity token to provision with; without one those checks are skipped
	Stranger  relay.Secret  // one of another tenant
	Enroll    relay.Secret  // an enrollment token
	Slow      bool          // also run checks that wait for over a minute
	Wait      time.Duration // for what has to come; default 5 s
	Quiet     time.Duration // how long nothing has to come; default 300 ms
	Cooldown  time.Duration // the connector's time between two pokes; default 61 s
	Silence   time.Duration // how long checks of silent sockets take; default 2 minutes
	NetDial   DialFunc      // nil: a net.Dialer
	Progress  func(Result)  // called after each check; may be nil
}

func (c Config) withDefaults() (Config, error) {
	if c.Suite == "" {
		c.Suite = All
	}
	for _, d := range []struct {
		at    *time.Duration
		value time.Duration
	}{{&c.Wait, 5 * time.Second}, {&c.Quiet, 300 * time.Millisecond}, {&c.Cooldown, 61 * time.Second}, {&c.Silence, 2 * time.Minute}} {
		if *d.at <= 0 {
			*d.at = d.value
		}
	}
	if c.NetDial == nil {
		c.NetDial = new(net.Dialer).DialContext
	}
	if c.Progress == nil {
		c.Progress = func(Result) {}
	}
	var faults []error
	if relay.NewBaseURL(c.URL).RelayURL() == "" {
		faults = append(faults, errors.New("conform: no URL of a connector"))
	}
	if c.GatewayID == "" {
		faults = append(faults, errors.New("conform: no gateway id"))
	}
	if len(c.Platforms) == 0 {
		faults = append(faults, errors.New("conform: no platform: name one that the connector fronts"))
	}
	if !slices.Contains(Suites(), string(c.Suite)) {
		faults = append(faults, fmt.Errorf("conform: no suite %q: take one of %s", c.Suite, strings.Join(Suites(), ", ")))
	}
	for _, id := range c.Only {
		if !slices.ContainsFunc(Catalogue(), func(check Check) bool { return check.ID == id }) {
			faults = append(faults, fmt.Errorf("conform: no check %q: --list shows them", id))
		}
	}
	return c, errors.Join(faults...)
}

// Run runs the checks of cfg.Suite. An error means that nothing could be checked: cfg is wrong, or ctx ended.
func Run(ctx context.Context, cfg Config) (Report, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Report{}, err
	}
	report := Report{facts: facts{}}
	letIn := true
	for _, check := range cfg.checks() {
		result := Result{ID: check.ID, Section: check.Section, Level: check.Level, Status: Skip, Expected: check.Sentence,
			Observed: "needs a gateway that is let in, and " + gate + " failed"}
		if letIn {
			result = runOne(ctx, cfg, check, report.facts)
		}
		if ctx.Err() != nil {
			return report, fmt.Errorf("conform: %s: %w", check.ID, ctx.Err())
		}
		letIn = letIn && (check.ID != gate || result.Status != Fail)
		report.Checks = append(report.Checks, result)
		cfg.Progress(result)
	}
	return report, nil
}

// gate is the check without which no other says anything.
const gate = "upgrade-token"

// checks are those that cfg chooses. The gate is always the first.
func (c Config) checks() []Check {
	return slices.DeleteFunc(Catalogue(), func(check Check) bool {
		if len(c.Only) > 0 {
			return check.ID != gate && !slices.Contains(c.Only, check.ID)
		}
		return check.ID != gate && c.Suite != All && check.Suite != c.Suite
	})
}

func runOne(ctx context.Context, cfg Config, check Check, found facts) Result {
	result := Result{ID: check.ID, Section: check.Section, Level: check.Level, Status: Skip, Expected: check.Sentence}
	if result.Observed = check.needs.missing(cfg); result.Observed != "" {
		return result
	}
	var t *trial
	var err error
	for until := time.Now().Add(cfg.Wait); ; {
		t = &trial{ctx: ctx, cfg: cfg, check: check, facts: found}
		err = check.run(t)
		t.close()
		if err == nil || !t.unseated() || time.Now().After(until) {
			break
		}
		t.pause(cfg.Quiet) // a connector may take a moment to see that the socket of the check before has ended
	}
	result.Status, result.Frames = Pass, t.frames
	if skip, ok := errors.AsType[*skipped](err); ok {
		result.Status, result.Observed = Skip, skip.why
	} else if err != nil {
		result.Status, result.Observed = Fail, err.Error()
	}
	return result
}

// missing says what of cfg a check cannot do without; "" if nothing.
func (n needs) missing(cfg Config) string {
	for _, need := range []struct {
		lacking bool
		why     string
	}{
		{n.inject && cfg.Inject == nil, "needs a message from the platform: say how to make one (--inject)"},
		{n.wake && cfg.Wakes == nil, "needs a wake URL that the connector knows (--wake-listen)"},
		{n.slow && !cfg.Slow, "takes long (--slow)"},
		{n.fronts > len(cfg.Platforms), fmt.Sprintf("needs %d platforms (--platform)", n.fronts)},
		{n.secret && !cfg.Secret.Usable(), "the kit has no secret: it dials without a token"},
		{(n.identity || n.stranger) && !cfg.Identity.Usable(), "needs an identity token to provision with (--identity-file)"},
		{n.stranger && !cfg.Stranger.Usable(), "needs the identity token of another tenant (--stranger-file)"},
		{n.enroll && !(cfg.Enroll.Usable() && cfg.Identity.Usable()), "needs an enrollment and an identity token (--enrollment-file, --identity-file)"},
	} {
		if need.lacking {
			return need.why
		}
	}
	return ""
}

// skipped ends a check that cannot say anything.
type skipped struct{ why string }

func (s *skipped) Error() string { return s.why }
