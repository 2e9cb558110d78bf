package turn

import "sync"

// Counts says what a worker has done so far.
type Counts struct {
	Received   int // deliveries, repeated ones too
	Duplicates int // deliveries that the journal knew
	Recovered  int // taken up from an earlier run
	Turns      int // attempts by the agent
	Finished   int // deliveries that are done with
	Outbound   int // actions that were answered
	Unknown    int // actions without an answer
	Dead       int // deliveries given up
	Unkept     int // live deliveries answered without a journal
	Left       int // deliveries deferred to the next run
	Cut        int // answers that were more than is sent
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
	return t.counts
}
