package conform

import (
	"fmt"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

// gatewayOutcomeChecks are about what becomes of an action that was not simply done.
var gatewayOutcomeChecks = []Check{
	{
		ID: "gateway-declined", Suite: Core, Section: 11, Level: Must,
		Sentence: "after an egress decline nothing more is sent to that chat for that message",
		Quote:    "Never try it again as another op or as a plain send to the same chat",
		gateway:  checkGatewayDeclined,
	},
	{
		ID: "gateway-limited", Suite: Core, Section: 11, Level: Should,
		Sentence: "a send that is refused as rate limited is sent again",
		Quote:    "The reference's base adapter sends a network-like refusal again",
		gateway:  checkGatewayLimited,
	},
	{
		ID: "gateway-ambiguous", Suite: Core, Section: 11, Level: Must,
		Sentence: "a send that was refused as ambiguous is not sent again: it may have arrived",
		Quote:    "and never again what may have arrived",
		gateway: func(g *subject) error {
			return g.once(devconnector.Refusing{Class: "ambiguous", Op: "send", Count: 1}, g.cfg.Wait/2)
		},
	},
	{
		ID: "gateway-interrupt", Suite: Core, Section: 5, Level: Must,
		Sentence: "an interrupt of a session that is not at work changes nothing",
		Quote:    "it cancels exactly that session's turn",
		gateway: func(g *subject) error {
			if _, _, err := g.exchange(); err != nil { // so that it is connected
				return err
			}
			if g.c.Interrupt("agent:main:conform:group:none", "none") == 0 {
				return &skipped{"no interrupt was sent: the connector sends none, or nobody is connected"}
			}
			_, _, err := g.exchange()
			return err
		},
	},
}

func checkGatewayDeclined(g *subject) error {
	return g.once(devconnector.Refusing{Class: "declined", Op: "send", Count: 1}, g.cfg.Quiet)
}

// once has an answer be refused, and fails if it is sent again.
func (g *subject) once(how devconnector.Refusing, quiet time.Duration) error {
	if err := g.ready(); err != nil {
		return err
	}
	if err := g.c.RefuseAs(how); err != nil {
		return err
	}
	m := g.write(nil)
	defer g.c.Refuse("", 0)
	if !g.until(g.cfg.Wait, func(s devconnector.State) bool { return len(sends(s, m)) > 0 }) {
		return fmt.Errorf("no send within %v", g.cfg.Wait)
	}
	g.quiet(quiet)
	if n := len(sends(g.c.State(), m)); n > 1 {
		return fmt.Errorf("%d sends to that chat", n)
	}
	return nil
}

func checkGatewayLimited(g *subject) error {
	if err := g.ready(); err != nil {
		return err
	}
	if err := g.c.RefuseAs(devconnector.Refusing{Class: "rate_limited", Op: "send", Count: 1, RetryAfter: time.Second}); err != nil {
		return err
	}
	defer g.c.Refuse("", 0)
	m := g.write(nil)
	if _, err := g.answer(m); err != nil {
		return fmt.Errorf("%d refused, then: %w", len(sends(g.c.State(), m)), err)
	}
	return nil
}

func checkGatewayLate(g *subject) error {
	if err := g.ready(); err != nil {
		return err
	}
	g.c.DelayResultsOf("send", outage)
	defer g.c.DelayResultsOf("", 0)
	m := g.write(nil)
	if !g.until(g.cfg.Redial, func(s devconnector.State) bool { return len(sends(s, m)) > 0 }) {
		return fmt.Errorf("no send within %v", g.cfg.Redial)
	}
	g.quiet(45 * time.Second)
	if n := len(sends(g.c.State(), m)); n > 1 {
		return fmt.Errorf("%d sends", n)
	}
	return nil
}
