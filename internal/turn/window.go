package turn

import (
	"container/heap"
	"slices"
	"time"
)

const (
	perSession = 8        // deliveries of a session that are in memory
	recordSize = 12 << 10 // what a record takes in memory beside its body, with its session's goroutine
	mostLoaded = 25       // deliveries that are read in one call

	mostSitting = 2000 // sessions that wait for long with a delivery in memory
)

// window says which deliveries are in memory, and which are in the journal alone until their turn comes: of each session the
// oldest, the oldest sessions first, under a sum of bytes. Of the others it has the keys. It knows no record but those that
// are not in the journal, and has no lock: it is the schedule's.
//
// A line has the deliveries of one session, which it knows by its hash: two sessions that share one are a line, too.
type window struct {
	most int // bytes

	used    int
	here    int  // deliveries in memory
	idle    int  // of these, the turns of sessions that sit: one of several messages counts as so many
	over    bool // the last one that was let in did not fit
	lines   map[string]*line
	ready   lineHeap // those whose next delivery may come, the oldest first
	resting lineHeap // those that do nothing before a time, the earliest first
	sitting map[*line]bool
	parked  int // deliveries in all lines
	coming  int // of these, those that the journal has yet to answer for
	changed chan struct{}
	typical int // bytes of a body, as they were lately
	batch   int // how many are read in one call
}

// line is the deliveries of a session.
type line struct {
	name   string
	parked []parked // that are not in memory, by their place
	bodies int      // how many of these are in no journal, or not yet
	here   int      // deliveries that are
	coming int      // deliveries that are being read
	pulled bool     // by a turn that is about to start
	absent int      // bytes that are not counted while it sits
	idle   int      // deliveries of the turn that waits then
	sits   bool     // its session waits, with its oldest in memory
	far    bool     // for a time that is far
	fills  bool     // deliveries are read until it has as many as it may

	atReady, atResting int // its places in the heaps; -1: none
}

// parked is a delivery that waits for its place in the window.
type parked struct {
	key      string
	place    int64
	until    int64     // it rests until then, if it is the first of its line: Unix nanoseconds; 0: it does not
	attempts int       // failed ones, in all runs
	told     bool      // the journal knows that it waits behind another
	settled  bool      // it may come, as the journal has answered
	receipt  *receipt  // nil: nobody asks for it
	d        *delivery // not nil: it is in no journal, or not yet
}

// lineHeap orders lines.
type lineHeap struct {
	list []*line
	less func(a, b *line) bool
	at   func(*line) *int
}

func (h *lineHeap) Len() int           { return len(h.list) }
func (h *lineHeap) Less(i, j int) bool { return h.less(h.list[i], h.list[j]) }
func (h *lineHeap) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	*h.at(h.list[i]), *h.at(h.list[j]) = i, j
}
func (h *lineHeap) Push(l any) {
	*h.at(l.(*line)) = len(h.list)
	h.list = append(h.list, l.(*line))
}
func (h *lineHeap) Pop() any {
	last := len(h.list) - 1
	l := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	*h.at(l) = -1
	return l
}

// set puts a line into its place, or takes it out.
func (h *lineHeap) set(l *line, in bool) {
	switch at := *h.at(l); {
	case in && at < 0:
		heap.Push(h, l)
	case in:
		heap.Fix(h, at)
	case at >= 0:
		heap.Remove(h, at)
	}
}

func newWindow(most int) *window {
	return &window{
		most: most, lines: map[string]*line{}, sitting: map[*line]bool{}, changed: make(chan struct{}, 1), typical: 16 << 10, batch: 4,
		ready: lineHeap{
			less: func(a, b *line) bool { return a.parked[0].place < b.parked[0].place },
			at:   func(l *line) *int { return &l.atReady },
		},
		resting: lineHeap{
			less: func(a, b *line) bool { return a.parked[0].until < b.parked[0].until },
			at:   func(l *line) *int { return &l.atResting },
		},
	}
}

func (w *window) tell() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *window) line(name string) *line {
	l := w.lines[name]
	if l == nil {
		l = &line{name: name, atReady: -1, atResting: -1}
		w.lines[name] = l
	}
	return l
}

// update is for a line that has changed.
func (w *window) update(l *line) {
	waits := len(l.parked) > 0 && l.parked[0].settled && !l.sits && !l.pulled
	l.fills = l.here < perSession && (l.fills || l.here <= perSession/2) // so that several are read in one call
	w.resting.set(l, waits && l.here == 0 && l.parked[0].until > 0)
	w.ready.set(l, waits && l.fills && (l.here > 0 || l.parked[0].until == 0))
	if len(l.parked) == 0 && l.here == 0 {
		delete(w.lines, l.name)
	}
	w.tell()
}

// stays reports whether a delivery that has come may stay in memory: nothing of its session is in the journal alone.
func (w *window) stays(name string, size int) bool {
	l := w.lines[name]
	return (l == nil || len(l.parked) == 0 && l.coming == 0 && l.here < perSession && !l.sits) && (w.used == 0 || w.used+size <= w.most)
}

// enter is for a delivery that is in memory from now on.
func (w *window) enter(name string, size int) {
	w.line(name).here++
	w.here++
	w.used += size
}

