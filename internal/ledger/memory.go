package ledger

import (
	"context"
	"slices"
	"sync"
	"time"
)

// remembered is how many finished and dead entries a Memory knows. An older one that is delivered again is answered again.
const remembered = 1 << 14

// Memory is a ledger that dies with its process: for a laptop, for tests, and for a function without a table.
type Memory struct {
	mu       sync.Mutex
	epoch    int64
	owner    string
	until    time.Time
	life     time.Duration
	asked    bool
	full     time.Time // when the budget of empty looks is full again
	plan     Plan
	ended    time.Time // when the lease was last given back
	standing Standing
	refusals Refusals

	open    map[string]*kept
	order   []*kept          // open entries by arrival, and closed ones until compacted
	closed  map[string]State // the finished and the dead
	dead    map[string]*kept
	old     []string // keys of closed, a ring
	next    int      // its oldest
	prompts map[string]*question
	traces  map[string]*trace    // by key, of the open and the closed
	states  map[string]LastState // by message, while its entry is known
	chats   map[ChatName]memoryChat
	day     Day
	limited Limited
	says    map[string]*memorySay
	inbox   []*memorySay // those that wait, by arrival
	said    int          // how often the holder was told of a say
}

// NewMemory returns an empty ledger.
func NewMemory() *Memory {
	return &Memory{
		open: map[string]*kept{}, closed: map[string]State{}, dead: map[string]*kept{}, prompts: map[string]*question{},
		traces: map[string]*trace{}, states: map[string]LastState{},
		chats: map[ChatName]memoryChat{}, says: map[string]*memorySay{},
	}
}

var _ Ledger = (*Memory)(nil)

func (m *Memory) Acquire(_ context.Context, ask Ask) (Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.standing.Disabled {
		return nil, ErrDisabled
	}
	if m.owner != "" && now.Before(m.until) {
		if ask.Reason != Schedule && ask.Reason != Check {
			m.asked = true
		}
		if ask.Reason == Speak {
			m.said++
		}
		return nil, &HeldError{By: m.owner, Until: m.until}
	}
	switch ask.Reason {
	case Wake:
		next, ok := SpendToken(m.full, now)
		if !ok {
			m.asked = true
			return nil, ErrNotDue
		}
		m.full = next
	case Schedule:
		// A dead holder's lease is a reason to look, too: what it took waits for recovery.
		if m.owner == "" && !m.asked && m.plan.At.After(now.Add(SweepEarly)) {
			return nil, ErrNotDue
		}
	}
	m.epoch++
	m.compact()
	takenOver := m.owner != ""
	m.owner, m.life, m.until = ask.Owner, ask.Life, now.Add(ask.Life)
	return &memoryLease{Memory: m, grant: Grant{Epoch: m.epoch, Standing: m.copyStanding(), Plan: m.plan, TakenOver: takenOver, Day: m.day, Limited: m.limited}}, nil
}

func (m *Memory) Standing(context.Context) (Standing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.copyStanding(), nil
}

func (m *Memory) Overview(context.Context) (Overview, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := Overview{Standing: m.copyStanding(), Plan: m.plan, Ended: m.ended, Asked: m.asked, Pending: len(m.open), Refusals: m.refusals,
		Day: m.day, Limited: m.limited}
	now := time.Now()
	if m.owner != "" {
		o.Held, o.Until, o.Holder, o.Beat = now.Before(m.until), m.until, m.owner, m.until.Add(-m.life)
	}
	if o.Says = len(m.inbox); o.Says > 0 {
		o.SaidAt = m.inbox[0].At
	}
	for _, q := range m.prompts {
		if q.by == "" && now.Before(q.expires) {
			o.Prompts++
		}
	}
	return o, nil
}

func (m *Memory) copyStanding() Standing {
	s := m.standing
	s.FreshIDs = slices.Clone(s.FreshIDs)
	return s
}

func (m *Memory) Enable(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.standing.Disabled, m.standing.DisabledAt, m.standing.DisabledBy = false, time.Time{}, ""
	return nil
}
