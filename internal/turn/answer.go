package turn

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// answer is what has been kept of an agent's answer: actions as the journal has them, and for each its outcome, "" while
// none is known.
type answer struct {
	actions  []json.RawMessage
	outcomes []string
	streamed bool // the end has not been seen: actions are those so far

	shows map[shownPart]string // what this process has seen messages get
}

// complete says whether nothing is to come, so that the agent is not asked again.
func (a *answer) complete() bool { return a.actions != nil && !a.streamed }

// settled says whether every action has an outcome.
func (a *answer) settled() bool { return !slices.Contains(a.outcomes, "") }

// extend adds an action of a stream and returns its number.
func (a *answer) extend(raw json.RawMessage) int {
	a.actions, a.outcomes, a.streamed = append(a.actions, raw), append(a.outcomes, ""), true
	return len(a.actions) - 1
}

// messageID is the id that the connector has told for the message of a kept action, "" if there is none.
func (a *answer) messageID(i int) string {
	if i < 0 || i >= len(a.outcomes) {
		return ""
	}
	_, id, _ := strings.Cut(a.outcomes[i], outcomeOK+":")
	return id
}

// threadID is the id of the thread that an action is for, which an action of its answer has created; "" if it has not.
func (a *answer) threadID(o action.Outgoing) string {
	for i, raw := range slices.Backward(a.actions) {
		var before action.Outgoing
		if json.Unmarshal(raw, &before) == nil && before.Op() == "thread_create" && before.InThread == o.InThread {
			return a.messageID(i)
		}
	}
	return ""
}

// board has the messages that the kept actions have put into the chats. What they show is not known: a stream's edits are
// not kept.
func (a *answer) board() *action.Board {
	b := &action.Board{ID: a.messageID}
	for i, raw := range a.actions {
		var o action.Outgoing
		if json.Unmarshal(raw, &o) == nil && inChat(a.outcomes[i]) {
			b.Note(o, i)
		}
	}
	b.Forget()
	return b
}

// inChat says whether an action with that outcome has reached its chat, or may have.
func inChat(outcome string) bool {
	switch outcome {
	case outcomeRefused, outcomeDeclined, outcomeSkipped:
		return false
	}
	return true
}

// isRefused says whether the message that an edit is for is a kept action that the connector has refused for good.
func (a *answer) isRefused(edit action.Outgoing) bool {
	number, ok := edit.OfAction()
	return ok && number < len(a.outcomes) && (a.outcomes[number] == outcomeRefused || a.outcomes[number] == outcomeDeclined)
}

// target names the part of a message that a kept edit or delete is for, "" if it is not known.
func target(o action.Outgoing) string {
	if id, ok := o.Action["message_id"].(string); ok {
		return "=" + id
	}
	return o.Of
}

// shownPart is a part of a message, as target names it, in its chat.
type shownPart struct {
	chat chatName
	part string
}

// idle says whether an edit would leave its message as it is.
func (a *answer) idle(o action.Outgoing) bool {
	text, known := a.shows[shownPart{named(o), target(o)}]
	return known && o.Op() == "edit" && text == o.Action["content"]
}

// show notes what has become of the kept action number i, whose outcome is known.
func (a *answer) show(i int, o action.Outgoing) {
	part := target(o)
	if o.Op() == "send" {
		part = fmt.Sprint("#", i)
	}
	a.shown(part, o, a.outcomes[i])
}

// shown notes what has become of a send or an edit: a part of a message has its text, or may have.
func (a *answer) shown(part string, o action.Outgoing, outcome string) {
	if o.Op() != "send" && o.Op() != "edit" || part == "" {
		return
	}
	where := shownPart{named(o), part}
	switch content, _ := o.Action["content"].(string); {
	case outcome == outcomeUnknown:
		delete(a.shows, where)
	case outcome == outcomeOK, strings.HasPrefix(outcome, outcomeOK+":"):
		if a.shows == nil {
			a.shows = map[shownPart]string{}
		}
		a.shows[where] = content
	}
}

// unsent finds the kept action that has not been sent and in whose place an edit may be put: what the edit is for, or the
// last action, if that is an edit of the same message. It is -1 if there is none.
func (a *answer) unsent(edit action.Outgoing) int {
	if number, ok := edit.OfAction(); ok && number < len(a.outcomes) && a.outcomes[number] == "" {
		return number
	}
	last := len(a.actions) - 1
	var before action.Outgoing
	if last < 0 || a.outcomes[last] != "" || json.Unmarshal(a.actions[last], &before) != nil {
		return -1
	}
	if part := target(edit); part != "" && before.Op() == "edit" && target(before) == part && before.Chat() == edit.Chat() {
		return last
	}
	return -1
}

