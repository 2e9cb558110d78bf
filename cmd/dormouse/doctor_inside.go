package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/drain"
)

const mostSkew = 60 * time.Second // the connectors allow for less than that

// inside judges what a check found where the gateway runs.
func inside(f *findings, report drain.Report, p deployed) {
	c := report.Check
	if c == nil {
		connectorSide(f, report)
		return
	}
	f.add("version", well, "gateway "+c.Version, "")
	for _, warning := range c.Warnings {
		f.add("settings", strange, warning, "if it is not meant so, put it right in the stack's parameters and deploy again (docs/settings.md)")
	}
	identitySide(f, c.Identity, report, p)
	if clock := c.Clock; clock != nil && clock.Error == "" {
		ahead := time.Duration(clock.AheadMS) * time.Millisecond
		f.judge("clock", ahead.Abs() <= mostSkew, fmt.Sprintf("%v ahead of the connector's", ahead),
			"tokens end too early or begin too late: the connector's clock is wrong, as Lambda's follow NTP")
	}
	connectorSide(f, report)
	switch {
	case c.Policy == "taken":
		f.add("policy", well, "the connector has taken it", "")
	case c.Policy != "":
		f.add("policy", bad, "the connector did not take it: "+c.Policy, "it goes by its own or the one before: does it serve /relay/policy?")
	}
	agentSide(f, c.Agent)
}

// identitySide judges how the gateway proves who it is.
func identitySide(f *findings, c *drain.IdentityCheck, report drain.Report, p deployed) {
	if c == nil {
		return
	}
	if c.Auth == "aws" {
		off := strings.Contains(c.Error, "OutboundWebIdentityFederation")
		f.judge("account", !off, "the account issues web identity tokens: "+map[bool]string{true: "no", false: "yes"}[off],
			"once per account: aws iam enable-outbound-web-identity-federation")
	}
	if c.Error != "" {
		do := "see to it that the token can be had: the fact says from where"
		if strings.Contains(c.Error, "AccessDenied") {
			do = "drain's role (" + p.role + ") may not: deploy the template as it is, with the same identity"
		}
		f.add("identity", bad, c.Auth+": "+c.Error, do)
		return
	}
	if c.Issuer == "" && c.Subject == "" {
		said := map[string]string{
			"pinned": "the pinned credentials can be read", "none": "none: it dials without credentials", "env": "a token from a variable, which is no JWT",
		}[c.Auth]
		f.add("identity", well, strings.TrimSpace(c.Auth+": "+said), "")
		return
	}
	refused := report.Hinder == string(drain.IdentityRefused)
	defer subjectSide(f, c, refused, p)
	fact := fmt.Sprintf("%s: issuer %s, subject %s, audience %s", c.Auth, c.Issuer, c.Subject, strings.Join(c.Audience, ", "))
	if !c.Expires.IsZero() {
		fact += ", good until " + stamp(c.Expires)
	}
	switch {
	case !c.Expires.IsZero() && time.Now().After(c.Expires):
		f.add("identity", bad, fact, "the token has ended: put a new one in its place")
	case refused:
		f.add("identity", bad, fact, "the connector does not accept this token: it has to trust this issuer, with this audience "+
			"(GATEWAY_RELAY_IDENTITY_AUDIENCE) and this subject")
	default:
		f.add("identity", well, fact, "")
	}
}

// subjectSide compares the subject of AWS's token with drain's role, which is what the connector is told to trust.
func subjectSide(f *findings, c *drain.IdentityCheck, refused bool, p deployed) {
	switch {
	case c.Auth != "aws" || p.role == "":
	case c.Subject == p.role:
		f.add("subject", well, "is drain's role, the stack's output DrainRoleArn", "")
	default:
		v := strange // the connector may trust it all the same
		if refused {
			v = bad
		}
		f.add("subject", v, c.Subject+" is not drain's role "+p.role,
			"the connector has to trust the subject of the token. Was it told another one, such as the role of an earlier stack?")
	}
}

// connectorSide judges what the connector said.
func connectorSide(f *findings, report drain.Report) {
	switch {
	case report.Hinder == "" && report.Error == "" && report.Status != drain.Taken && report.Status != drain.Disabled:
		f.add("connector", well, "let it in"+asGateway(report), "")
		f.add("seat", well, "is this gateway's", "")
	case report.Status == drain.Taken:
		f.add("connector", strange, "not asked: another drain is at work ("+report.Holder+")", "look at it again when that has ended")
	case report.Status == drain.Disabled:
		f.add("connector", bad, "not asked: the gateway is disabled, as the connector has refused it for good",
			"have it accepted there, or enroll it anew (dormouse rotate), then: dormouse enable")
	case report.Status == drain.Revoked:
		f.add("connector", bad, "revoked: "+report.Error, "have it accepted there, or enroll it anew (dormouse rotate), then: dormouse enable")
	case report.Hinder == string(drain.SeatTaken), report.Hinder == string(drain.Replaced):
		f.add("seat", bad, report.Error, hindrances[report.Hinder][1])
	case strings.HasPrefix(report.Error, "ledger:"):
		f.add("connector", unknown, "not asked: drain cannot use its table", "see the line about the table")
		f.add("table", bad, "from drain: "+report.Error, tableToDo(report.Error))
	default:
		words := hindrances[report.Hinder]
		do := words[1]
		switch {
		case strings.Contains(report.Error, "HTTP status 404"), strings.Contains(report.Error, "HTTP 404"):
			do = "there is no relay at this path: is GATEWAY_RELAY_URL the base URL that the connector's operator gave (with its path)?"
		case words[0] == "":
			do = "dormouse logs shows what the drain did before"
		}
		f.add("connector", bad, strings.TrimPrefix(words[0]+": "+report.Error, ": "), do)
	}
}

func asGateway(report drain.Report) string {
	if report.Check == nil || report.Check.Gateway == "" {
		return ""
	}
	return " as " + report.Check.Gateway
}

// agentSide judges the trial turn.
func agentSide(f *findings, c *drain.AgentCheck) {
	if c == nil {
		return
	}
	if c.Error == "" {
		said := fmt.Sprintf("answered a trial turn after %d ms with %d actions", c.MS, c.Actions)
		if c.Actions == 0 {
			f.add("agent", strange, said+": it says nothing", "is that meant? An answer without text or actions finishes a message in silence")
			return
		}
		f.add("agent", well, said, "")
		return
	}
	do := "the agent's own log says why: messages die after DORMOUSE_MAX_ATTEMPTS such answers"
	switch {
	case strings.Contains(c.Error, "401"), strings.Contains(c.Error, "403"):
		do = "it does not accept the signature: is the secret of DORMOUSE_AGENT_SECRET_ARN the one that it verifies with? Messages wait meanwhile"
	case c.Class == "away":
		do = "is it up, and is DORMOUSE_AGENT right? Messages wait for it, for DORMOUSE_GIVE_UP_AFTER at most"
	case c.Class == "refused":
		do = "it says that the turn is wrong: each message dies at once. Does it take what docs/agent describes?"
	}
	f.add("agent", bad, c.Class+": "+c.Error, do)
}
