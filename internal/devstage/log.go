package devstage

import (
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
)

// kept is how many events a Log keeps. An hour of talk makes some thousand.
const kept = 50_000

// Event is one thing that happened. One of its pointers is set.
type Event struct {
	Seq int // from 1, without gaps
	At  time.Time

	Observation *devconnector.Observation // at the connector
	Function    *locallambda.Event        // to a function's process
	Line        *Line                     // a function or the agent printed it
	Exchange    *Exchange                 // a turn went to the agent, began to be answered, or ended
	Agent       *AgentState               // the agent is in another state
}

// Line is a line of output. A function's is JSON, unless the function is about to die.
type Line struct {
	From string // rig.Wake, rig.Drain or FromAgent
	Text string
}

// FromAgent is Line.From of what the agent prints.
const FromAgent = "agent"

// Log is everything that happened, in order, as far as it is kept: the last 50,000 events. What an Event points to does not
// change any more.
type Log struct {
	mu      sync.Mutex
	events  []Event
	next    int // Seq of the next event
	changed chan struct{}
}

func newLog() *Log { return &Log{next: 1, changed: make(chan struct{})} }

// Since returns the events after the one numbered seq, 0 for all that are kept, and a channel that is closed when another
// event comes.
func (l *Log) Since(seq int) ([]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.next - len(l.events)
	from := min(max(seq+1-first, 0), len(l.events))
	return l.events[from:len(l.events):len(l.events)], l.changed
}

func (l *Log) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq, e.At = l.next, time.Now()
	l.next++
	l.events = append(l.events, e)
	if len(l.events) >= 2*kept { // seldom, and by copying: who has an older slice keeps it
		l.events = append(make([]Event, 0, 2*kept), l.events[len(l.events)-kept:]...)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Log) observe(o devconnector.Observation) { l.add(Event{Observation: &o}) }

func (l *Log) function(e locallambda.Event) { l.add(Event{Function: &e}) }

func (l *Log) line(from, text string) { l.add(Event{Line: &Line{from, text}}) }
