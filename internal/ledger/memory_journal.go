package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// kept is an entry with the epoch it arrived in.
type kept struct {
	Entry
	epoch int64
}

func (k *kept) before(other *kept) bool {
	return k.epoch < other.epoch || k.epoch == other.epoch && k.Seq < other.Seq
}

// Durable is false: entries die with the process.
func (*memoryLease) Durable() bool { return false }

func (l *memoryLease) Receive(_ context.Context, entries ...Entry) (found []State, err error) {
	err = l.held(func() error {
		for i := range entries {
			found = append(found, l.receive(l.epoch, &entries[i]))
		}
		return nil
	})
	return found, err
}

// receive writes one entry unless it is known.
func (m *Memory) receive(epoch int64, e *Entry) (found State) {
	if e.Message == "" {
		if found, known := m.state(e.Key); known {
			return found
		}
	} else if repeat := m.place(e); repeat != nil {
		return repeat.State
	}
	m.traces[e.Key] = &trace{message: e.Message, buffers: e.buffers()}
	k := &kept{Entry: *e, epoch: epoch}
	if e.State == Dead {
		m.bury(k)
	} else {
		m.insert(k)
	}
	return ""
}

func (l *memoryLease) Owe(_ context.Context, e Entry) error {
	return l.held(func() error {
		if _, open := l.open[e.Key]; open {
			return nil
		}
		e.State, e.Done = New, make([]string, len(e.Actions))
		delete(l.closed, e.Key)
		l.old = slices.DeleteFunc(l.old, func(old string) bool { return old == e.Key })
		l.traces[e.Key] = &trace{}
		l.insert(&kept{Entry: e, epoch: l.epoch})
		return nil
	})
}

// insert puts an open entry in its place by arrival.
func (m *Memory) insert(k *kept) {
	m.open[k.Key] = k
	at := len(m.order)
	for at > 0 && k.before(m.order[at-1]) {
		at--
	}
	m.order = slices.Insert(m.order, at, k)
}

func (l *memoryLease) Start(_ context.Context, key string, s State) error {
	return l.set(key, func(e *kept) { e.State = s })
}

func (l *memoryLease) Keep(_ context.Context, key string, actions []json.RawMessage) error {
	return l.set(key, func(e *kept) {
		e.Actions, e.Done, e.Wait = actions, make([]string, len(actions)), Wait{}
		if e.Key != key {
			e.Actions, e.Done = Blank()
		}
	})
}

func (l *memoryLease) Extend(_ context.Context, key string, action json.RawMessage) error {
	return l.entry(key, func(e *kept) {
		e.Actions, e.Done, e.Open = append(slices.Clip(e.Actions), action), append(e.Done, ""), true
	})
}

func (l *memoryLease) Draft(_ context.Context, key string, id int) error {
	return l.entry(key, func(e *kept) { e.Draft = id })
}

func (l *memoryLease) Confirm(_ context.Context, key string, action int, outcome string) error {
	return l.entry(key, func(e *kept) {
		if e.Wait = (Wait{}); action < len(e.Done) {
			e.Done[action] = outcome
			return
		}
		e.Done = append(e.Done, outcome) // as DynamoDB does
	})
}

func (l *memoryLease) Finish(_ context.Context, key string) error {
	return l.set(key, func(e *kept) { l.end(e, Finished) })
}

func (l *memoryLease) Fail(_ context.Context, key, reason string, dead bool) error {
	return l.set(key, func(e *kept) {
		e.State, e.Error, e.Wait = New, reason, Wait{}
		e.Attempts++
		if dead {
			l.giveUp(e)
		}
	})
}

func (l *memoryLease) Bury(_ context.Context, key, reason string) error {
	return l.set(key, func(e *kept) {
		e.Error, e.Wait = reason, Wait{}
		l.giveUp(e)
	})
}

func (l *memoryLease) Defer(_ context.Context, key, reason string, w Wait, attempts int) error {
	return l.set(key, func(e *kept) { e.State, e.Error, e.Wait, e.Attempts = New, reason, w, attempts })
}

func (l *memoryLease) Replace(_ context.Context, key string, action int, with json.RawMessage) error {
	return l.entry(key, func(e *kept) {
		e.Actions = slices.Clone(e.Actions) // Load has given out the list
		e.Actions[action] = with
	})
}