// lost says whether the kept action number i is the last edit of its message, and could not be made. If the connector has
// refused the message itself, the answer is kept as it is: whoever puts it back has both sent.
func (a *answer) lost(i int, o action.Outgoing) bool {
	if o.Op() != "edit" || inChat(a.outcomes[i]) || a.outcomes[i] == outcomeDeclined || a.onlyCounts(o) {
		return false
	}
	if target(o) == "" && a.board().Has(o) {
		return false // of a message that there is not, beside others
	}
	if number, ok := o.OfAction(); ok && number < len(a.outcomes) && !inChat(a.outcomes[number]) {
		return false
	}
	return !a.followed(i, o)
}

// onlyCounts says whether an edit would change nothing but a part's counter: its words are there.
func (a *answer) onlyCounts(o action.Outgoing) bool {
	text, known := a.shows[shownPart{named(o), target(o)}]
	if number, ok := o.OfAction(); ok && !known && number < len(a.actions) {
		var sent action.Outgoing
		if json.Unmarshal(a.actions[number], &sent) == nil {
			text, _ = sent.Action["content"].(string)
		}
	}
	content, _ := o.Action["content"].(string)
	return action.SameButCounter(text, content)
}

// followed says whether the message of the kept edit number i is edited again, or deleted.
func (a *answer) followed(i int, o action.Outgoing) bool {
	return slices.ContainsFunc(a.actions[i+1:], func(raw json.RawMessage) bool {
		var later action.Outgoing
		if json.Unmarshal(raw, &later) != nil || later.Op() != "edit" && later.Op() != "delete" {
			return false
		}
		return target(later) == target(o) && named(later) == named(o)
	})
}

// sent is what earlier attempts have sent, or may have. Of a message in parts it has the first.
func (a *answer) sent() (list []agent.Sent) {
	for i, raw := range a.actions {
		var o action.Outgoing
		json.Unmarshal(raw, &o) // an action that cannot be read has no op
		if a.outcomes[i] == outcomeSkipped || o.Op() == "send" && o.Of != "" {
			continue
		}
		r := resultOf(o, a.outcomes[i])
		if r.Op == "draft" {
			r.Op = "send" // the agent has said that
		}
		list = append(list, agent.Sent{Op: r.Op, MessageID: cmp.Or(r.MessageID, r.ThreadID), Outcome: cmp.Or(r.Outcome, outcomeUnknown), Class: r.Class})
	}
	return list
}

// replied says whether something of it is in the chat, or may be.
func (a *answer) replied() bool { return slices.ContainsFunc(a.outcomes, inChat) }

// refused is the first action that an earlier run has found refused for good; nil if there is none. words say why.
func (a *answer) refused(words string) *refusedError {
	for i, raw := range a.actions {
		var o action.Outgoing
		declined := a.outcomes[i] == outcomeDeclined
		if !declined && a.outcomes[i] != outcomeRefused || json.Unmarshal(raw, &o) != nil {
			continue
		}
		if declined && hasWords(o) || !o.Repeatable() && o.Op() != "send_media" { // the version before has sent a text in a file's place
			return &refusedError{op: o.Op(), words: cmp.Or(words, "in an earlier run"), chat: declined}
		}
	}
	return nil
}

// inChats is what the outcomes so far say of the chats.
func (a *answer) inChats() (s chatState) {
	for i, raw := range a.actions {
		var o action.Outgoing
		if json.Unmarshal(raw, &o) == nil && a.outcomes[i] != "" {
			s.note(o, a.outcomes[i])
		}
	}
	return s
}

// Outcomes of actions, as the journal keeps them. An ok may be followed by a colon and the message's id.
const (
	outcomeOK       = "ok"
	outcomeUnknown  = "unknown"
	outcomeRefused  = "refused"
	outcomeDeclined = "declined" // nothing may be sent there in its stead (section 11)
	outcomeSkipped  = "skipped"
)

// chatState is what later actions of a turn must know of the chats that earlier ones went to.
type chatState struct {
	newest   map[chatName]string // the newest message that this turn has put into a chat
	declined map[chatName]bool   // chats that the connector refuses
}

// named is the chat of an action. Those of the turn's platform have none.
func named(o action.Outgoing) chatName { return chatName{o.Platform, o.Chat()} }

// note adds the outcome of an action.
func (s *chatState) note(o action.Outgoing, outcome string) {
	chat := named(o)
	if outcome == outcomeDeclined {
		if s.declined == nil {
			s.declined = map[chatName]bool{}
		}
		s.declined[chat] = true
	}
	switch _, id, ok := strings.Cut(outcome, outcomeOK+":"); {
	case o.Op() == "delete" && inChat(outcome):
		if named := o.Action["message_id"]; named == nil || named == s.newest[chat] {
			delete(s.newest, chat)
		}
	case !ok:
	case o.Op() == "send", o.Op() == "send_media", o.Op() == "prompt", o.Op() == "draft":
		if s.newest == nil {
			s.newest = map[chatName]string{}
		}
		s.newest[chat] = id
	}
}

// outcomesOf are as many outcomes as an entry has actions, whatever it has.
func outcomesOf(e ledger.Entry) []string {
	if len(e.Done) == len(e.Actions) {
		return e.Done
	}
	outcomes := make([]string, len(e.Actions))
	copy(outcomes, e.Done)
	return outcomes
}
