package main

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// checkChats works out what each chat shows in the end: texts, with their edits in place.
func (r *run) checkChats(state devconnector.State, verdicts map[string]*verdict) {
	type shown struct {
		v    *verdict
		part string
	}
	texts := map[string]shown{} // by the platform's message id
	for place, out := range state.Outbounds {
		m := r.requests[out.RequestID]
		if m == nil && out.Op == "edit" { // one of a stream: what it changes says whose it is
			changed, _ := out.Action["message_id"].(string)
			if was, ok := texts[changed]; ok {
				m = was.v.message
			}
		}
		if m == nil || out.Op == "typing" {
			continue
		}
		v := verdicts[m.id()]
		if !v.declined.IsZero() && !r.history.takenOver(v.declined, out.At) {
			r.fault("%s: %s sent to a chat that had declined", m, out.Op)
		}
		if !out.Result.Success {
			v.note(out)
		}
		if !out.Applied {
			continue
		}
		part, ok := r.led(m).says(out.Content)
		if ok {
			for _, other := range r.others(m) {
				verdicts[other.id()].answeredAt(place)
			}
		} else if part, ok = m.says(out.Content); !ok {
			r.fault("%s: answered with %q", m, out.Content)
			continue
		}
		v.answeredAt(place)
		delete(v.unknown, out.RequestID) // nobody answered it, but it is there
		texts[out.MessageID] = shown{v, part}
	}
	for _, text := range texts {
		text.v.shown[text.part]++
	}
}

// answeredAt notes that something of an answer to the message stands at a place.
func (v *verdict) answeredAt(place int) {
	if v.first < 0 {
		v.first = place
	}
}

// others are the messages that were one turn with one that led them.
func (r *run) others(m *message) (list []*message) {
	for _, key := range r.history.sets[m.key] {
		for _, other := range r.sent {
			if other.key == key {
				list = append(list, other)
			}
		}
	}
	return list
}

// led is a message as the one that led others, if it did.
func (r *run) led(m *message) *message { return m.together(r.others(m)) }

// note is for an action that was refused.
func (v *verdict) note(out devconnector.Outbound) {
	switch {
	case out.Applied, out.Result.Ambiguous, !out.Answered:
		if out.Op == "edit" {
			v.edits = true
		} else {
			v.unknown[out.RequestID], v.doubted = true, true
		}
	case out.Result.Declined() && out.Op == "edit":
		v.edits, v.refused = true, true // design 6: its text is not sent otherwise; no run after this one knows of it
	case out.Result.Declined():
		v.declined, v.refused = out.At, true
	case out.Op == "edit": // its text goes out as a message
	default:
		v.refused = true
	}
}

// checkEnds demands one of three ends of each message: it is answered, it is dead, it waits.
func (r *run) checkEnds(verdicts map[string]*verdict, left rest) {
	for _, m := range r.sent {
		r.seen["messages"]++
		v := verdicts[m.id()]
		end, isDead, isWaiting := left.endOf(m)
		journalled := !r.history.journalled[m.key].IsZero()
		r.checkDoubles(v)
		r.checkOnce(v, verdicts)
		if _, open := left.open[m.key]; open && m.kind == late && !r.history.finished[m.key+lateSuffix].IsZero() {
			r.fault("%s: answered late, and not finished", m)
		}
		switch {
		case m.calm && m.kind != hopeless && (isDead || isWaiting):
			r.fault("%s: neither answered nor calm: dead %t: %s", m, isDead, end.reason)
		case isDead:
			r.checkDead(v, verdicts, end)
		case isWaiting:
			r.seen["messages that wait"]++
			r.checkReason(v, end.reason, end.due.IsZero())
		case m.bufferID == "" && !journalled && !r.whole(v, verdicts): // nobody else has it
			r.seen["live messages lost with a socket"]++
		case m.kind == hopeless:
			r.fault("%s: refused by the agent, and not dead; buffered %t, journalled %t", m, m.bufferID != "", journalled)
		default:
			r.checkAnswered(v, verdicts)
		}
	}
}

// answer is an answer that a message may have: its own, or that of several messages that were one turn.
type answer struct {
	*message
	of *verdict // of the message that led
}

// answersTo are those to a message, its own first. The agent answers nothing to messages of which it refuses one.
func (r *run) answersTo(v *verdict, verdicts map[string]*verdict) []answer {
	list := []answer{{v.message, v}}
	for _, leader := range verdicts {
		members := r.history.sets[leader.key]
		mine := leader == v && len(members) > 0 || slices.Contains(members, v.key)
		if mine && !slices.ContainsFunc(append(r.others(leader.message), leader.message), (*message).isHopeless) {
			list = append(list, answer{r.led(leader.message), leader})
		}
	}
	return list
}

// missing is how many of its texts the chat does not show, and the first of them.
func (a answer) missing() (n int, first string) {
	for _, part := range a.wants() {
		if a.of.shown[part] == 0 {
			if n == 0 {
				first = part
			}
			n++
		}
	}
	return n, first
}

// isThere reports whether the chat shows it, but for actions of unknown outcome.
func (a answer) isThere() bool {
	n, _ := a.missing()
	return n <= len(a.of.unknown) || a.of.edits && (a.kind == growing || a.kind == amended)
}

// whole reports whether the chat shows a whole answer to a message.
func (r *run) whole(v *verdict, verdicts map[string]*verdict) bool {
	return v.first >= 0 && slices.ContainsFunc(r.answersTo(v, verdicts), func(a answer) bool {
		n, _ := a.missing()
		return n == 0
	})
}

