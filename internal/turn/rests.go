package turn

import (
	"context"
	"sync"
	"time"
)

// rests knows which sessions do nothing but wait for a time that is far. Nothing of such a session is work: it does not
// keep the run awake, and is left in the journal if the run ends before.
//
// It knows session keys, no delivery. Its lock is held for no call.
type rests struct {
	closing <-chan struct{}                    // no turn starts any more
	changed func()                             // what is work has changed
	sits    func(session string, so, far bool) // a session begins or ends to wait, for a while or for long

	mu       sync.Mutex
	sessions map[string]*rest
}

// rest is one session's.
type rest struct {
	released int           // deliveries that have not ended and that the journal has
	until    time.Time     // zero: the session does not rest
	hurry    chan struct{} // closed if something behind cannot wait
}

func newRests(closing <-chan struct{}) *rests {
	return &rests{closing: closing, sessions: map[string]*rest{}}
}

// add counts a delivery of a session. If it cannot wait, what rests in the session is deferred at once.
func (r *rests) add(session string, cannotWait bool) (resting bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[session]
	if s == nil {
		s = &rest{hurry: make(chan struct{})}
		r.sessions[session] = s
	}
	s.released++
	if resting = !s.until.IsZero(); resting && cannotWait {
		s.until = time.Time{} // from now on it is work, and not only once the one that waits has heard of it
		close(s.hurry)
		s.hurry = make(chan struct{})
	}
	return resting
}

// remove is for a delivery that add has counted and that has ended.
func (r *rests) remove(session string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[session]
	if s.released--; s.released == 0 {
		delete(r.sessions, session)
	}
}

// resting says whether a session rests.
func (r *rests) resting(session string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[session]
	return s != nil && !s.until.IsZero()
}

// left is how many deliveries are no work, and when the first of them is due.
func (r *rests) left() (n int, due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sessions {
		if s.until.IsZero() {
			continue
		}
		n += s.released
		if due.IsZero() || s.until.Before(due) {
			due = s.until
		}
	}
	return n, due
}

// sit waits in a session until a time, or until changed is closed; a zero time does not come. far says that the session
// may rest meanwhile. It fails with errDeferred once no turn starts any more, and with ctx's cause if ctx ends.
func (r *rests) sit(ctx context.Context, session string, far bool, until time.Time, changed <-chan struct{}) error {
	sat := false
	defer func() {
		if sat {
			r.sits(session, false, false)
		}
	}()
	for {
		left := time.Until(until)
		if !until.IsZero() && left <= 0 {
			return nil
		}
		resting := far && !until.IsZero() && left > workAhead
		hurry := r.mark(session, resting, until)
		if away := letsGo(far, until, left); away || sat {
			sat = away
			r.sits(session, away, resting)
		}
		if resting {
			left -= workAhead
		}
		over, err := r.wait(ctx, hurry, until.IsZero(), left, changed)
		switch {
		case over && !resting:
			return nil
		case over && err == nil:
			continue
		}
		r.mark(session, false, until)
		return err
	}
}

// letsGo says whether what waits so long is out of memory meanwhile.
func letsGo(far bool, until time.Time, left time.Duration) bool {
	return far && (until.IsZero() || left > unloadAfter)
}

// wait waits for a while, or until something happens; with forever, for that alone. over says that the while is over.
func (r *rests) wait(ctx context.Context, hurry <-chan struct{}, forever bool, while time.Duration, changed <-chan struct{}) (over bool, err error) {
	var timer <-chan time.Time
	if !forever {
		timer = time.After(while)
	}
	select {
	case <-timer:
		select {
		case <-hurry:
			return true, errDeferred
		default:
			return true, nil
		}
	case <-changed:
		return false, nil
	case <-hurry:
		return false, errDeferred
	case <-r.closing:
		return false, errDeferred
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// mark says whether a session rests.
func (r *rests) mark(session string, resting bool, until time.Time) (hurry <-chan struct{}) {
	r.mu.Lock()
	s := r.sessions[session]
	if s == nil { // a text of our own, behind its delivery's end
		r.mu.Unlock()
		return nil
	}
	before := s.until
	s.until = time.Time{}
	if resting {
		s.until = until
	}
	after, hurry := s.until, s.hurry
	r.mu.Unlock()
	if before != after {
		r.changed()
	}
	return hurry
}
