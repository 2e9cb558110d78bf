package drain

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/say"
)

// Request is what starts a drain.
type Request struct {
	Reason ledger.Reason `json:"reason"`
	Hop    int           `json:"hop,omitempty"` // how many runs handed work on before this one
	At     time.Time     `json:"at,omitzero"`   // when the poke came; for the figures only
	Say    *Said         `json:"-"`             // of Speak: what is to be said
}

// Said is a say as it came, and was found to be one.
type Said struct {
	Key  string
	Body json.RawMessage
}

// ParseRequest reads an invocation's payload. What it does not know, EventBridge's events included, is a schedule; unless it
// carries what a say has: then somebody wants something said, and the error says what is wrong.
func ParseRequest(payload []byte) (Request, error) {
	schedule := Request{Reason: ledger.Schedule}
	var members map[string]json.RawMessage
	if json.Unmarshal(payload, &members) != nil {
		return schedule, nil
	}
	var reason ledger.Reason
	_ = json.Unmarshal(members["reason"], &reason) // another type is an unknown reason
	if reason == ledger.Speak {
		return parseSay(payload)
	}
	var req Request
	switch reason {
	case ledger.Wake, ledger.Arm, ledger.Continue, ledger.Check:
		if json.Unmarshal(payload, &req) == nil && req.Hop >= 0 {
			return req, nil
		}
	case ledger.Schedule:
	default:
		for _, member := range []string{"key", "reply_to_delivery", "chat", "actions", "ask", "text"} {
			if _, carries := members[member]; carries {
				return Request{}, fmt.Errorf(`drain: reason: %.40q is not known, and the payload carries %s: want "reason": "say" to have something said`,
					string(reason), member)
			}
		}
	}
	return schedule, nil
}

func parseSay(payload []byte) (Request, error) {
	parsed, err := say.Parse(payload)
	if err != nil {
		return Request{}, fmt.Errorf("drain: nothing is said: %w", err)
	}
	return Request{Reason: ledger.Speak, Say: &Said{Key: parsed.Key, Body: payload}}, nil
}
