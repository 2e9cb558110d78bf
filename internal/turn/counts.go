package turn

import (
	"maps"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
)

// Counts says what a worker has done so far.
type Counts struct {
	Received   int                  // deliveries, repeated ones too
	Duplicates int                  // deliveries that the journal knew
	Recovered  int                  // taken up from an earlier run
	Said       int                  // says that were taken
	Turns      int                  // attempts by the agent
	Finished   int                  // deliveries that are done with
	Outbound   int                  // actions that were answered
	Unknown    int                  // actions without an answer
	Refused    map[action.Class]int // actions that were refused, by class
	Retried    int                  // actions that were sent again after a refusal
	Dead       int                  // deliveries given up
	Limited    int                  // messages of bots that were finished unanswered, being over their budget
	Postponed  int                  // messages that were put off to the next day, whose budget of turns is not used up
	Unkept     int                  // live deliveries answered without a journal
	Lost       int                  // live deliveries that could not be journalled as the run ended
	Left       int                  // deliveries deferred to the next run
	Waiting    int                  // of them those that cannot go on at once
	Due        time.Time            // when the first of those left can; zero if none is left
	Oldest     time.Time            // when the oldest of those left was received; zero if none is left
	Away       time.Time            // since when the agent is away, as far as this run knows; zero: it was not, or was not asked
	Heard      bool                 // the agent has answered, and has not been away since
	Cut        int                  // answers that were more than is sent
	Unwritten  int                  // outcomes and ends that the journal did not take
}

// absent notes that the agent is away.
func (c *Counts) absent() {
	if c.Away.IsZero() {
		c.Away = time.Now()
	}
	c.Heard = false
}

// heard notes that the agent is there.
func (c *Counts) heard() { c.Away, c.Heard = time.Time{}, true }

// refuse counts a refusal.
func (c *Counts) refuse(class action.Class) {
	if c.Refused == nil {
		c.Refused = map[action.Class]int{}
	}
	c.Refused[class]++
}

// leave counts a delivery that is left and can go on when it is due, or if it is behind another one, with that.
func (c *Counts) leave(received, due time.Time, behind bool) {
	now := time.Now()
	c.Left++
	if !received.IsZero() && (c.Oldest.IsZero() || received.Before(c.Oldest)) {
		c.Oldest = received
	}
	if behind || due.After(now.Add(workAhead)) {
		c.Waiting++
	}
	if due.Before(now) {
		due = now
	}
	if !behind && (c.Due.IsZero() || due.Before(c.Due)) {
		c.Due = due
	}
}

// tally is the Counts that all rooms add to. Its lock is held for no call to another room.
type tally struct {
	mu     sync.Mutex
	counts Counts
}

// add lets change raise a figure.
func (t *tally) add(change func(*Counts)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.counts)
}

func (t *tally) read() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts
	c.Refused = maps.Clone(c.Refused)
	return c
}
