package ledger

import (
	"context"
	"fmt"
	"slices"
)

func (l *memoryLease) StartSet(_ context.Context, keys []string, s State, day Day) error {
	return l.held(func() error {
		last := len(keys) - 1
		leader, ok := l.open[keys[last]]
		if !ok {
			return fmt.Errorf("%w: %s", ErrNoEntry, keys[last])
		}
		l.day = l.day.Later(day)
		leader.State, leader.Set = s, Set{Members: slices.Clone(keys[:last])}
		for _, key := range keys[:last] {
			if e, ok := l.open[key]; ok {
				e.State, e.Set = s, Set{Leader: leader.Key}
			}
		}
		return nil
	})
}

func (l *memoryLease) Part(_ context.Context, key string, p Parting) error {
	return l.set(key, func(e *kept) {
		e.State, e.Error, e.Wait, e.Set = p.State, p.Reason, p.Wait, Set{Single: true}
		if e.Key == key {
			return
		}
		e.Actions, e.Done, e.Open = nil, nil, false
		if len(p.Sent) > 0 {
			e.Actions, e.Done, e.Open = slices.Clone(p.Sent), slices.Clone(p.Outcomes), true
		}
	})
}

// set runs f on an open entry, and before it on those that it leads.
func (l *memoryLease) set(key string, f func(*kept)) error {
	return l.entry(key, func(e *kept) {
		for _, one := range l.setOf(e) {
			f(one)
		}
	})
}

// setOf are the open entries that one leads, and that one behind them.
func (m *Memory) setOf(e *kept) (list []*kept) {
	for _, key := range e.Set.Members {
		if member, ok := m.open[key]; ok {
			list = append(list, member)
		}
	}
	return append(list, e)
}

// deadSet are the dead entries that are put back together with one, and that one, which is changed if it is put back alone.
func (m *Memory) deadSet(e *kept) []*kept {
	leader := e
	if e.Set.Leader != "" {
		leader = m.dead[e.Set.Leader]
	}
	if leader == nil || leader.Body == nil || !leader.IsWhole() || len(leader.Set.Members) == 0 {
		e.Entry = e.Alone()
		return []*kept{e}
	}
	list := []*kept{leader}
	for _, key := range leader.Set.Members {
		if member, ok := m.dead[key]; ok {
			list = append(list, member)
		}
	}
	return list
}
