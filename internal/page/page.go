// Package page is the page of dormouse dev and dormouse watch: what a gateway does, and, where it is a gateway on this machine,
// a way to talk to it and to put it to the test.
//
// A Model is what there is to see. It is told what happens, by whoever sees it happen (Observe, Log, Function, Exchange and the Set
// methods), and keeps it as entries, each with the number of its last change. It knows no browser, touches no network and has
// no clock of its own.
//
// A Server shows a Model. It serves the assets, a stream of entries that a browser can take up again where it was cut, and the
// acts that its owner allows. A Machine is the acts for a gateway on this machine; a deployed one has others, or none.
//
// All methods may be called from any goroutine. A Model calls nobody. Server.Close ends the streams and waits for them.
package page

import (
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// Kinds of entries.
const (
	KindNow      = "now"      // Now: what the gateway is doing, one entry
	KindChat     = "chat"     // Chat
	KindMessage  = "message"  // Message
	KindDrain    = "drain"    // Drain
	KindWay      = "way"      // Way, without what only one reader at a time wants
	KindBooks    = "books"    // Books, one entry
	KindFault    = "fault"    // Fault
	KindSettings = "settings" // a list of Setting, one entry
	KindPage     = "page"     // About, one entry
	KindCharts   = "charts"   // a list of Chart, one entry
	KindAgent    = "agent"    // a list of Printed: what the agent's process has printed, one entry
)

// Most entries of a kind that are kept; the oldest go first.
var most = map[string]int{KindMessage: 20_000, KindWay: 5_000, KindDrain: 200}

// Entry is one thing that a page shows, as it is now.
type Entry struct {
	Kind  string          `json:"kind"`
	ID    string          `json:"id"`
	Value json.RawMessage `json:"value,omitempty"` // missing: it is gone
	rev   int64
}

type entryKey struct{ kind, id string }

// entries are what a Model shows, by the order of their last changes.
type entries struct {
	mu      sync.Mutex
	rev     int64
	now     map[entryKey]*Entry
	log     []Entry // of changes; one that is not its entry's last is stale
	stale   int
	ages    map[string][]string // ids of a kind, the oldest first
	changed chan struct{}
}

func newEntries() *entries {
	return &entries{now: map[entryKey]*Entry{}, ages: map[string][]string{}, changed: make(chan struct{})}
}

// put makes, changes or, with nil, removes an entry.
func (e *entries) put(kind, id string, value any) {
	var raw json.RawMessage
	if value != nil {
		var err error
		if raw, err = json.Marshal(value); err != nil {
			panic("page: an entry that is no JSON: " + err.Error())
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.putLocked(kind, id, raw)
	if limit := most[kind]; limit > 0 && raw != nil && len(e.ages[kind]) > limit {
		e.putLocked(kind, e.ages[kind][0], nil)
	}
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *entries) putLocked(kind, id string, raw json.RawMessage) {
	key := entryKey{kind, id}
	before := e.now[key]
	if before != nil && slices.Equal(before.Value, raw) || before == nil && raw == nil {
		return
	}
	e.rev++
	entry := Entry{kind, id, raw, e.rev}
	if before != nil {
		e.stale++
	}
	if before == nil || before.Value == nil {
		e.ages[kind] = append(e.ages[kind], id)
	}
	if raw == nil {
		e.ages[kind] = slices.DeleteFunc(e.ages[kind], func(other string) bool { return other == id })
	}
	e.now[key] = &entry
	e.log = append(e.log, entry)
	if e.stale > len(e.log)/2 && e.stale > 1000 {
		e.log = slices.DeleteFunc(e.log, func(old Entry) bool { return e.now[entryKey{old.Kind, old.ID}].rev != old.rev })
		e.stale = 0
	}
}

// since returns the entries that have changed after a revision, each once and as it is now, the revision that this is, and a
// channel that the next change closes.
func (e *entries) since(rev int64) (changes []Entry, now int64, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, _ := slices.BinarySearchFunc(e.log, rev+1, func(entry Entry, rev int64) int { return int(entry.rev - rev) })
	for _, entry := range e.log[at:] {
		if e.now[entryKey{entry.Kind, entry.ID}].rev == entry.rev && (entry.Value != nil || rev > 0) {
			changes = append(changes, entry)
		}
	}
	return changes, e.rev, e.changed
}

// ms is a time as the page has it: milliseconds since 1970, with their fraction.
func ms(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1000
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && slices.Equal(x, y)
}