// leave is for a delivery that was.
func (w *window) leave(name string, size int) {
	l := w.line(name)
	l.here--
	w.here--
	if w.used -= size; w.used <= w.most {
		w.over = false
	}
	w.update(l)
}

// park puts deliveries into their line, by their place.
func (w *window) park(name string, list ...parked) {
	l := w.line(name)
	for _, p := range list {
		at := len(l.parked)
		for at > 0 && l.parked[at-1].place > p.place {
			at--
		}
		l.parked = slices.Insert(l.parked, at, p)
		w.parked++
		if p.d != nil {
			l.bodies++
		}
		if !p.settled {
			w.coming++
		}
	}
	w.update(l)
}

// find finds a delivery in its line; -1: it is not there.
func (l *line) find(place int64) int {
	at, found := slices.BinarySearchFunc(l.parked, place, func(p parked, place int64) int { return int(p.place - place) })
	if !found {
		return -1
	}
	return at
}

// remove takes a delivery out of its line.
func (w *window) remove(name string, place int64) {
	l := w.line(name)
	if at := l.find(place); at >= 0 {
		if l.parked[at].d != nil {
			l.bodies--
		}
		if !l.parked[at].settled {
			w.coming--
		}
		l.parked = slices.Delete(l.parked, at, at+1)
		w.parked--
	}
	w.update(l)
}

// settle is for a delivery that may come from now on; with key it is in the journal as that, and leaves memory.
func (w *window) settle(name string, place int64, key string) {
	l := w.line(name)
	if at := l.find(place); at >= 0 {
		p := &l.parked[at]
		if !p.settled {
			w.coming--
		}
		p.settled = true
		if key != "" {
			p.key, p.d = key, nil
			l.bodies--
		}
	}
	w.update(l)
}

// sit says whether a session waits with its oldest n deliveries in memory, which are one turn and of which size is not counted then,
// and whether for a time that is far.
func (w *window) sit(name string, so, far bool, n, size int) {
	l := w.line(name)
	l.far = far
	if l.sits == so {
		return
	}
	if l.sits = so; so {
		w.sitting[l] = true
		l.absent, l.idle = size, n
		w.used -= size
		w.idle += n
	} else {
		delete(w.sitting, l)
		w.used += l.absent
		w.idle -= l.idle
	}
	w.update(l)
}

// wake ends the rest of lines that match.
func (w *window) wake(match func(*line) bool) {
	for _, l := range slices.Clone(w.resting.list) {
		if match(l) {
			l.parked[0].until = 0
			w.update(l)
		}
	}
}

// full reports whether so many sessions sit that no further one is let in.
func (w *window) full() bool { return len(w.sitting) >= mostSitting }

// fits reports whether something of that size may be loaded. One that does not fit is let in all the same, as the oldest may be
// what others wait for, or if all others only wait.
func (w *window) fits(size int) bool {
	return w.used+size <= w.most || !w.over || w.here <= w.idle
}

// take takes deliveries out of their lines, in the order in which they are to come. They count as in memory, each with the
// size that is typical, until loaded is called.
func (w *window) take(now time.Time) (list []parked, lines []*line) {
	for len(w.resting.list) > 0 && w.resting.list[0].parked[0].until <= now.UnixNano() {
		l := w.resting.list[0]
		l.parked[0].until = 0
		w.update(l)
	}
	for len(w.ready.list) > 0 && len(list) < w.batch && w.fits(w.typical) && !w.full() {
		l := w.ready.list[0]
		list, lines = append(list, w.takeFirst(l)), append(lines, l)
	}
	return list, lines
}

// takeFirst takes the first delivery out of a line.
func (w *window) takeFirst(l *line) parked {
	p := l.parked[0]
	if p.d != nil {
		l.bodies--
	}
	l.parked[0] = parked{}
	l.parked = l.parked[1:]
	w.parked--
	w.enter(l.name, w.typical)
	l.coming++
	w.over = w.used > w.most
	w.update(l)
	return p
}

// loaded corrects the size of what take has taken.
func (w *window) loaded(sizes ...int) {
	sum := 0
	for _, size := range sizes {
		w.used += size - w.typical
		sum += size
	}
	if len(sizes) > 0 {
		w.typical = max(sum/len(sizes), w.typical/2, recordSize)
		w.batch = min(2*w.batch, mostLoaded)
	}
}

// nextRest is when the next line has rested; zero: none rests.
func (w *window) nextRest() time.Time {
	if len(w.resting.list) == 0 {
		return time.Time{}
	}
	return time.Unix(0, w.resting.list[0].parked[0].until)
}

// left is how many parked deliveries are no work, and when the first of them is due: those that rest, and those behind one
// that does. With all, or if there is no room before one of those has rested, it is every one that the journal has answered for.
func (w *window) left(all bool) (n int, due time.Time) {
	for _, l := range w.resting.list {
		n += len(l.parked) - l.bodies
	}
	for l := range w.sitting {
		if l.far {
			n += len(l.parked) - l.bodies
		}
	}
	if due = w.nextRest(); !due.IsZero() {
		due = due.Add(workAhead)
	}
	if all || w.full() {
		n = w.parked - w.coming
	}
	return n, due
}
