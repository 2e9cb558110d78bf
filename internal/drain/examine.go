package drain

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/version"
	"github.com/dormouse-relay/dormouse/pkg/provision"
)

// Check is what a run with the reason check has found out, from where it runs and with what it may. A nil part was not
// looked at. Nothing in it is a secret.
type Check struct {
	Version  string         `json:"version"`
	Warnings []string       `json:"warnings,omitempty"` // settings that look like mistakes
	Identity *IdentityCheck `json:"identity,omitempty"`
	Clock    *ClockCheck    `json:"clock,omitempty"`
	Agent    *AgentCheck    `json:"agent,omitempty"`
	Policy   string         `json:"policy,omitempty"` // "taken", or why not; empty: there is none, or it was not reached
	Gateway  string         `json:"gateway,omitempty"`
}

// IdentityCheck is how this gateway proves who it is.
type IdentityCheck struct {
	Auth     string    `json:"auth"` // pinned, aws, oidc, secret, env, none
	Error    string    `json:"error,omitempty"`
	Issuer   string    `json:"issuer,omitempty"`
	Subject  string    `json:"subject,omitempty"`
	Audience []string  `json:"audience,omitempty"`
	Issued   time.Time `json:"issued,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
}

// ClockCheck compares this machine's clock with the connector's.
type ClockCheck struct {
	AheadMS int64  `json:"ahead_ms"` // ours, in whole seconds
	Error   string `json:"error,omitempty"`
}

// AgentCheck is a trial turn.
type AgentCheck struct {
	MS      int64  `json:"ms"`
	Actions int    `json:"actions"`
	Said    string `json:"said,omitempty"`
	Error   string `json:"error,omitempty"`
	Class   string `json:"class,omitempty"` // away, refused or failed
}

// examining is how long a check takes that nobody answers.
const examining = 20 * time.Second

// checking is how long a check serves its socket before it goes idle, whatever there is to do: what is left is handed on.
const checking = 20 * time.Second

// hurried is the timetable of a run; a check goes idle soon.
func (r *run) hurried(t timetable) timetable {
	if soon := time.Now().Add(checking); r.req.Reason == ledger.Check && (t.goIdle.IsZero() || soon.Before(t.goIdle)) {
		t.goIdle = soon
	}
	return t
}

// examine looks at what a run needs, side by side.
func (r *run) examine(ctx context.Context) *Check {
	ctx, cancel := context.WithTimeout(ctx, min(examining, r.settings.AgentTimeout))
	defer cancel()
	check := &Check{Version: version.String(), Warnings: r.settings.Warnings}
	var looking sync.WaitGroup
	looking.Go(func() { check.Identity = r.access.examine(ctx) })
	looking.Go(func() { check.Clock = r.compareClocks(ctx) })
	looking.Go(func() { check.Agent = r.tryAgent(ctx) })
	looking.Wait()
	return check
}

func (a *access) examine(ctx context.Context) *IdentityCheck {
	c := &IdentityCheck{Auth: string(a.auth)}
	switch {
	case a.pinned != nil:
		if _, err := a.pinned(ctx); err != nil {
			c.Error = err.Error()
		}
	case a.tokens != nil:
		token, err := a.tokens.Token(ctx)
		if err != nil {
			c.Error = err.Error()
			break
		}
		if claims, ok := provision.ClaimsOf(token); ok {
			c.Issuer, c.Subject, c.Audience, c.Issued, c.Expires = claims.Issuer, claims.Subject, claims.Audience, claims.IssuedAt, claims.Expires
		}
	}
	return c
}

// compareClocks asks the connector for the time: every answer over HTTP has it.
func (r *run) compareClocks(ctx context.Context) *ClockCheck {
	base := "http" + strings.TrimPrefix(r.settings.URL.RelayURL(), "ws")
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, base, nil)
	if err != nil {
		return &ClockCheck{Error: "the connector's URL cannot be used"}
	}
	transport := &http.Transport{DialContext: r.dialer.dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10}
	if strings.HasPrefix(base, "https:") {
		transport.DialContext, transport.DialTLSContext = nil, r.dialer.dial
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return &ClockCheck{Error: err.Error()}
	}
	resp.Body.Close()
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return &ClockCheck{Error: "it does not say what time it is"}
	}
	ahead := time.Since(theirs)
	if ahead > 0 && ahead < time.Second { // theirs is cut to the second
		ahead = 0
	}
	return &ClockCheck{AheadMS: ahead.Truncate(time.Second).Milliseconds()}
}

func (r *run) tryAgent(ctx context.Context) *AgentCheck {
	began := time.Now()
	said, err := agent.Trial(ctx, r.Agent)
	c := &AgentCheck{MS: time.Since(began).Milliseconds(), Actions: said.Actions, Said: said.Said}
	if err == nil {
		return c
	}
	c.Error = err.Error()
	switch agent.ClassOf(err) {
	case agent.Away:
		c.Class = "away"
	case agent.Refused:
		c.Class = "refused"
	default:
		c.Class = "failed"
	}
	return c
}

// checked is the report of a check that ended with err.
func (r *run) checked(rep Report, check *Check, err error) Report {
	check.Policy = r.policy
	if r.phase.met() {
		check.Gateway = r.access.name()
	}
	rep.Check, rep.Hinder = check, hindrance(err)
	if err == nil || rep.Status == HandedOff {
		r.log.Info(logs.DrainEnded, logs.KeyReport, rep)
		return rep
	}
	rep.Error = err.Error()
	r.log.Warn(logs.DrainEnded, logs.KeyError, err, logs.KeyReport, rep)
	return rep
}
