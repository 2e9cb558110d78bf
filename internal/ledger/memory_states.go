package ledger

// trace is what is known of an entry beside what it holds, open or closed.
type trace struct {
	message string
	buffers []string
}

// buffers is the buffer id of an entry, as a list.
func (e *Entry) buffers() []string {
	if e.Buffer == "" {
		return nil
	}
	return []string{e.Buffer}
}

// state is that of an entry, open or closed.
func (m *Memory) state(key string) (found State, known bool) {
	if e, ok := m.open[key]; ok {
		return e.State, true
	}
	found, known = m.closed[key]
	return found, known
}

// place gives a state of a message its key, and remembers it as the last. If it is a repeat, it gets the key of what it
// repeats, whose state is returned.
func (m *Memory) place(e *Entry) (repeat *KnownState) {
	last := m.states[e.Message]
	var known []KnownState
	for _, key := range e.StateKeys(last) {
		if found, ok := m.state(key); ok {
			known = append(known, KnownState{Key: key, State: found, Buffers: m.traces[key].buffers})
		}
	}
	repeat, next := e.Place(last, known)
	if repeat != nil {
		e.Key = repeat.Key
		if t := m.traces[e.Key]; repeat.Learns(*e) {
			t.buffers = append(t.buffers, e.Buffer)
		}
		return repeat
	}
	e.Key, e.Edit = next.Key, e.Edit || next.Number > 1
	m.states[e.Message] = next
	return nil
}

// forget forgets a closed entry.
func (m *Memory) forget(key string) {
	delete(m.closed, key)
	delete(m.dead, key)
	if t := m.traces[key]; t != nil && m.states[t.message].Key == key {
		delete(m.states, t.message)
	}
	delete(m.traces, key)
}
