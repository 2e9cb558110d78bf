// Package ledger is what outlives a socket: who may drain, what was received and what was said to it, which questions wait
// for an answer, and whether this instance is switched on.
//
// Acquire returns a Lease: the right to drain for a time, and the only way to write. Its holder has the journal, the
// prompts and the instance's standing through it. A Lease whose time is over, because a later Acquire has begun another
// epoch or because it was given back, refuses every write with ErrLost: a stalled loser can write nothing more. What an
// operator does (Operator) needs no lease.
//
// Memory keeps a ledger in the process, package dynamo in a DynamoDB table; package ledgertest is what both must pass.
// All methods may be called from any goroutine.
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrTaken means another drain holds the lease. Unless the reason was a schedule, the holder is now marked as asked.
	ErrTaken = errors.New("ledger: lease is held by another drain")
	// ErrNotDue means there is no reason to look: no sweep is due, or the budget of empty looks is spent. In the second
	// case the instance is now marked as asked, so that the next schedule is a sweep.
	ErrNotDue = errors.New("ledger: nothing is due")
	// ErrDisabled means the instance was revoked, and stays off until it is enabled again.
	ErrDisabled = errors.New("ledger: instance is disabled")
	// ErrAsked means the holder is marked as asked: it keeps the lease and looks again.
	ErrAsked = errors.New("ledger: asked to look again")
	// ErrLost means a later epoch has begun, or the lease was given back: stop at once and write nothing.
	ErrLost = errors.New("ledger: lease is lost")
	// ErrTooLarge means that an answer is more than the ledger can hold; nothing was written.
	ErrTooLarge = errors.New("ledger: too large to be kept")
	// ErrNoEntry means that no entry of this key is open: it never was, or it has ended.
	ErrNoEntry = errors.New("ledger: no such entry is open")
	// ErrNoPrompt means that no question of this name is open: it never was, or its time is over.
	ErrNoPrompt = errors.New("ledger: no such prompt is open")
	// ErrAnswered means that another delivery has answered the question before.
	ErrAnswered = errors.New("ledger: the prompt has been answered")
	// ErrForeign means that an answer does not belong to the question that it names.
	ErrForeign = errors.New("ledger: no answer to that prompt")
	// ErrNotDead means that no dead entry has this key, or that the entry has no event that could be answered.
	ErrNotDead = errors.New("ledger: no dead entry that this can be done to")
)

// HeldError is ErrTaken, with whose the lease is and until when, unless he renews it.
type HeldError struct {
	By    string
	Until time.Time
}

func (e *HeldError) Error() string { return ErrTaken.Error() }
func (e *HeldError) Unwrap() error { return ErrTaken }

// OddStateError is a state of the instance that no version writes: a hand or another program did. No lease is given until it
// is put right, as nothing would fence one.
type OddStateError struct {
	Table, Instance string
	Attribute       string
	Holds           string // what is there, in words
	Value           int64  // what has to stand there
}

func (e *OddStateError) Error() string {
	return fmt.Sprintf("ledger: the item `state` of %s in the table %s has in %q what no version writes there (%s), so nothing is dialled. "+
		"See to it that nothing else writes to the table, then: %s", e.Instance, e.Table, e.Attribute, e.Holds, e.Way())
}

// Way is the command that puts it right.
func (e *OddStateError) Way() string {
	return fmt.Sprintf(`aws dynamodb update-item --table-name %s --key '{"pk":{"S":%q},"sk":{"S":"state"}}' --update-expression 'SET #a = :n' `+
		`--expression-attribute-names '{"#a":%q}' --expression-attribute-values '{":n":{"N":"%d"}}'`, e.Table, e.Instance, e.Attribute, e.Value)
}

// Reason says why a drain was started.
type Reason string

const (
	Wake     Reason = "wake"     // a poke: takes a token, or marks the holder
	Schedule Reason = "schedule" // runs only if a sweep is due or somebody asked; marks nobody: a holder is connected anyway
	Arm      Reason = "arm"      // an operator: always
	Continue Reason = "continue" // a hand-off: always
	Check    Reason = "check"    // an operator who wants to know what is wrong: always, and marks nobody
	Speak    Reason = "say"      // a say was put: always, as it has work, or marks the holder, who looks for says then
)