func (l *memoryLease) Seal(_ context.Context, key string, actions []json.RawMessage, outcomes []string) error {
	return l.set(key, func(e *kept) {
		e.Actions, e.Done, e.Open = slices.Clone(actions), slices.Clone(outcomes), false
		if e.Key != key {
			e.Actions, e.Done = Blank()
		}
	})
}

// Recover has one page.
func (l *memoryLease) Recover(context.Context, string) (page Page, err error) {
	err = l.held(func() error {
		for _, e := range l.order {
			if e.State == Finished || e.State == Dead {
				continue
			}
			page.Left = append(page.Left, Left{
				Key: e.Key, Session: e.Session, Suspect: e.State == Running || e.State == Alone, Due: e.Wait.Due.Truncate(time.Second),
			})
		}
		return nil
	})
	return page, err
}

func (l *memoryLease) Load(_ context.Context, keys ...string) (entries []Entry, err error) {
	err = l.held(func() error {
		for _, key := range keys {
			e, ok := l.open[key]
			if !ok {
				continue
			}
			c := e.Entry
			c.Done = slices.Clone(e.Done)
			c.Session, c.Message, c.Buffer, c.Edit = "", "", "", false
			entries = append(entries, c)
		}
		return nil
	})
	return entries, err
}

// entry runs f on an open entry.
func (l *memoryLease) entry(key string, f func(*kept)) error {
	return l.held(func() error {
		e, ok := l.open[key]
		if !ok {
			return fmt.Errorf("%w: %s", ErrNoEntry, key)
		}
		f(e)
		return nil
	})
}

// end closes an open entry and drops its payload.
func (m *Memory) end(e *kept, s State) {
	delete(m.open, e.Key)
	e.State, e.Body, e.Actions, e.Done = s, nil, nil, nil
	m.remember(e.Key, s)
	if len(m.order) > 2*len(m.open)+64 {
		m.compact()
	}
}

// giveUp makes an open entry a dead one.
func (m *Memory) giveUp(e *kept) {
	grave := *e
	m.end(e, Dead)
	m.bury(&grave)
}

// bury keeps a dead entry.
func (m *Memory) bury(e *kept) {
	e.State, e.Died = Dead, time.Now()
	m.remember(e.Key, Dead)
	m.dead[e.Key] = e
}

// remember notes the state of a closed entry, in place of the oldest if there are too many.
func (m *Memory) remember(key string, s State) {
	_, known := m.closed[key]
	m.closed[key] = s
	switch {
	case known:
	case len(m.old) < remembered:
		m.old = append(m.old, key)
	default:
		m.forget(m.old[m.next])
		m.old[m.next] = key
		m.next = (m.next + 1) % remembered
	}
}

// compact takes closed entries out of order.
func (m *Memory) compact() {
	m.order = slices.DeleteFunc(m.order, func(e *kept) bool { return e.State == Finished || e.State == Dead })
}

func (m *Memory) ListPending(context.Context) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Entry
	for _, e := range m.order {
		if _, open := m.open[e.Key]; open && e.State != Finished && e.State != Dead {
			c := e.Entry
			c.Body, c.Actions, c.Done, c.Session, c.Message, c.Buffer, c.Edit = nil, nil, nil, "", "", "", false
			list = append(list, c)
		}
	}
	return list, nil
}

func (m *Memory) ShowPending(_ context.Context, key string) (Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.open[key]
	if !ok {
		return Entry{}, ErrNoEntry
	}
	return e.Entry, nil
}

func (m *Memory) ListDead(context.Context) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Entry
	for _, e := range m.dead {
		c := e.Entry
		c.Body, c.Actions, c.Done = nil, nil, nil
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Entry) int { return cmp.Or(a.Died.Compare(b.Died), cmp.Compare(a.Key, b.Key)) })
	return list, nil
}

func (m *Memory) ShowDead(_ context.Context, key string) (Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.dead[key]
	if !ok {
		return Entry{}, ErrNotDead
	}
	return e.Entry, nil
}

func (m *Memory) RetryDead(_ context.Context, key string, ask bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.dead[key]
	if !ok || e.Body == nil {
		return ErrNotDead
	}
	for _, e := range m.deadSet(e) {
		delete(m.dead, e.Key)
		delete(m.closed, e.Key)
		m.old = slices.DeleteFunc(m.old, func(old string) bool { return old == e.Key })
		e.Entry = e.PutBack(ask)
		m.insert(e)
	}
	return nil
}

func (m *Memory) DropDead(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.dead[key]; !ok {
		return ErrNotDead
	}
	delete(m.dead, key)
	m.closed[key] = Finished
	return nil
}
