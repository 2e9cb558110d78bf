package main

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// mostActions is more than one message's answer has, each attempt of a stream counted.
const mostActions = 100

// inFlight is how long something may have been on its way when its end was noted elsewhere.
const inFlight = 100 * time.Millisecond

// verdict is what is known of one message at the end of a run.
type verdict struct {
	*message
	shown    map[string]int  // parts of the answer that the chat shows, and how often
	first    int             // place of the first that was shown among all actions; -1: none
	unknown  map[string]bool // actions of unknown outcome that no chat has got, by request id
	doubted  bool            // an action's outcome was unknown, whether a chat has got it or not
	edits    bool            // an edit's outcome is unknown
	refused  bool            // an action was refused in a way that ends the message, or may
	declined time.Time       // when the chat was declined; zero: never
}

func newVerdict(m *message) *verdict {
	return &verdict{message: m, shown: map[string]int{}, first: -1, unknown: map[string]bool{}}
}

// check looks at what reached the chats, and at what the table holds.
func (r *run) check(state devconnector.State, left rest) {
	if left.err != nil {
		r.fault("%v", left.err)
		return
	}
	verdicts := map[string]*verdict{}
	for _, m := range r.sent {
		verdicts[m.id()] = newVerdict(m)
	}
	lost := r.unknown(verdicts)
	r.checkRequests(state, lost)
	r.checkChats(state, verdicts)
	r.checkEnds(verdicts, left)
	r.checkOrder(verdicts, left)
	r.checkTold(state, left)
	r.checkAcks(state)
	for _, breach := range state.Breaches {
		r.fault("breach of the contract: %s", breach)
	}
	for _, line := range r.log {
		if strings.Contains(line, `"status":"handed_off"`) {
			r.seen["drains that ran out of time and handed over"]++
		}
	}
	r.seen["sockets"] += len(state.Sockets)
	r.scan()
}

// unknown finds the actions that left and were not answered, as the log says: when, by request id. A process whose lease another
// one has taken meanwhile cannot tell anybody.
func (r *run) unknown(verdicts map[string]*verdict) map[string]time.Time {
	lost, byKey := map[string]time.Time{}, map[string]*verdict{}
	for _, v := range verdicts {
		byKey[v.key] = v
	}
	leases := map[int64]time.Time{} // by epoch, since when
	for _, line := range r.log {
		var entry struct {
			At                             time.Time `json:"timestamp"`
			Message, Delivery, Request, Op string
			Epoch                          int64
		}
		lease := strings.Contains(line, `"`+logs.Lease+`"`)
		if !lease && !strings.Contains(line, logs.OutcomeUnknown) || json.Unmarshal([]byte(line), &entry) != nil {
			continue
		}
		if lease && entry.Message == logs.Lease {
			leases[entry.Epoch] = entry.At
			continue
		}
		v := byKey[strings.TrimSuffix(entry.Delivery, lateSuffix)] // a late answer is one of its message's
		switch {
		case v == nil, entry.Op == "typing", entry.Op == "react":
		case entry.Op == "edit":
			v.edits = true
		default:
			v.unknown[entry.Request], v.doubted = true, true
		}
		held := leases[entry.Epoch]
		if entry.Request != "" && lost[entry.Request].IsZero() && (held.IsZero() || !r.history.takenOver(held, entry.At)) {
			lost[entry.Request] = entry.At
		}
	}
	return lost
}

// logged are the deliveries, by key, of which the log says something.
func (r *run) logged(what string) map[string]bool {
	keys := map[string]bool{}
	for _, line := range r.log {
		var entry struct{ Delivery string }
		if strings.Contains(line, what) && json.Unmarshal([]byte(line), &entry) == nil {
			keys[entry.Delivery] = true
		}
	}
	return keys
}

// final reports whether an answer to an action settles it: it may never be sent again. A refusal that may pass does not.
func final(out devconnector.Outbound) bool {
	if out.Result.Success || out.Applied || !out.Answered || out.Result.Ambiguous {
		return true
	}
	return ends(out)
}

