package turn

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
)

// answer is what has been kept of an agent's answer: actions as the journal has them, and for each its outcome, "" while
// none is known.
type answer struct {
	actions  []json.RawMessage
	outcomes []string
	streamed bool // the end has not been seen: actions are those so far
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

// sent is what earlier attempts have put into the chat, or may have.
func (a *answer) sent() (list []agent.Sent) {
	for i, raw := range a.actions {
		switch a.outcomes[i] {
		case outcomeRefused, outcomeDeclined, outcomeSkipped:
			continue
		}
		var o action.Outgoing
		json.Unmarshal(raw, &o) // an action that cannot be read has no op
		_, id, _ := strings.Cut(a.outcomes[i], ":")
		list = append(list, agent.Sent{Op: o.Op(), MessageID: id})
	}
	return list
}

// refused is the first action that an earlier run has found refused for good; nil if there is none. words say why.
func (a *answer) refused(words string) *refusedError {
	for i, raw := range a.actions {
		var o action.Outgoing
		if outcome := a.outcomes[i]; outcome != outcomeRefused && outcome != outcomeDeclined || json.Unmarshal(raw, &o) != nil {
			continue
		}
		if !o.Repeatable() && o.Op() != "send_media" { // the version before has sent a text in a file's place
			return &refusedError{op: o.Op(), words: cmp.Or(words, "in an earlier run"), chat: a.outcomes[i] == outcomeDeclined}
		}
	}
	return nil
}

// inChats is what the outcomes so far say of the chats.
func (a *answer) inChats() (s chatState) {
	for i, raw := range a.actions {
		var o action.Outgoing
		if json.Unmarshal(raw, &o) == nil && a.outcomes[i] != "" {
			s.note(o.Op(), o.Chat(), a.outcomes[i])
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
	newest   map[string]string // the newest message that this turn has put into a chat
	declined map[string]bool   // chats that the connector refuses
}

// note adds the outcome of an action in a chat.
func (s *chatState) note(op, chat, outcome string) {
	if outcome == outcomeDeclined {
		if s.declined == nil {
			s.declined = map[string]bool{}
		}
		s.declined[chat] = true
	}
	switch _, id, ok := strings.Cut(outcome, outcomeOK+":"); {
	case !ok:
	case op == "send", op == "send_media", op == "prompt":
		if s.newest == nil {
			s.newest = map[string]string{}
		}
		s.newest[chat] = id
	}
}