// The budget of empty looks: a poke's dial takes one of Tokens, one comes back every Refill, and all of them when a run
// receives something. SweepEarly is how long before its time a sweep is due: schedules fire every 5 minutes, so a sweep
// that is planned in 5 comes after 6 at the latest.
const (
	Tokens     = 10
	Refill     = 6 * time.Minute
	SweepEarly = 4 * time.Minute
)

// Ask is a request for the lease.
type Ask struct {
	Reason Reason
	Owner  string        // names this run
	Life   time.Duration // the lease is free that long after the last heartbeat
}

// Grant is what Acquire found when it took the lease. It does not change.
type Grant struct {
	Epoch     int64 // counts acquisitions; in every write, and in logs
	Standing  Standing
	Plan      Plan
	TakenOver bool // the holder before did not give the lease back: what it received or left is in no plan
	Day       Day
	Limited   Limited
}

// Plan says when the next sweep is due.
type Plan struct {
	At    time.Time     // zero: at once
	Every time.Duration // the interval that led to At
	Why   string        // in words
	After Ending        // the run that has planned it
}

// Ending is how a run ended, for operators. No drain goes by it.
type Ending struct {
	Status  string    // of its report; empty: no run that writes it has ended so far
	Error   string    // why, if it did not end well, in short
	Contact time.Time // when the connector was heard last, in this run or before
	Version string    // of the gateway
	Hinder  Trouble   // what kept it from the connector; without What: nothing
	Away    time.Time // since when the agent is away; zero: it is not, as far as is known
	Poked   time.Time // when a poke last started a run; zero: never
	Swept   time.Time // when a sweep last found what no poke had told of; zero: never
}

// Standing is what is remembered of an instance from run to run.
type Standing struct {
	Disabled   bool
	DisabledAt time.Time
	DisabledBy string      // what the connector said, in short
	Handshaken string      // gateway id of the last handshake; empty: never
	Declared   string      // fingerprint of the policy that the connector took last; empty: none
	FreshIDs   []time.Time // when fresh gateway ids were taken, at most a day back
	Trouble    Trouble
}

// Trouble is what hinders an instance and does not switch it off.
type Trouble struct {
	What  string // in a word, for programs; empty: nothing
	Since time.Time
	Said  string // what the connector said, in short
}

// Lease is the time-limited right to drain, in the hands of its holder. Each call is one atomic step, and returns ErrLost
// once the lease is another's or has been given back.
type Lease interface {
	// Grant is what Acquire found.
	Grant() Grant
	// Heartbeat renews the lease for another life.
	Heartbeat(ctx context.Context) error
	// Clear takes the asked mark away, just before going idle.
	Clear(ctx context.Context) error
	// Release gives the lease back if nobody has asked since Clear, else: ErrAsked. received fills the budget of empty looks.
	Release(ctx context.Context, plan Plan, received bool) error
	// LookAgain takes a token for another look, which somebody has asked for; received fills the budget before. It is false if
	// there is no token: then the mark stands, and the next schedule is a sweep.
	LookAgain(ctx context.Context, received bool) (bool, error)
	// HandOff gives the lease back even if somebody has asked, and says so.
	HandOff(ctx context.Context, plan Plan, received bool) (asked bool, err error)
	// GivenBack reports whether Release or HandOff has succeeded.
	GivenBack() bool

	// SetHandshaken remembers that the connector has accepted this gateway id.
	SetHandshaken(ctx context.Context, gatewayID string) error
	// SetDeclared remembers the fingerprint of the policy that the connector has taken.
	SetDeclared(ctx context.Context, fingerprint string) error
	// Disable switches the instance off until an operator enables it.
	Disable(ctx context.Context, by string) error
	// SetRefusals remembers what this run's connector has refused, in place of what an earlier run has written.
	SetRefusals(ctx context.Context, r Refusals) error
	// SetTrouble remembers what hinders this instance; without What, that nothing does.
	SetTrouble(ctx context.Context, t Trouble) error
	// TakeFreshID counts a provisioning under a fresh gateway id: at most one an hour and ten a day, else false.
	TakeFreshID(ctx context.Context) (bool, error)
	// SetLimited remembers how many messages of bots a day's runs have finished unanswered.
	SetLimited(ctx context.Context, n Limited) error

	Journal
	Prompts
	Chats
	Says
}