// ends reports whether a refusal is for good.
func ends(out devconnector.Outbound) bool {
	text := strings.ToLower(out.Result.Error)
	for _, words := range []string{"egress declined", "unsupported op", "blocked by", "is not modified"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// checkRequests follows each action by its request id. lost are those whose outcome a process has taken for unknown.
func (r *run) checkRequests(state devconnector.State, lost map[string]time.Time) {
	unwritten := r.logged(logs.Unwritten) // of which a process knew an outcome that the table did not take until its end
	r.seen["messages with an outcome that the table never took"] += len(unwritten)
	before := map[string]devconnector.Outbound{}
	type frame struct {
		request string
		socket  int
	}
	came := map[frame]bool{}
	for _, out := range state.Outbounds {
		m, key := r.whose(out)
		switch {
		case out.Op == "typing", out.Op == "edit":
			continue // harmless to repeat
		case out.Op == "react":
			r.checkMark(out)
			continue
		case m == nil:
			r.fault("a %s of an unknown request, an answer to what nobody wrote: %s", out.Op, out.Content)
			continue
		}
		r.seen["actions"]++
		// What nobody saw arrive may have been on its way since its socket was opened, which loses nothing in its midst.
		since, lostAt, f := out.At.Add(-inFlight), lost[out.RequestID], frame{out.RequestID, out.Socket}
		if opened := state.Sockets[out.Socket-1].At; !lostAt.IsZero() && !came[f] && opened.Before(since) {
			since = opened
		}
		came[f] = true
		if !unwritten[key] {
			r.checkLost(m, out, since, lostAt)
		}
		r.checkWritten(m, key, out, since)
		if first, ok := before[out.RequestID]; ok && final(first) && (out.Op == first.Op || first.Applied) {
			if !r.history.takenOver(first.At.Add(-inFlight), out.At) && !unwritten[key] {
				r.fault("%s: %s sent once more %s after %q, and its process lived on: %d, then %d", m, out.Op,
					out.At.Sub(first.At), first.Result.Error, r.processOf(state, first), r.processOf(state, out))
			}
			r.seen["actions that came twice, unwritten when their process ended"]++
		}
		before[out.RequestID] = out
	}
}

// checkMark demands that a mark is on a message that somebody wrote. Marks are harmless to repeat, and a death leaves one.
func (r *run) checkMark(out devconnector.Outbound) {
	if id, _ := out.Action["message_id"].(string); r.byID[id] == nil {
		r.fault("a mark %v on a message that nobody wrote: %q", out.Action["emoji"], id)
	}
	r.seen["marks"]++
}

// whose is the message that an action is for, and the key of its entry, which may be that of its apology.
func (r *run) whose(out devconnector.Outbound) (m *message, key string) {
	if m = r.late[out.RequestID]; m != nil {
		return m, m.key + lateSuffix
	}
	if m = r.requests[out.RequestID]; m != nil {
		return m, m.key
	}
	if m = r.apologies[out.RequestID]; m != nil {
		return m, m.key + apologySuffix
	}
	return nil, ""
}

// checkWritten demands that an action that left after since does not come after its outcome was written.
func (r *run) checkWritten(m *message, key string, out devconnector.Outbound, since time.Time) {
	h := &r.history
	for what, at := range map[string]time.Time{
		"its outcome was written": h.confirmed[out.RequestID], "the message was finished": h.finished[key],
	} {
		if !at.IsZero() && since.After(at) {
			r.fault("%s: %s sent %s after %s", m, out.Op, out.At.Sub(at), what)
		}
	}
}

// checkLost demands that an action that left after since does not come again after a process has taken its outcome, at lost,
// for unknown. If that process could not write it down, its successor does not know.
func (r *run) checkLost(m *message, out devconnector.Outbound, since, lost time.Time) {
	h := &r.history
	if !lost.IsZero() && since.After(lost) && !h.takenOver(lost, out.At) {
		r.fault("%s: %s sent once more %s after its outcome was taken for unknown", m, out.Op, out.At.Sub(lost))
	}
}

// processOf is the process that sent an action.
func (r *run) processOf(state devconnector.State, out devconnector.Outbound) int {
	return r.wire.process(state.Sockets[out.Socket-1].Remote)
}

// checkAcks demands that what was acked is in the journal, or was answered without it.
func (r *run) checkAcks(state devconnector.State) {
	acked := map[string]time.Time{}
	for _, ack := range state.Acks {
		acked[ack.BufferID] = ack.At
	}
	for _, m := range r.sent {
		at, ok := acked[m.bufferID]
		if journalled := r.history.journalled[m.key]; ok && (journalled.IsZero() || journalled.After(at)) {
			r.fault("%s: acked before it was in the journal", m)
		}
	}
}
