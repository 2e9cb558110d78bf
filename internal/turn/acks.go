package turn

const ackAhead = 256 // deliveries that have not ended beyond which acks are withheld, which holds the connector back

// receipt is what the intake knows of a delivery until the delivery ends.
type receipt struct {
	key      string
	ackAtEnd bool // its acks wait for its end: no journal has it that outlives the process
	acks     []*ack
	held     int // bytes that it takes in memory and that no journal has
}

// ack is an ack to come.
type ack struct {
	bufferID string
	state    ackState
}

type ackState int

const (
	ackWaits ackState = iota
	ackDue
	ackVoid // not to be sent: the connector shall deliver again
)

// ackQueue has the acks that have not been sent, in the order in which their deliveries arrived. No ack overtakes another,
// also not one that waits. It has no lock: it is the intake's.
type ackQueue struct {
	send     func(bufferID string)
	withhold func() bool
	list     []*ack
}

// add appends an ack that waits for the delivery of that receipt.
func (q *ackQueue) add(r *receipt, bufferID string) {
	a := &ack{bufferID: bufferID}
	r.acks = append(r.acks, a)
	q.list = append(q.list, a)
}

// resolve says what becomes of the acks that wait for the delivery of that receipt.
func (q *ackQueue) resolve(r *receipt, s ackState) {
	for _, a := range r.acks {
		a.state = s
	}
	r.acks = nil
	q.flush()
}

// flush sends the acks that are due.
func (q *ackQueue) flush() {
	for len(q.list) > 0 && q.list[0].state != ackWaits {
		a := q.list[0]
		if a.state == ackDue {
			if q.withhold() {
				return
			}
			q.send(a.bufferID)
		}
		q.list[0] = nil
		q.list = q.list[1:]
	}
}

// ackOnly acks a delivery that there is nothing to keep of, in its place among the other acks.
func (i *intake) ackOnly(bufferID string) error {
	if bufferID == "" {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	r := new(receipt)
	i.acks.add(r, bufferID)
	i.acks.resolve(r, ackDue)
	return nil
}

// adopt counts deliveries that earlier runs have journalled, and makes those pending that have a receipt. It is called before
// Take.
func (i *intake) adopt(n int, list []*receipt) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.open += n
	for _, r := range list {
		i.pending[r.key] = r
	}
}

// unloaded is for a delivery that is in the journal alone from now on: a repeat is known by the journal.
func (i *intake) unloaded(key string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.pending, key)
}

// end ends a delivery that was released.
func (i *intake) end(r *receipt, s ackState) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.endLocked(r, s)
}

// endLocked forgets a delivery and resolves its acks.
func (i *intake) endLocked(r *receipt, s ackState) {
	if i.pending[r.key] == r {
		delete(i.pending, r.key)
	}
	i.acks.resolve(r, s)
	i.open--
	i.letGoLocked(r)
	i.acks.flush() // there may be room for acks again
	i.signal()
}
