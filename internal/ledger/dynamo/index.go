package dynamo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// place is what the index key of an unfinished entry says:
//
//	o#<epoch>#<seq>#<r if running or alone, else n>#<session, 8 hex digits>#<due, Unix seconds, 0: at once>
//
// The version before writes the first two parts only, and leaves the others as they are: it neither reads nor changes them.
type place struct {
	epoch, seq int64
	running    bool
	session    string // empty: nobody has told
	due        int64
}

func (p place) String() string {
	state := "n"
	if p.running {
		state = "r"
	}
	return fmt.Sprintf("%s%019d#%019d#%s#%s#%d", alive, p.epoch, p.seq, state, p.session, p.due)
}

// order is what open is again once the entry is put back.
func (p place) order() string {
	p.running, p.due = false, 0
	return p.String()
}

// placeIn reads an index key; ok is false for one that is not of an unfinished entry.
func placeIn(open string) (p place, ok bool) {
	rest, ok := strings.CutPrefix(open, alive)
	if !ok {
		return place{}, false
	}
	parts := strings.Split(rest, "#")
	p.epoch, _ = strconv.ParseInt(parts[0], 10, 64)
	if len(parts) > 1 {
		p.seq, _ = strconv.ParseInt(parts[1], 10, 64)
	}
	if len(parts) == 5 {
		p.running, p.session = parts[2] == "r", parts[3]
		p.due, _ = strconv.ParseInt(parts[4], 10, 64)
	}
	return p, true
}

// left is what is known of the entry of a sort key, which is its key alone if the place is not to be believed.
func (p place) left(sk string, believed bool) ledger.Left {
	e := ledger.Left{Key: strings.TrimPrefix(sk, entryKey(""))}
	if believed && p.session != "" {
		e.Session, e.Suspect = strings.Clone(p.session), p.running // without the rest of the index key in memory
		if p.due > 0 {
			e.Due = time.Unix(p.due, 0)
		}
	}
	return e
}

func isRunning(s ledger.State) bool { return s == ledger.Running || s == ledger.Alone }

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// noted notes the place of an entry that was read or written.
func (l *lease) noted(key string, p place) {
	l.placing.Lock()
	defer l.placing.Unlock()
	l.places[key] = p
}

// ended forgets the place of an entry that has ended.
func (l *lease) ended(key string) {
	l.placing.Lock()
	defer l.placing.Unlock()
	delete(l.places, key)
}

// moved is the index key of an entry of which change is true from now on. An entry that this lease has neither written nor
// read is read.
func (l *lease) moved(ctx context.Context, key string, change func(*place)) (open string, err error) {
	if l.givenBack.Load() {
		return "", ledger.ErrLost
	}
	l.placing.Lock()
	p, known := l.places[key]
	l.placing.Unlock()
	if !known {
		it, err := l.get(ctx, entryKey(key))
		if err != nil {
			return "", err
		}
		if p, known = placeIn(it.text("open")); !known {
			return "", noEntry(key)
		}
	}
	change(&p)
	l.noted(key, p)
	return p.String(), nil
}
