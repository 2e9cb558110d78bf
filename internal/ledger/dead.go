package ledger

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Reached reports whether an action with this outcome is in its chat, or may be: then it is not sent again.
func Reached(outcome string) bool {
	return outcome == "unknown" || outcome == "ok" || strings.HasPrefix(outcome, "ok:")
}

// Nothing is an action that is not sent, also not if its entry is put back: others keep their numbers.
var Nothing = json.RawMessage(`{}`)

// PutBack returns a dead entry as RetryDead leaves it. Its kept answer will be sent, but for what has Reached its chat. With
// ask the answer is dropped, and the agent is asked again; if a part of it has Reached the chat, the entry is Open, so that
// the agent is told of that part. An entry that is Open stays as it is: the agent is asked again in any case. A
// draft that was open is over.
func (e Entry) PutBack(ask bool) Entry {
	e.State, e.Attempts, e.Error, e.Died, e.Draft = New, 0, "", time.Time{}, 0
	switch {
	case e.Open || e.Actions == nil:
		return e
	case ask && !slices.ContainsFunc(e.Done, Reached):
		e.Actions, e.Done = nil, nil
		return e
	}
	e.Actions, e.Done, e.Open = slices.Clone(e.Actions), slices.Clone(e.Done), ask
	for i, outcome := range e.Done {
		switch {
		case Reached(outcome):
		case ask: // the actions keep their numbers, as these name what was sent
			e.Actions[i], e.Done[i] = Nothing, "skipped"
		case string(e.Actions[i]) == string(Nothing):
		default:
			e.Done[i] = ""
		}
	}
	return e
}
