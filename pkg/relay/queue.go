package relay

// mostUnfolded is how many deliveries wait as they were decoded. Those behind them wait as they came on the wire, and are decoded
// when their turn comes: of a small one, what it takes in memory beside its bytes is a third of what it would be.
const mostUnfolded = 1024

// queue holds the deliveries that wait for Receive, up to a number and a sum of bytes on the wire.
type queue struct {
	urgent []Delivery // interrupts: they come first
	rest   []Delivery
	head   int // index in rest of the next delivery
	bytes  int

	maxEntries, maxBytes int
}

func (q *queue) len() int { return len(q.urgent) + len(q.rest) - q.head }

// crowded says whether half of what fits is there.
func (q *queue) crowded() bool {
	return q.len() > q.maxEntries/2 || q.len() > 1 && q.bytes > q.maxBytes/2
}

// push adds d, or returns false if it does not fit.
func (q *queue) push(d Delivery) bool {
	n := q.len()
	if n >= q.maxEntries || n > 0 && q.bytes+d.size > q.maxBytes {
		return false
	}
	q.bytes += d.size
	if d.Kind == KindInterrupt {
		q.urgent = append(q.urgent, d)
		return true
	}
	if len(q.rest) == cap(q.rest) && q.head > len(q.rest)/2 { // reuse the space of what has been popped
		kept := copy(q.rest, q.rest[q.head:])
		clear(q.rest[kept:])
		q.rest, q.head = q.rest[:kept], 0
	}
	switch {
	case n < mostUnfolded:
		d.line = nil
	case d.line != nil:
		d.Event, d.Forward = nil, nil // Receive decodes the line
	}
	q.rest = append(q.rest, d)
	return true
}

// folds says whether the next delivery is to come with its line.
func (q *queue) folds() bool { return q.len() >= mostUnfolded }

// pop takes the next delivery out, which may be folded.
func (q *queue) pop() (d Delivery, ok bool) {
	switch {
	case len(q.urgent) > 0:
		d, q.urgent = q.urgent[0], q.urgent[1:]
	case q.head < len(q.rest):
		d, q.rest[q.head] = q.rest[q.head], Delivery{}
		if q.head++; q.head == len(q.rest) {
			q.rest, q.head = q.rest[:0], 0
		}
	default:
		return Delivery{}, false
	}
	q.bytes -= d.size
	return d, true
}
