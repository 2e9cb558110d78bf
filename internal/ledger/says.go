package ledger

import (
	"context"
	"encoding/json"
	"time"
)

// SayLife is how long a say's key is known after a drain has taken the say: until then the same key is not said again.
const SayLife = 30 * 24 * time.Hour

// Say is what somebody has this gateway say by itself: no message asked for it.
type Say struct {
	Key  string
	Body json.RawMessage // the ledger does not read it
	At   time.Time       // when it arrived; PutSay sets it
}

// SayState is what became of a say.
type SayState string

const (
	SayNew   SayState = ""      // PutSay has written it
	SayWaits SayState = "waits" // its key was there, and no drain has taken it
	SayTaken SayState = "taken" // its key was there, and it is a drain's since then
)

// Inbox is where says arrive. Whoever puts one needs no lease.
type Inbox interface {
	// PutSay writes a say unless its key is known. It tells nobody: whoever wants a holder to see it asks for the lease with
	// the reason Speak. ErrTooLarge if its body does not fit.
	PutSay(ctx context.Context, s Say) (SayState, error)
}

// Says are the says in the hands of the lease's holder.
type Says interface {
	// Said reports whether somebody may have put a say since Says was last called, as the last answers of the ledger tell.
	// It makes no request.
	Said() bool
	// Says returns those that wait, in the order they arrived.
	Says(ctx context.Context) ([]Say, error)
	// TakeSays is Receive for entries that says become, their answers included, and in one step with that the says are taken.
	// What is left out, being TooLarge, or as its message has Ended, leaves its say where it was.
	TakeSays(ctx context.Context, taken ...Taking) ([]State, error)
	// Known returns what is known of these entries, in whatever state they are.
	Known(ctx context.Context, keys ...string) (map[string]Entry, error)
}

// Ended is no state of an entry: what it belongs to is not open any more (Taking.Of).
const Ended State = "ended"

// Taking is a say that becomes an entry.
type Taking struct {
	Say   string // its key
	Entry Entry  // New, with or without a whole answer in Actions, or Dead
	Of    string // an entry that has to be unfinished in that step, else nothing is taken; empty: none
	Ends  bool   // Of is finished in the same step
}
