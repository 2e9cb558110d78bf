package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
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
	freed    time.Time // when the lease was last given back
	standing Standing

	open    map[string]*kept
	order   []*kept // open entries by arrival, and ended ones until compacted
	ended   map[string]State
	dead    map[string]*kept
	old     []string // keys of ended, a ring
	next    int
	prompts map[string]*asked
}

// kept is an entry with the epoch it arrived in.
type kept struct {
	Entry
	epoch int64
}

func (k *kept) before(other *kept) bool {
	return k.epoch < other.epoch || k.epoch == other.epoch && k.Seq < other.Seq
}

type asked struct {
	Prompt
	by   string    // the delivery that took it
	gone time.Time // it is forgotten then
}

// NewMemory returns an empty ledger.
func NewMemory() *Memory {
	return &Memory{
		open: map[string]*kept{}, ended: map[string]State{}, dead: map[string]*kept{}, prompts: map[string]*asked{},
	}
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
	heir := m.owner != ""
	m.owner, m.life, m.until = ask.Owner, ask.Life, now.Add(ask.Life)
	return Grant{Epoch: m.epoch, Standing: m.copyStanding(), Plan: m.plan, Heir: heir}, nil
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
	m.owner, m.plan, m.freed = "", plan, time.Now()
	if received {
		m.full = time.Time{}
	}
}

func (m *Memory) Standing(context.Context) (Standing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.copyStanding(), nil
}

func (m *Memory) Overview(context.Context) (Overview, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := Overview{Standing: m.copyStanding(), Plan: m.plan, Ended: m.freed, Asked: m.asked, Pending: len(m.open)}
	if m.owner != "" && time.Now().Before(m.until) {
		o.Held, o.Until = true, m.until
	}
	return o, nil
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

func (m *Memory) SetDeclared(_ context.Context, epoch int64, fingerprint string) error {
	return m.held(epoch, func() error {
		m.standing.Declared = fingerprint
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

func (m *Memory) Receive(_ context.Context, epoch int64, entries ...Entry) (found []State, err error) {
	err = m.held(epoch, func() error {
		for _, e := range entries {
			found = append(found, m.receive(epoch, e))
		}
		return nil
	})
	return found, err
}

func (m *Memory) receive(epoch int64, e Entry) (found State) {
	if known, ok := m.open[e.Key]; ok {
		return known.State
	}
	if state, ok := m.ended[e.Key]; ok {
		return state
	}
	k := &kept{Entry: e, epoch: epoch}
	if e.State == Dead {
		m.bury(k)
	} else {
		m.insert(k)
	}
	return ""
}

func (m *Memory) insert(k *kept) {
	m.open[k.Key] = k
	at := len(m.order)
	for at > 0 && k.before(m.order[at-1]) {
		at--
	}
	m.order = slices.Insert(m.order, at, k)
}

func (m *Memory) Start(_ context.Context, epoch int64, key string, s State) error {
	return m.entry(epoch, key, func(e *kept) { e.State = s })
}

func (m *Memory) Keep(_ context.Context, epoch int64, key string, actions []json.RawMessage) error {
	return m.entry(epoch, key, func(e *kept) { e.Actions, e.Done = actions, make([]string, len(actions)) })
}

func (m *Memory) Extend(_ context.Context, epoch int64, key string, action json.RawMessage) error {
	return m.entry(epoch, key, func(e *kept) {
		e.Actions, e.Done, e.Open = append(slices.Clip(e.Actions), action), append(e.Done, ""), true
	})
}

func (m *Memory) Confirm(_ context.Context, epoch int64, key string, action int, outcome string) error {
	return m.entry(epoch, key, func(e *kept) { e.Done[action] = outcome })
}

func (m *Memory) Finish(_ context.Context, epoch int64, key string) error {
	return m.entry(epoch, key, func(e *kept) { m.end(e, Finished) })
}

func (m *Memory) Fail(_ context.Context, epoch int64, key, reason string, dead bool) error {
	return m.entry(epoch, key, func(e *kept) {
		e.State, e.Error = New, reason
		e.Attempts++
		if dead {
			grave := *e
			m.end(e, Dead)
			m.bury(&grave)
		}
	})
}

func (m *Memory) Recover(_ context.Context, epoch int64) (entries []Entry, err error) {
	err = m.held(epoch, func() error {
		for _, e := range m.order {
			if e.State == Finished || e.State == Dead {
				continue
			}
			c := e.Entry
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

func (m *Memory) entry(epoch int64, key string, f func(*kept)) error {
	return m.held(epoch, func() error {
		e, ok := m.open[key]
		if !ok {
			return fmt.Errorf("ledger: no open entry %s", key)
		}
		f(e)
		return nil
	})
}

func (m *Memory) end(e *kept, s State) {
	delete(m.open, e.Key)
	e.State, e.Body, e.Actions, e.Done = s, nil, nil, nil
	m.remember(e.Key, s)
	if len(m.order) > 2*len(m.open)+64 {
		m.compact()
	}
}

func (m *Memory) bury(e *kept) {
	e.State, e.Died = Dead, time.Now()
	m.remember(e.Key, Dead)
	m.dead[e.Key] = e
}

func (m *Memory) remember(key string, s State) {
	_, known := m.ended[key]
	m.ended[key] = s
	switch {
	case known:
	case len(m.old) < remembered:
		m.old = append(m.old, key)
	default:
		delete(m.ended, m.old[m.next])
		delete(m.dead, m.old[m.next])
		m.old[m.next] = key
		m.next = (m.next + 1) % remembered
	}
}

func (m *Memory) compact() {
	m.order = slices.DeleteFunc(m.order, func(e *kept) bool { return e.State == Finished || e.State == Dead })
}

func (m *Memory) PutPrompt(_ context.Context, epoch int64, p Prompt) error {
	return m.held(epoch, func() error {
		now := time.Now()
		maps.DeleteFunc(m.prompts, func(_ string, old *asked) bool { return !now.Before(old.gone) })
		if old := m.prompts[p.ID]; old == nil || old.by == "" {
			m.prompts[p.ID] = &asked{Prompt: p, gone: p.Until}
		}
		return nil
	})
}

func (m *Memory) TakePrompt(_ context.Context, epoch int64, id, delivery string) (p Prompt, err error) {
	err = m.held(epoch, func() error {
		now := time.Now()
		found := m.prompts[id]
		switch {
		case found == nil || !now.Before(found.gone):
			return ErrNoPrompt
		case found.by == "":
			found.by, found.gone = delivery, now.Add(AnsweredLife)
		case found.by != delivery:
			return ErrAnswered
		}
		p = found.Prompt
		return nil
	})
	return p, err
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

func (m *Memory) RetryDead(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.dead[key]
	if !ok || e.Body == nil {
		return ErrNotDead
	}
	delete(m.dead, key)
	delete(m.ended, key)
	m.old = slices.DeleteFunc(m.old, func(old string) bool { return old == key })
	e.State, e.Attempts, e.Error, e.Died = New, 0, "", time.Time{}
	m.insert(e)
	return nil
}

func (m *Memory) DropDead(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.dead[key]; !ok {
		return ErrNotDead
	}
	delete(m.dead, key)
	m.ended[key] = Finished
	return nil
}
