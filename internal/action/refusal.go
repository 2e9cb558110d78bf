package action

import (
	"strings"
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

// classes are the rules, in their order: the first that fits decides. text is the result's code and error as plain has them.
var classes = []struct {
	class Class
	fits  func(op string, r relay.Result, text string) bool
}{
	{Unknown, func(_ string, r relay.Result, text string) bool {
		return r.Ambiguous || !told(r.Retryable, true) && !r.Declined() && mayHaveArrived(text)
	}},
	{Declined, func(_ string, r relay.Result, _ string) bool { return r.Declined() }},
	{Done, func(op string, _ relay.Result, text string) bool {
		return has(text, doneTexts) || has(text, doneTextsOf[op])
	}},
	{Transient, func(op string, r relay.Result, text string) bool {
		return told(r.Retryable, true) || r.RetryAfter > 0 || pauseIn(text) > 0 || !has(text, parserTexts) && mayPass(op, text)
	}},
	{Markup, func(_ string, _ relay.Result, text string) bool {
		return has(text, parserTexts) || has(text, markupTexts)
	}},
	{Permanent, func(_ string, r relay.Result, text string) bool {
		return told(r.Retryable, false) || has(text, permanentTexts)
	}},
}

// mayHaveArrived reports whether a text speaks of something that was sent, and of which nobody knows what became of it.
func mayHaveArrived(text string) bool {
	text = strings.ReplaceAll(text, "timeout s ", "") // a member of a prompt
	return has(text, ambiguousTexts) && !has(text, unreachedTexts) && !has(text, parserTexts)
}

// mayPass reports whether a text speaks of a hindrance that passes.
func mayPass(op, text string) bool {
	return has(text, transientTexts) || has(text, unreachedTexts) || hasStatus(text) ||
		op != "send_media" && has(text, fetchTexts)
}

// ClassOf says what the connector's refusal of an action with that op means.
func ClassOf(op string, r relay.Result) Refusal {
	text := plain(r.Code + " " + r.Error)
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
