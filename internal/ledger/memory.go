package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// remembered bounds how many finished and dead entries a Memory knows: an older redelivery would be answered again.
const remembered = 1 << 16

// Memory is a ledger that lives and dies with its process: the laptop's and the tests', and a function's without a table.
type Memory struct {
	mu       sync.Mutex
	epoch    int64
	owner    string
	until    time.Time
	life     time.Duration
	asked    bool
	full     time.Time // when the budget of empty looks is full again
	plan     Plan
	standing Standing

	open  map[string]*Entry
	order []*Entry // open entries by arrival, and ended ones until compacted
	since int      // where this epoch's begin
	ended map[string]State
	old   []string // keys of ended, a ring
	next  int
}

// NewMemory returns an empty ledger.
func NewMemory() *Memory {
	return &Memory{open: map[string]*Entry{}, ended: map[string]State{}}
}

var _ Ledger = (*Memory)(nil)

// Durable is false: entries die with the process.
func (*Memory) Durable() bool { return false }

func (m *Memory) Acquire(_ context.Context, ask Ask) (Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.standing.Disabled {
		return Grant{}, ErrDisabled
	}
	if m.owner != "" && now.Before(m.until) {
		if ask.Reason != Schedule {
			m.asked = true
		}
		return Grant{}, ErrTaken
	}
	switch ask.Reason {
	case Wake:
		next, ok := Rested(m.full, now)
		if !ok {
			m.asked = true
			return Grant{}, ErrNotDue
		}
		m.full = next
	case Schedule:
		// A dead holder's lease is a reason to look, too: what it took waits for recovery.
		if m.owner == "" && !m.asked && m.plan.At.After(now.Add(SweepEarly)) {
			return Grant{}, ErrNotDue
		}
	}
	m.epoch++
	m.compact()
	m.since = len(m.order)
	m.owner, m.life, m.until = ask.Owner, ask.Life, now.Add(ask.Life)
	return Grant{Epoch: m.epoch, Standing: m.copyStanding(), Plan: m.plan}, nil
}

func (m *Memory) Heartbeat(_ context.Context, epoch int64) error {
	return m.held(epoch, func() error {
		m.until = time.Now().Add(m.life)
		return nil
	})
}

func (m *Memory) Clear(_ context.Context, epoch int64) error {
	return m.held(epoch, func() error {
		m.asked = false
		return nil
	})
}

func (m *Memory) Release(_ context.Context, epoch int64, plan Plan, received bool) error {
	return m.held(epoch, func() error {
		if m.asked {
			return ErrAsked
		}
		m.giveBack(plan, received)
		return nil
	})
}

func (m *Memory) HandOff(_ context.Context, epoch int64, plan Plan, received bool) (asked bool, err error) {
	err = m.held(epoch, func() error {
		asked = m.asked
		m.giveBack(plan, received)
		return nil
	})
	return asked, err
}

func (m *Memory) giveBack(plan Plan, received bool) {
	m.owner, m.plan = "", plan
	if received {
		m.full = time.Time{}
	}
}

func (m *Memory) Standing(context.Context) (Standing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.copyStanding(), nil
}

func (m *Memory) copyStanding() Standing {
	s := m.standing
	s.FreshIDs = slices.Clone(s.FreshIDs)
	return s
}

func (m *Memory) SetHandshaken(_ context.Context, epoch int64, gatewayID string) error {
	return m.held(epoch, func() error {
		m.standing.Handshaken = gatewayID
		return nil
	})
}

func (m *Memory) Disable(_ context.Context, epoch int64, by string) error {
	return m.held(epoch, func() error {
		m.standing.Disabled, m.standing.DisabledAt, m.standing.DisabledBy = true, time.Now(), by
		return nil
	})
}

func (m *Memory) Enable(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.standing.Disabled, m.standing.DisabledAt, m.standing.DisabledBy = false, time.Time{}, ""
	return nil
}

func (m *Memory) TakeFreshID(_ context.Context, epoch int64) (ok bool, err error) {
	err = m.held(epoch, func() error {
		m.standing.FreshIDs, ok = FreshIDs(m.standing.FreshIDs, time.Now())
		return nil
	})
	return ok, err
}

func (m *Memory) Receive(_ context.Context, epoch int64, e Entry) (found State, err error) {
	err = m.held(epoch, func() error {
		if known, ok := m.open[e.Key]; ok {
			found = known.State
			return nil
		}
		if state, ok := m.ended[e.Key]; ok {
			found = state
			return nil
		}
		if e.State == Dead {
			m.remember(e.Key, Dead)
			return nil
		}
		m.open[e.Key] = &e
		at := len(m.order)
		for at > m.since && m.order[at-1].Seq > e.Seq {
			at--
		}
		m.order = slices.Insert(m.order, at, &e)
		return nil
	})
	return found, err
}

func (m *Memory) Start(_ context.Context, epoch int64, key string, s State) error {
	return m.entry(epoch, key, func(e *Entry) { e.State = s })
}

func (m *Memory) Keep(_ context.Context, epoch int64, key string, actions []json.RawMessage) error {
	return m.entry(epoch, key, func(e *Entry) { e.Actions, e.Done = actions, make([]string, len(actions)) })
}

func (m *Memory) Confirm(_ context.Context, epoch int64, key string, action int, outcome string) error {
	return m.entry(epoch, key, func(e *Entry) { e.Done[action] = outcome })
}

func (m *Memory) Finish(_ context.Context, epoch int64, key string) error {
	return m.entry(epoch, key, func(e *Entry) { m.end(e, Finished) })
}

func (m *Memory) Fail(_ context.Context, epoch int64, key, reason string, dead bool) error {
	return m.entry(epoch, key, func(e *Entry) {
		e.State, e.Error = New, reason
		e.Attempts++
		if dead {
			m.end(e, Dead)
		}
	})
}

func (m *Memory) Recover(_ context.Context, epoch int64) (entries []Entry, err error) {
	err = m.held(epoch, func() error {
		for _, e := range m.order {
			if e.State == Finished || e.State == Dead {
				continue
			}
			c := *e
			c.Done = slices.Clone(e.Done)
			entries = append(entries, c)
		}
		return nil
	})
	return entries, err
}

// held runs f under the lock if the epoch is the current one and its lease has not been given back.
func (m *Memory) held(epoch int64, f func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if epoch != m.epoch || m.owner == "" {
		return ErrLost
	}
	return f()
}

func (m *Memory) entry(epoch int64, key string, f func(*Entry)) error {
	return m.held(epoch, func() error {
		e, ok := m.open[key]
		if !ok {
			return fmt.Errorf("ledger: no open entry %s", key)
		}
		f(e)
		return nil
	})
}

func (m *Memory) end(e *Entry, s State) {
	delete(m.open, e.Key)
	e.State, e.Body, e.Actions, e.Done = s, nil, nil, nil
	m.remember(e.Key, s)
	if len(m.order) > 2*len(m.open)+64 {
		m.compact()
	}
}

func (m *Memory) remember(key string, s State) {
	m.ended[key] = s
	if len(m.old) < remembered {
		m.old = append(m.old, key)
		return
	}
	delete(m.ended, m.old[m.next])
	m.old[m.next] = key
	m.next = (m.next + 1) % remembered
}

func (m *Memory) compact() {
	kept := m.order[:0]
	since := 0
	for i, e := range m.order {
		if e.State == Finished || e.State == Dead {
			continue
		}
		if i < m.since {
			since++
		}
		kept = append(kept, e)
	}
	clear(m.order[len(kept):])
	m.order, m.since = kept, since
}
