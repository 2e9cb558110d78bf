package drain

import (
	"encoding/json"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// Request is what starts a drain.
type Request struct {
	Reason ledger.Reason `json:"reason"`
	Hop    int           `json:"hop,omitempty"` // hand-offs behind a continue
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
	case ledger.Wake, ledger.Arm, ledger.Continue:
		return req
	}
	return schedule
}

// Status is how a drain ended.
type Status string

const (
	Drained   Status = "drained"    // something was received or recovered
	Empty     Status = "empty"      // nothing was there
	NotDue    Status = "not_due"    // no sweep is due, or the budget of empty looks is spent
	Taken     Status = "taken"      // another drain holds the lease, or took it over
	Disabled  Status = "disabled"   // revoked earlier, and off until enabled
	Revoked   Status = "revoked"    // the connector refuses this gateway for good
	Replaced  Status = "replaced"   // another socket took the seat
	SeatTaken Status = "seat_taken" // another socket, or its ghost, would not leave the seat
	HandedOff Status = "handed_off" // time was up and work was left
	Failed    Status = "failed"     // the only one that is an error
)

// Report is what a drain answers: one JSON line.
type Report struct {
	Status     Status `json:"status"`
	Received   int    `json:"received"`
	Acked      int    `json:"acked"`
	Duplicates int    `json:"duplicates"`
	Recovered  int    `json:"recovered"`
	Turns      int    `json:"turns"`
	Outbound   int    `json:"outbound"`
	Unknown    int    `json:"unknown"` // actions without an answer: perhaps seen by the chat, perhaps not
	Dead       int    `json:"dead"`
	Unkept     int    `json:"unkept,omitempty"`    // live messages answered although the journal was down
	Unflipped  int    `json:"unflipped,omitempty"` // left without going_idle_ack
	MS         Times  `json:"ms"`
}

// Times are milliseconds from the drain's start; a missing one did not happen.
type Times struct {
	Lease      *int64 `json:"lease,omitempty"`
	Dial       *int64 `json:"dial,omitempty"`
	Descriptor *int64 `json:"descriptor,omitempty"`
	FirstAck   *int64 `json:"first_ack,omitempty"`
	FirstReply *int64 `json:"first_reply,omitempty"`
	All        *int64 `json:"all,omitempty"`
}
