package ledger

import (
	"context"
	"maps"
	"slices"
	"time"
)

// memorySay is a say, and when it was taken; zero: it waits.
type memorySay struct {
	Say
	taken time.Time
}

func (m *Memory) PutSay(_ context.Context, s Say) (SayState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(m.says, func(_ string, old *memorySay) bool { return !old.taken.IsZero() && now.Sub(old.taken) >= SayLife })
	switch old := m.says[s.Key]; {
	case old == nil:
	case old.taken.IsZero():
		return SayWaits, nil
	default:
		return SayTaken, nil
	}
	s.At = now
	put := &memorySay{Say: s}
	m.says[s.Key], m.inbox = put, append(m.inbox, put)
	return SayNew, nil
}

func (l *memoryLease) Said() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said != l.heard
}

func (l *memoryLease) Says(context.Context) (list []Say, err error) {
	err = l.held(func() error {
		l.heard = l.said
		for _, s := range l.inbox {
			list = append(list, s.Say)
		}
		return nil
	})
	return list, err
}

func (l *memoryLease) TakeSays(_ context.Context, taken ...Taking) (found []State, err error) {
	err = l.held(func() error {
		for _, t := range taken {
			found = append(found, l.takeSay(t))
		}
		return nil
	})
	return found, err
}

func (l *memoryLease) takeSay(t Taking) State {
	e := t.Entry
	e.Done = make([]string, len(e.Actions))
	root := l.open[t.Of]
	if _, known := l.state(e.Key); t.Of != "" && root == nil && !known {
		return Ended
	}
	found := l.receive(l.epoch, &e)
	if t.Ends && root != nil {
		for _, e := range l.setOf(root) {
			l.end(e, Finished)
		}
	}
	if s := l.says[t.Say]; s != nil && s.taken.IsZero() {
		s.taken, s.Body = time.Now(), nil
		l.inbox = slices.DeleteFunc(l.inbox, func(other *memorySay) bool { return other == s })
	}
	return found
}

func (l *memoryLease) Known(_ context.Context, keys ...string) (found map[string]Entry, err error) {
	found = map[string]Entry{}
	err = l.held(func() error {
		for _, key := range keys {
			switch {
			case l.open[key] != nil:
				found[key] = l.open[key].Entry
			case l.dead[key] != nil:
				found[key] = l.dead[key].Entry
			case l.closed[key] != "":
				found[key] = Entry{Key: key, State: l.closed[key]}
			}
		}
		return nil
	})
	return found, err
}
