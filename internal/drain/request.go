package drain

import (
	"encoding/json"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// Request is what starts a drain.
type Request struct {
	Reason ledger.Reason `json:"reason"`
	Hop    int           `json:"hop,omitempty"` // how many runs handed work on before this one
	At     time.Time     `json:"at,omitzero"`   // when the poke came; for the figures only
}

// ParseRequest reads an invocation's payload. What it does not know, EventBridge's events included, is a schedule.
func ParseRequest(payload []byte) Request {
	var req, schedule Request
	schedule.Reason = ledger.Schedule
	if json.Unmarshal(payload, &req) != nil || req.Hop < 0 {
		return schedule
	}
	switch req.Reason {
	case ledger.Wake, ledger.Arm, ledger.Continue, ledger.Check:
		return req
	}
	return schedule
}
