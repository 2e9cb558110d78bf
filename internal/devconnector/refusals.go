package devconnector

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Refusing refuses the next Count actions that match Op and Chat (section 11, "Refusals"). A new one replaces the one with
// the same Op and Chat. If several match, the oldest refuses.
type Refusing struct {
	Class      string        // one of RefusalClasses; empty: refused, a text that nobody knows
	Op         string        // empty: any
	Chat       string        // empty: any
	After      int           // how many matching actions pass first
	Count      int           // negative: all; 0 ends it, and ends all if Op and Chat are empty
	RetryAfter time.Duration // the time to wait, for classes that name one; 0: a second
}

// class is one way in which real connectors refuse.
type class struct {
	name    string
	result  relay.Result // its RetryAfter, if any, is what Refusing says
	applied bool         // the action is carried out although it is refused
}

var yes, no = true, false

// classes are the refusals of sections 11 and 18 to 20. In a text, %v is the time to wait in seconds, and %s the op.
var classes = []class{
	{name: "refused", result: relay.Result{Error: "refused by the development connector", Code: "refused"}},
	// To be sent again.
	{name: "rate_limited", result: relay.Result{Error: "rate limited", Code: "rate_limited", Retryable: &yes, RetryAfter: 1}},
	{name: "rate_limited_only", result: relay.Result{Error: "slow down", Code: "rate_limited"}},
	{name: "too_many_requests", result: relay.Result{Error: "Too Many Requests: retry after %v"}},
	{name: "flood_control", result: relay.Result{Error: "flood_control:%v"}},
	{name: "connection_closed", result: relay.Result{Error: "Connection Closed"}},
	{name: "not_connected", result: relay.Result{Error: "whatsapp is not connected (state: connecting)"}},
	{name: "unavailable", result: relay.Result{Error: "503 Service Unavailable"}},
	{name: "server_error", result: relay.Result{Error: "discord: 502 Bad Gateway"}},
	{name: "retryable", result: relay.Result{Error: "the sender is restarting", Retryable: &yes}},
	{name: "unrouted", result: relay.Result{Error: "chat not routed to this profile"}},
	// Not to be sent again, because the chat may have it. Those with applied are carried out.
	{name: "timed_out", result: relay.Result{Error: "sendMessage timed out"}, applied: true},
	{name: "ack_lost", result: relay.Result{Error: "ack lost"}, applied: true},
	{name: "ambiguous", result: relay.Result{Error: "relay send failed: connection reset", Ambiguous: true}, applied: true},
	{name: "ambiguous_lost", result: relay.Result{Error: "relay transport connection lost", Ambiguous: true}},
	// Never to be carried out.
	{name: "declined", result: relay.Result{
		Error: "discord egress declined: target not routed to an onboarded tenant", Code: "egress_declined",
	}},
	{name: "declined_text", result: relay.Result{Error: "Egress Declined: not yours"}},
	{name: "markup", result: relay.Result{Error: "Bad Request: can't parse entities: unexpected end at byte offset 7"}},
	{name: "unsupported", result: relay.Result{Error: "unsupported op: %s"}},
	{name: "permanent", result: relay.Result{Error: "Forbidden: bot was blocked by the user", Retryable: &no}},
	{name: "not_found", result: relay.Result{Error: "message to edit not found"}},
	// There is nothing to do: it is there.
	{name: "not_modified", result: relay.Result{Error: "Bad Request: message is not modified"}, applied: true},
}

// RefusalClasses lists the ways in which actions can be refused.
func RefusalClasses() []string {
	names := make([]string, len(classes))
	for n, c := range classes {
		names[n] = c.name
	}
	return names
}

// RefuseAs refuses actions. An unknown class's error lists the known ones.
func (c *Connector) RefuseAs(r Refusing) error {
	r.Class = cmp.Or(r.Class, "refused")
	if !slices.Contains(RefusalClasses(), r.Class) {
		return fmt.Errorf("devconnector: refuse: no class %q: take one of %s", r.Class, strings.Join(RefusalClasses(), ", "))
	}
	c.set("refuse", func(f *faults) {
		f.refuse = slices.DeleteFunc(f.refuse, func(other *Refusing) bool {
			return other.Op == r.Op && other.Chat == r.Chat || r.Count == 0 && r.Op == "" && r.Chat == ""
		})
		if r.Count != 0 {
			f.refuse = append(f.refuse, &r)
		}
	})
	return nil
}

// Refuse refuses the next n actions of an op with a text that no gateway knows. "" is any op. Negative: all; 0 ends it.
func (c *Connector) Refuse(op string, n int) { _ = c.RefuseAs(Refusing{Op: op, Count: n}) }

// takeRefusal says whether a Refusing refuses an action, with which result, and whether the action is carried out anyway.
func (f *faults) takeRefusal(op, chat string) (answer relay.Result, applied, refused bool) {
	for _, r := range f.refuse {
		if r.Count == 0 || r.Op != "" && r.Op != op || r.Chat != "" && r.Chat != chat {
			continue
		}
		if r.After > 0 {
			r.After--
			continue
		}
		if r.Count > 0 {
			r.Count--
		}
		answer, applied = r.answer(op)
		return answer, applied, true
	}
	return relay.Result{}, false, false
}

func (r *Refusing) answer(op string) (answer relay.Result, applied bool) {
	c := classes[slices.Index(RefusalClasses(), r.Class)]
	answer = c.result
	wait := cmp.Or(r.RetryAfter, time.Second).Seconds()
	if answer.RetryAfter > 0 {
		answer.RetryAfter = wait
	}
	answer.Error = strings.NewReplacer("%v", fmt.Sprint(wait), "%s", op).Replace(answer.Error)
	return answer, c.applied
}
