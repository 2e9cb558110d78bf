package drain

import (
	"errors"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/turn"
)

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
	// IdentityRefused is as Failed, for a run whose identity was not accepted at /relay/provision, as an earlier run's was not.
	IdentityRefused Status = "identity_refused"
	Accepted        Status = "accepted"   // of a say: it is kept, and the drain that runs says it, or one has said it
	HandedOff       Status = "handed_off" // time was up and work was left
	Failed          Status = "failed"     // the only one that is an error
)

// Report is what a drain answers: one JSON line.
type Report struct {
	Status     Status               `json:"status"`
	Received   int                  `json:"received"`
	Acked      int                  `json:"acked"`
	Duplicates int                  `json:"duplicates"`
	Recovered  int                  `json:"recovered"`
	Said       int                  `json:"said,omitempty"` // says that were taken
	Turns      int                  `json:"turns"`
	Answered   int                  `json:"answered,omitempty"` // messages that are done with
	Outbound   int                  `json:"outbound"`
	Refused    map[action.Class]int `json:"refused,omitempty"` // actions that were refused, by class
	Retried    int                  `json:"retried,omitempty"` // actions that were sent again after a refusal
	Unknown    int                  `json:"unknown"`           // actions without an answer: the chat has perhaps seen them, perhaps not
	Dead       int                  `json:"dead"`
	Left       int                  `json:"left,omitempty"`       // messages that wait for a later run
	Limited    int                  `json:"limited,omitempty"`    // messages of bots finished unanswered, being over their budget
	Postponed  int                  `json:"postponed,omitempty"`  // messages over the day's budget of turns: put off to the next day
	Unwritten  int                  `json:"unwritten,omitempty"`  // outcomes and ends that no journal has: the next run may send them again
	Cut        int                  `json:"cut,omitempty"`        // answers that were more than is sent: the chat is told
	Unkept     int                  `json:"unkept,omitempty"`     // live messages answered although the journal was down
	Lost       int                  `json:"lost,omitempty"`       // live messages that were received and are lost
	Unflipped  int                  `json:"unflipped,omitempty"`  // ended without going_idle_ack
	Holder     string               `json:"holder,omitempty"`     // of the lease, if it was refused as taken
	HeldUntil  *time.Time           `json:"held_until,omitempty"` // unless he renews it
	MS         Times                `json:"ms"`
	Error      string               `json:"error,omitempty"`  // why it did not end well, where that is no failed invocation
	Hinder     string               `json:"hinder,omitempty"` // of a check, in a word, what keeps it from the connector
	Check      *Check               `json:"check,omitempty"`  // of a check
}

// Times are milliseconds from the drain's start, but for the first two; a missing one did not happen.
type Times struct {
	Poke        *int64 `json:"poke,omitempty"` // from the poke to the drain's start
	Init        *int64 `json:"init,omitempty"` // that the process took to start: a cold start has it
	Lease       *int64 `json:"lease,omitempty"`
	TLS         *int64 `json:"tls,omitempty"`  // the first connection to the connector is encrypted; opened ahead, it may be before the lease
	Dial        *int64 `json:"dial,omitempty"` // credentials are there, and what was left is being read
	Descriptor  *int64 `json:"descriptor,omitempty"`
	FirstTyping *int64 `json:"first_typing,omitempty"`
	FirstAck    *int64 `json:"first_ack,omitempty"`
	FirstReply  *int64 `json:"first_reply,omitempty"`
	All         *int64 `json:"all,omitempty"`
}

// figures are the report of a run while it goes on. Its methods may be called from any goroutine.
type figures struct {
	start time.Time

	mu sync.Mutex
	Report
}

// stamp notes when something happened for the first time; at is one of f's own times.
func (f *figures) stamp(at **int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stampLocked(at)
}

func (f *figures) stampLocked(at **int64) {
	if *at == nil {
		*at = new(time.Since(f.start).Milliseconds())
	}
}

func (f *figures) acked() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stampLocked(&f.MS.FirstAck)
	f.Acked++
}

func (f *figures) unflipped() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Unflipped++
}

// result is the whole report of a run that ended with err.
func (f *figures) result(err error, c turn.Counts) Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stampLocked(&f.MS.All)
	rep := f.Report
	rep.Received, rep.Duplicates, rep.Recovered, rep.Turns = c.Received, c.Duplicates, c.Recovered, c.Turns
	rep.Answered, rep.Said = c.Finished, c.Said
	rep.Outbound, rep.Unknown, rep.Dead, rep.Unkept, rep.Cut = c.Outbound, c.Unknown, c.Dead, c.Unkept, c.Cut
	rep.Refused, rep.Retried, rep.Left, rep.Unwritten = c.Refused, c.Retried, c.Left, c.Unwritten
	rep.Limited, rep.Postponed, rep.Lost = c.Limited, c.Postponed, c.Lost
	if held, ok := errors.AsType[*ledger.HeldError](err); ok {
		rep.Holder, rep.HeldUntil = held.By, &held.Until
	}
	return rep
}

func statusOf(err error) Status {
	switch {
	case err == nil:
		return Drained
	case errors.Is(err, errAccepted):
		return Accepted
	case errors.Is(err, ledger.ErrTaken), isLost(err):
		return Taken
	case errors.Is(err, ledger.ErrNotDue):
		return NotDue
	case errors.Is(err, ledger.ErrDisabled):
		return Disabled
	case errors.Is(err, errRevoked):
		return Revoked
	case errors.Is(err, errReplaced):
		return Replaced
	case errors.Is(err, errSeatTaken):
		return SeatTaken
	case errors.Is(err, errDeadline), errors.Is(err, errTerminated):
		return HandedOff
	}
	return Failed
}