// Refusals are what a connector has refused in a run.
type Refusals struct {
	At      time.Time      // zero: there never were any
	ByClass map[string]int // actions, by the class of their refusal
	Retried int            // how often an action was sent again after one
}

// Overview is an instance at a glance.
type Overview struct {
	Standing Standing
	Plan     Plan
	Held     bool      // a drain has the lease
	Until    time.Time // and has it until then, unless it renews it
	Holder   string    // whose the lease is, or was if it ran out; empty: it was given back
	Beat     time.Time // when the holder renewed it last
	Ended    time.Time // when a drain last gave it back; zero: never
	Asked    bool      // somebody asked for a look that has not been made
	Pending  int       // deliveries that are not finished
	Says     int       // says that no drain has taken
	SaidAt   time.Time // when the oldest of them arrived; zero: there is none
	Prompts  int       // questions that wait for a button
	Refusals Refusals  // of the last run that had some
	Day      Day       // turns of the last day that had some, if they have a budget
	Limited  Limited   // of the last day that had some

	Odd *OddStateError // no lease is given for this; nil: nothing
}

// Operator is what an operator may do. It needs no lease.
type Operator interface {
	Standing(ctx context.Context) (Standing, error)
	// Overview is not one moment's picture: its parts are read one after the other.
	Overview(ctx context.Context) (Overview, error)
	// Enable switches the instance on again.
	Enable(ctx context.Context) error

	// ListPending returns the unfinished entries without body and actions, in the order they arrived.
	ListPending(ctx context.Context) ([]Entry, error)
	// ShowPending returns an unfinished one with all that is known of it, or ErrNoEntry.
	ShowPending(ctx context.Context, key string) (Entry, error)
	// ListDead returns the dead entries without body and actions, the longest dead first.
	ListDead(ctx context.Context) ([]Entry, error)
	// ShowDead returns one with all that is known of it, its kept answer too, or ErrNotDead.
	ShowDead(ctx context.Context, key string) (Entry, error)
	// RetryDead puts one back as if it had never been tried; the next run recovers it. What becomes of its answer, and what
	// ask does, is in PutBack. A set whose leader has a whole answer is put back as a set, whichever of its entries is named.
	// ErrNotDead if there is none, or if it came without an event that could be answered.
	RetryDead(ctx context.Context, key string, ask bool) error
	// DropDead finishes one: its payload is dropped, a redelivery is still known. ErrNotDead if there is none.
	DropDead(ctx context.Context, key string) error
}

// State is how far a journalled delivery has come.
type State string

const (
	New      State = "new"      // journalled, no turn has started
	Running  State = "running"  // its turn has started beside others: a suspect if its process dies
	Alone    State = "alone"    // its turn has started with nothing beside it: a death now is its own
	Finished State = "finished" // answered, or nothing to answer
	Dead     State = "dead"     // given up: kept with its error

	// TooLarge is no state of an entry: it is more than the ledger can hold.
	TooLarge State = "too large"
)

// Entry is one journalled delivery. The ledger does not read Body and Actions.
type Entry struct {
	Key      string
	Seq      int64 // arrival number within the epoch; Receive may be called out of order
	State    State
	Body     json.RawMessage
	Attempts int               // failed attempts so far
	Error    string            // of the last failed attempt, or why it waits
	Wait     Wait              // zero: it may be tried at once
	Actions  []json.RawMessage // the kept answer, nil if there is none yet
	Done     []string          // outcome per action, "" where none is known
	Open     bool              // the answer is a stream whose end has not been seen: Actions are those so far
	Died     time.Time         // when it was given up; zero unless Dead
	Draft    int               // the id of the newest draft that its chat may have seen a state of; 0: of none
	Set      Set               // zero: it is on its own

	// Unreadable is why Load could not read the entry, whose Body and Actions are missing then; nil: it could.
	Unreadable error

	// Receive reads the rest and Load does not return it.
	Session string // names its session in 8 hex digits, which Recover tells; empty: the entry has to be read to know
	Message string // names the message that it is a state of; empty: of none
	Buffer  string // the buffer id that it came under; empty: it came live
	Edit    bool   // it says that it is an edit; Receive sets it of any further state of its message
}

