package ledger

import (
	"context"
	"encoding/json"
)

// A set is entries whose messages are one turn. Its last entry leads it: the answer and its outcomes are the leader's. What is
// written of the leader is written of all of them, in one step: Start, StartCounted, Defer, Fail, Bury and Finish. Keep and
// Seal give each member an answer of Nothing beside the leader's, so that the version before, which knows no sets, asks nobody
// about it again. Confirm, Extend and Replace are the leader's alone.
//
// A set is made by the write that starts its turn. It stays as it is until it has ended, or Part ends it.

// Set is what an entry has of its set.
type Set struct {
	Leader  string   // of a member: its leader's key
	Members []string // of a leader: their keys, as they arrived
	Single  bool     // it was in a set that was parted, and is not put into another one
}

// Parting is what becomes of the entries of a set that was parted: each is on its own, as Single.
type Parting struct {
	State    State
	Reason   string
	Wait     Wait
	Sent     []json.RawMessage // what members get as the beginning of a stream: what their chat has of the set's; may be empty
	Outcomes []string          // of Sent
}

// Sets are the entries of a journal that are one turn.
type Sets interface {
	// StartSet is Start for entries that become a set by it; the last one leads. With a Date it is StartCounted.
	StartSet(ctx context.Context, keys []string, s State, day Day) error
	// Part ends the set that an entry leads.
	Part(ctx context.Context, key string, p Parting) error
}

// Blank is the answer of a member whose leader has one, with its outcome.
func Blank() (actions []json.RawMessage, outcomes []string) {
	return []json.RawMessage{Nothing}, []string{"skipped"}
}

// IsBlank reports whether an entry has the answer of a member whose leader has one.
func (e Entry) IsBlank() bool {
	return len(e.Actions) == 1 && string(e.Actions[0]) == string(Nothing) && !e.Open
}

// IsWhole reports whether an entry has a whole answer.
func (e Entry) IsWhole() bool { return e.Actions != nil && !e.Open }

// Alone is a dead entry as it is put back without its set.
func (e Entry) Alone() Entry {
	if e.Set.Leader != "" && e.IsBlank() {
		e.Actions, e.Done = nil, nil
	}
	e.Set = Set{Single: e.Set.Single}
	return e
}
