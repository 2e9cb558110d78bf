package turn

import (
	"log/slog"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// delivery is the one record of a delivery, from Take to its end. The embedded Delivery is what the journal keeps of it.
// The record has no methods: the rooms' functions take it as a parameter, so that its path can be followed.
//
// The intake makes a record and may touch it until it closes ready. From then on the record belongs to one goroutine: that
// of its session, or while it is a suspect that of the suspects.
type delivery struct {
	relay.Delivery
	key     string // names the delivery in the journal
	session string // its session key
	stop    bool   // it is the command that stops its session's turn
	edited  bool   // it is a further state of its message, as far as this process knows
	suspect bool   // its turn was running when an earlier process died

	log *slog.Logger // names key and session

	receipt *receipt      // what the intake knows it by
	ready   chan struct{} // closed once the journal has answered
	ended   bool          // it gets no turn any more: its session goes on with the next
	unkept  bool          // it is not in the journal, as far as we know
	unsure  bool          // it is unkept, but the journal write that failed may have been made

	by     speaker
	line   string // its session in the window; empty: it has no place there
	size   int    // what it takes of the window
	parked bool   // it is in the journal alone, or shall be

	stopped  bool  // it ends without an answer; the schedule's mu guards it
	place    int64 // in the order of arrival, those of earlier runs first
	volatile bool  // no later run knows of it: its waits are bounded by patience
	alone    bool  // it is a suspect, and nothing runs beside it
	admitted bool  // its turn is counted: a bot's further attempts are not

	set     []*delivery // the others that are one turn with it, as they arrived: it leads them
	joined  bool        // the journal has that set, and what is written of the leader is written of all
	leader  string      // as the journal has it, the key of the one that leads it; empty: none
	members []string    // likewise, the keys of those that it leads
	single  bool        // it was in a set that was parted, and is put into no other
	came    time.Time   // when it came, if the connector had buffered it; of one that an earlier run had: zero

	state    ledger.State // as the journal has it
	attempts int          // failed ones, in all runs
	wait     ledger.Wait  // zero: it may be tried at once
	answer   answer
	// inherited is how many actions of the answer earlier processes had: each that has no outcome may have left.
	inherited int
	board     *action.Board // the messages of a streamed answer; nil before its first attempt
	inChats   chatState
	typing    *typingMark
	mark      *mark // nil: it gets none
	halted    bool  // its turn was stopped

	void    bool                    // it is an apology, and its chat is told by another one
	apology *delivery               // what its chat is to be told, as it is dead; nil: nothing
	results map[string]agent.Result // of a turn of results: what it tells
	next    *delivery               // the turn of results that follows it; nil: none
	say     *saying                 // nil: it came from the connector
	late    time.Time               // its answer comes later, until then; zero: it does not
	early   bool                    // an earlier run has kept an apology, and died before the message was dead

	has        *holding          // of the attempt that is under way
	refused    *refusedError     // the first action that the connector has refused for good
	streaming  bool              // its agent goes on while an action is sent
	streamFrom int               // the first action that this attempt has got of its stream
	heldBack   bool              // its stream goes on, and is not sent before it has ended
	heldFrom   int               // the first action that only the record has, while heldBack
	missed     []action.Outgoing // of a stream, the last edit of each message that the connector has refused for good
	draft      *action.Outgoing  // what its chat has seen of a draft that is no message yet, as the draft's last state; nil: nothing
	draftID    int               // of a draft that is open, also one of an earlier process; 0: none
	noted      int               // the id of the newest draft that the journal knows of; 0: none
	doubtful   int               // the number of a final draft that may have arrived, plus one; 0: none
	adrift     bool              // the journal may have an action of the stream that the record has not
	due        time.Time         // when its chat was free again, as it was left
}