// checkAnswered demands a whole answer. An action of unknown outcome excuses itself.
func (r *run) checkAnswered(v *verdict, verdicts map[string]*verdict) {
	answers := r.answersTo(v, verdicts)
	i := slices.IndexFunc(answers, answer.isThere)
	if i < 0 {
		_, part := answers[len(answers)-1].missing()
		r.fault("%s: %q did not come; buffered %t, journalled %t, finished %t, refused %t, unknown %d", v, part, v.bufferID != "",
			!r.history.journalled[v.key].IsZero(), !r.history.finished[v.key].IsZero(), v.refused, len(v.unknown))
		return
	}
	n, _ := answers[i].missing()
	r.seen["actions of unknown outcome that did not come"] += n
	r.seen["messages answered"]++
	switch v.kind {
	case late:
		r.seen["messages answered late"]++
	case spoken:
		r.seen["things said"]++
	}
	if i > 0 {
		r.seen["messages answered with others"]++
	}
}

// checkOnce demands that what was answered with others is not answered alone, too. A stream that ran again may repeat itself.
func (r *run) checkOnce(v *verdict, verdicts map[string]*verdict) {
	for _, a := range r.answersTo(v, verdicts)[1:] {
		if n, _ := a.missing(); n > 0 || a.kind.streamed() {
			continue
		}
		for _, part := range v.wants() {
			if v.shown[part] > 0 {
				r.fault("%s: answered with others, and alone with %q", v, part)
			}
		}
	}
}

// checkDoubles demands that the chat shows each part once. That an action came twice under its request id is looked at
// elsewhere; a stream that ran again repeats under another one what it did not know to have arrived.
func (r *run) checkDoubles(v *verdict) {
	for part, times := range v.shown {
		if times == 1 {
			continue
		}
		r.seen["texts that a chat shows twice"]++
		whole := v.calm || v.kind.streamed() && !v.doubted
		if whole && !r.history.takenOver(r.history.journalled[v.key], time.Now()) { // calm or not, a machine may be too slow for a lease
			r.fault("%s: %q came %d times", v, part, times)
		}
	}
}

// checkDead demands a reason, and one that the run has given.
func (r *run) checkDead(v *verdict, verdicts map[string]*verdict, e entry) {
	r.seen["messages dead"]++
	r.checkReason(v, e.reason, false)
	causes := r.failures[v.key] + len(r.history.takeovers) + len(r.stops)
	refused := slices.ContainsFunc(r.answersTo(v, verdicts), func(a answer) bool { return a.of.refused })
	if v.kind != hopeless && !refused && causes < maxAttempts {
		r.fault("%s: dead without a cause after %d attempts: %s", v, e.attempts, e.reason)
	}
}

// checkReason demands that what has not been answered says why. Behind another message it need not.
func (r *run) checkReason(v *verdict, reason string, behind bool) {
	if reason == "" && !behind {
		r.fault("%s: not answered, and no reason is kept", v)
	}
}

// checkOrder demands that in each session the answers stand in the order of the messages. A live message that the table would not
// take is answered at once, even ahead of one that waits for the next run: no loss over order (design 6).
func (r *run) checkOrder(verdicts map[string]*verdict, left rest) {
	unkept := r.logged(logs.LiveUnkept)
	last := map[int]*verdict{} // of each session
	for _, m := range r.sent {
		v := verdicts[m.id()]
		_, dead := left.dead[m.key]
		if m.kind == spoken { // in order among themselves, as they came to the table; not with the answers
			continue
		}
		if v.first < 0 || dead || left.waits(m.key) || unkept[m.key] {
			continue
		}
		if before := last[m.session]; before != nil && v.first < before.first {
			r.fault("%s is answered before %s", m, before)
		}
		last[m.session] = v
	}
}

// checkTold demands that the chats of dead messages were told, or wait to be, unless they had refused.
func (r *run) checkTold(state devconnector.State, left rest) {
	told := map[int]bool{}
	for _, out := range state.Outbounds {
		m := r.apologies[out.RequestID]
		if m == nil {
			continue
		}
		if final(out) {
			told[m.session] = true
		}
		if out.Content != apology {
			r.fault("%s: its chat is told %q", m, out.Content)
		}
	}
	r.apologiesLeft(left, told)
	r.untold(told)
	for _, m := range r.sent {
		e, dead := left.dead[m.key]
		if dead && m.kind != spoken && !told[m.session] && !strings.Contains(e.reason, "an action of the answer") {
			r.fault("%s: dead, and its chat was told nothing", m)
		}
	}
}

// untold adds the sessions whose chats could not be told, as the log says: an apology was refused for good, or for too long,
// or its outcome is unknown.
func (r *run) untold(told map[int]bool) {
	for _, line := range r.log {
		var entry struct{ Delivery string }
		excused := strings.Contains(line, logs.ChatNotTold) || strings.Contains(line, logs.OutcomeUnknown)
		if excused && json.Unmarshal([]byte(line), &entry) == nil && strings.HasSuffix(entry.Delivery, apologySuffix) {
			told[r.sessionOf(entry.Delivery)] = true
		}
	}
}

// apologiesLeft adds the sessions whose chats will be told.
func (r *run) apologiesLeft(left rest, told map[int]bool) {
	for key := range left.open {
		if strings.HasSuffix(key, apologySuffix) {
			told[r.sessionOf(key)] = true
			r.seen["apologies that wait"]++
		}
	}
	for key := range left.dead {
		if strings.HasSuffix(key, apologySuffix) {
			r.fault("%s: an apology is dead", key)
		}
	}
}
