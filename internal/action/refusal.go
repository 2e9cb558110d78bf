package action

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Class says what a refusal means for the action that was refused (design 6).
type Class string

const (
	Transient Class = "transient" // it may pass later: the same action again
	Unknown   Class = "unknown"   // it may have been applied: never again
	Declined  Class = "declined"  // nothing may be sent to that chat in its stead (section 11)
	Done      Class = "done"      // what it was to bring about is there already
	Permanent Class = "permanent" // it never passes
	Markup    Class = "markup"    // it never passes as it is, but perhaps as plain text
	Unclear   Class = "unclear"   // nobody knows: again for a while
	Cosmetic  Class = "cosmetic"  // a refused edit, react, typing or delete: not again, and nobody misses it
)

// Refusal is what a refusal means.
type Refusal struct {
	Class Class
	After time.Duration // the pause that the connector asks for; 0: none
}

// classes are the rules, in their order: the first that fits decides. text is the result's code and error, in lower case
// and with blanks for underscores.
var classes = []struct {
	class Class
	fits  func(op string, r relay.Result, text string) bool
}{
	{Unknown, func(_ string, r relay.Result, text string) bool {
		return r.Ambiguous || !told(r.Retryable, true) && has(text, ambiguousTexts) && !has(text, unreachedTexts)
	}},
	{Declined, func(_ string, r relay.Result, _ string) bool { return r.Declined() }},
	{Done, func(op string, _ relay.Result, text string) bool {
		return has(text, []string{"is not modified"}) || op == "delete" && has(text, []string{"not found"})
	}},
	{Transient, func(_ string, r relay.Result, text string) bool {
		return told(r.Retryable, true) || r.RetryAfter > 0 || has(text, transientTexts) || has(text, unreachedTexts) ||
			hasStatus(text) || pauseIn(text) > 0
	}},
	{Markup, func(_ string, _ relay.Result, text string) bool { return has(text, markupTexts) }},
	{Permanent, func(_ string, r relay.Result, text string) bool {
		return told(r.Retryable, false) || has(text, permanentTexts)
	}},
}

// The texts by which connectors and platforms are known to say what is wrong.
var (
	ambiguousTexts = []string{"timed out", "timeout", "timedout", "ack lost"} // "504 Gateway Timeout", too; a bare 504 is a 5xx
	unreachedTexts = []string{                                                // no connection was made in time, so nothing was sent
		"connect etimedout", "connect timeout", "connecttimeout", "connection attempt timed out", "timed out while connecting",
		"connect timed out", "dial tcp", "pool timeout", "handshake timeout", "handshake timed out", "getaddrinfo",
	}
	transientTexts = []string{
		"rate limit", "ratelimit", "too many requests", "flood", "slow down",
		"bad gateway", "unavailable", "internal server error", "temporarily", "try again", "overloaded",
		"connection", "not connected", "disconnected", "reconnecting", "restarting", "not ready", "econnre", "epipe",
		"broken pipe", "socket hang up", "network", "transport closed", "relay send failed",
		"not routed to this profile",
	}
	markupTexts = []string{
		"parse entities", "can't find end of", "unsupported start tag", "unclosed start tag", "invalid blocks",
		"parse mode", "markup", "markdown",
	}
	permanentTexts = []string{
		"unsupported op", "platform not fronted",
		"missing permission", "missing access", "missing scope", "not enough rights", "no rights", "administrator rights",
		"forbidden", "not allowed", "not authorized", "unauthorized", "restricted action",
		"bot was blocked", "bot was kicked", "not in channel", "is archived", "user is deactivated", "cannot send messages to",
	}
)

// ClassOf says what the connector's refusal of an action with that op means.
func ClassOf(op string, r relay.Result) Refusal {
	text := strings.ReplaceAll(strings.ToLower(r.Code+" "+r.Error), "_", " ")
	refusal := Refusal{Class: Unclear}
	for _, rule := range classes {
		if rule.fits(op, r, text) {
			refusal.Class = rule.class
			break
		}
	}
	if refusal.Class == Transient {
		if refusal.After = r.Pause(); refusal.After == 0 {
			refusal.After = pauseIn(text)
		}
	}
	return refusal
}

// told reports whether a connector has said so.
func told(what *bool, so bool) bool { return what != nil && *what == so }

func has(text string, any []string) bool {
	return slices.ContainsFunc(any, func(s string) bool { return strings.Contains(text, s) })
}

var (
	statuses = compiled(`(?:^|[^\w.,])(?:429|50[0-4]|52[0-4]|529|530)(?:$|[^\w.,]|[.,]\D|[.,]$)\s*(\pL*)`)
	pauses   = compiled(`(?:retry after|retry in|flood control|flood wait|wait)\W{0,3}(\d{1,9}(?:\.\d{1,9})?)`)
)

// compiled compiles an expression when it is first needed: few messages need one, and a cold start would pay for all.
func compiled(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// units are what a number counts that is no HTTP status.
var units = []string{"char", "byte", "unit", "kb", "mb", "message", "word", "line", "emoji", "item", "or"}

// hasStatus reports whether a text has 429, or the HTTP status of a server's fault.
func hasStatus(text string) bool {
	return slices.ContainsFunc(statuses().FindAllStringSubmatch(text, -1), func(found []string) bool {
		return !slices.ContainsFunc(units, func(unit string) bool { return strings.HasPrefix(found[1], unit) })
	})
}

// pauseIn is the pause that a text asks for, in seconds: "retry after 3", "flood_control:3".
func pauseIn(text string) time.Duration {
	found := pauses().FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	seconds, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		return 0
	}
	return relay.Result{RetryAfter: seconds}.Pause()
}