// Wait says when an entry may be tried again that could not be answered yet. It is over once there is a new answer or
// outcome.
type Wait struct {
	Due   time.Time // not before
	Since time.Time // when it first had to wait for what it waits for now
	Tries int       // how often it was in vain since then
	Asked bool      // the other side asked for the pause: nothing makes it shorter
}

// Journal is what was received, written before its ack.
type Journal interface {
	// Durable says whether entries outlive the process: then a delivery may be acked as soon as Receive returns.
	Durable() bool
	// Receive writes entries, whose State is New, Running or Dead, in this order, each unless its key is known. It returns
	// the state that it found of each: "" if it was written, TooLarge if it never will be. An entry with a Message may be a
	// state that comes back, or repeat one that did (Place): then it gets another Key, in the list that was given. After an error it returns the
	// states that are certain; none of the other entries was written without all those before it.
	Receive(ctx context.Context, entries ...Entry) ([]State, error)
	// Owe stores an entry of our own, which has its answer and is open: Body and Actions, and Seq, of this epoch. One of its
	// Key that is open stays as it is, one that has ended is replaced. It may be made twice. ErrTooLarge as for Keep.
	Owe(ctx context.Context, e Entry) error
	// Start notes that a turn starts, Running or Alone, or with New that it is left to the next run.
	Start(ctx context.Context, key string, s State) error
	// StartCounted is Start, and in one write with it says how many turns have started on a day. What is there of the same
	// day stays if it is more. Without a key, for a turn that has no entry, it is that alone.
	StartCounted(ctx context.Context, key string, s State, day Day) error
	// Keep stores a whole answer before the first of its actions is sent. ErrTooLarge means that it will never fit.
	Keep(ctx context.Context, key string, actions []json.RawMessage) error
	// Extend adds an action to an answer that is streamed, before that action is sent, and makes the entry Open. Outcomes
	// stay. ErrTooLarge as for Keep.
	Extend(ctx context.Context, key string, action json.RawMessage) error
	// Draft notes that text is shown as a draft of this id from now on, before the first state of it is.
	Draft(ctx context.Context, key string, id int) error
	// Confirm stores the outcome of one kept action.
	Confirm(ctx context.Context, key string, action int, outcome string) error
	// Finish ends an entry and drops its payload.
	Finish(ctx context.Context, key string) error
	// Fail counts a failed attempt. With dead the entry is given up: kept with its error, and not recovered.
	Fail(ctx context.Context, key, reason string, dead bool) error
	// Defer makes an entry wait, for a reason in words, as one that has failed so many attempts.
	Defer(ctx context.Context, key, reason string, w Wait, attempts int) error
	// Replace puts another action in the place of a kept one, which has no outcome yet. ErrTooLarge as for Keep.
	Replace(ctx context.Context, key string, action int, with json.RawMessage) error
	// Seal stores a streamed answer that is whole, with its outcomes so far: it is not Open any more. ErrTooLarge as for Keep.
	Seal(ctx context.Context, key string, actions []json.RawMessage, outcomes []string) error
	// Bury gives an entry up as Fail does, without an attempt.
	Bury(ctx context.Context, key, reason string) error
	// Recover returns what is known of the unfinished entries unread, in the order they arrived, a page at a time: the first
	// one with an empty from, each other one with Next of the page before. Those behind the first leave out what came under
	// this lease. With the last page it is sure that the lease was held for all of them.
	Recover(ctx context.Context, from string) (Page, error)
	// Load reads entries, in the order of keys. What is not unfinished any more is left out; of one that cannot be read
	// Unreadable says why.
	Load(ctx context.Context, keys ...string) ([]Entry, error)

	Sets
}

// Ledger is an instance's ledger in one store.
type Ledger interface {
	// Acquire takes the lease, or says why not: ErrDisabled, ErrTaken, ErrNotDue, in this order.
	Acquire(ctx context.Context, ask Ask) (Lease, error)
	Inbox
	Operator
}
