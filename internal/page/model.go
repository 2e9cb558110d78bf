package page

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
)

// About says what a page is about, and what may be done there.
type About struct {
	Title    string   `json:"title"`
	Deployed bool     `json:"deployed,omitempty"` // a stack, and not a gateway on this machine
	Acts     []string `json:"acts"`               // what its server does; empty: it only shows
	Presets  []string `json:"presets,omitempty"`  // of connectors
	Preset   string   `json:"preset,omitempty"`   // the connector is like this one
	Classes  []string `json:"classes,omitempty"`  // ways to be refused
	Agent    string   `json:"agent,omitempty"`    // who answers: its URL
	Commands any      `json:"commands,omitempty"` // that the gateway has registered with Discord
	Version  string   `json:"version,omitempty"`

	AgentState string `json:"agent_state,omitempty"`
	AgentWhy   string `json:"agent_why,omitempty"`

	Trouble string `json:"trouble,omitempty"` // what cannot be read of a deployed gateway, so that the page may be out of date
}

// Setting is one in force.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"` // "[redacted]" for a secret
	Source string `json:"source"`
}

// Chart is a metric over time.
type Chart struct {
	Title  string       `json:"title"`
	Unit   string       `json:"unit,omitempty"`
	Points [][2]float64 `json:"points"` // milliseconds since 1970, value
}

// Model is what there is to see of a gateway.
type Model struct {
	entries *entries

	mu       sync.Mutex
	about    About
	chats    map[string]*Chat
	messages map[string]*Message
	order    int // of messages, as they came
	life     life
	ways     ways
	books    Books
	faults   map[string]*Fault
	printed  []Printed
	lines    []LogLine // what functions logged, the newest at the end

	// Outbound finds the action that an observation is about, by its number. nil: nobody knows it.
	outbound  func(n int) (devconnector.Outbound, bool)
	outbounds int // so far
}

// mostLines is how many log lines are kept.
const mostLines = 20_000

// NewModel returns a Model that has been told nothing but what it is about.
func NewModel(about About) *Model {
	if about.Acts == nil {
		about.Acts = []string{}
	}
	m := &Model{
		entries: newEntries(), about: about,
		chats: map[string]*Chat{}, messages: map[string]*Message{}, faults: map[string]*Fault{},
	}
	m.life.init(m)
	m.ways.init(m)
	m.entries.put(KindPage, "page", m.about)
	m.life.showNow()
	return m
}

// SetAbout changes what the page says of itself.
func (m *Model) SetAbout(change func(*About)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.about)
	m.entries.put(KindPage, "page", m.about)
}

// SetSettings shows the settings in force.
func (m *Model) SetSettings(list []Setting) { m.entries.put(KindSettings, "settings", list) }

// Printed is a line that the agent's process has printed.
type Printed struct {
	At   float64 `json:"at"`
	Text string  `json:"text"`
}

// mostPrinted is how many lines of the agent's are kept.
const mostPrinted = 200

// Printed tells of a line that the agent's process has printed.
func (m *Model) Printed(text string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.printed = append(m.printed, Printed{ms(at), text})
	if len(m.printed) > mostPrinted {
		m.printed = m.printed[len(m.printed)-mostPrinted:]
	}
	m.entries.put(KindAgent, "agent", m.printed)
}

// SetCharts shows metrics.
func (m *Model) SetCharts(list []Chart) { m.entries.put(KindCharts, "charts", list) }

// OutboundsFrom says where the actions are that a connector's observations are about.
func (m *Model) OutboundsFrom(find func(n int) (devconnector.Outbound, bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outbound = find
}

// Observe tells of something that a connector has seen, in its order.
func (m *Model) Observe(o devconnector.Observation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.What == devconnector.ObsOutbound {
		n := m.outbounds
		m.outbounds++
		if m.outbound != nil {
			if out, ok := m.outbound(n); ok {
				m.showOutbound(out)
				m.ways.outbound(out)
			}
		}
	}
	m.life.observe(o)
	m.ways.observe(o)
}

// LogLine is a line of a function's log.
type LogLine struct {
	At       time.Time       `json:"timestamp"`
	Function string          `json:"function"` // wake or drain
	Level    string          `json:"level"`
	Msg      string          `json:"message"`
	Request  string          `json:"requestId,omitempty"`
	Delivery string          `json:"delivery,omitempty"`
	Error    string          `json:"error,omitempty"`
	Raw      json.RawMessage `json:"raw"` // the whole line; a JSON text if it is none of ours
	members  map[string]json.RawMessage
}

// ReadLog reads a line of a function's log. One that is no JSON object is a line of this moment all the same.
func ReadLog(function, text string, now time.Time) LogLine {
	l := LogLine{}
	err := json.Unmarshal([]byte(text), &l)
	if err == nil {
		err = json.Unmarshal([]byte(text), &l.members)
	}
	if err != nil || l.Msg == "" {
		raw, _ := json.Marshal(text)
		return LogLine{At: now, Function: function, Level: "INFO", Msg: text, Raw: raw}
	}
	l.Function, l.Raw = function, json.RawMessage(text)
	if l.At.IsZero() {
		l.At = now
	}
	return l
}

// number reads a number of a log line, 0 if it has none of that name.
func (l *LogLine) number(name string) (n float64) {
	_ = json.Unmarshal(l.members[name], &n)
	return n
}

// text reads a text of a log line, "" if it has none of that name.
func (l *LogLine) text(name string) (s string) {
	_ = json.Unmarshal(l.members[name], &s)
	return s
}

// Log tells of a line that a function has logged. Lines come in the order of their times.
func (m *Model) Log(l LogLine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.lines) >= mostLines {
		m.lines = append(m.lines[:0:0], m.lines[mostLines/10:]...)
	}
	m.lines = append(m.lines, l)
	m.life.log(&l)
	m.ways.log(&l)
}

// Function tells of something that has happened to a function's process.
func (m *Model) Function(e locallambda.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life.function(e)
}

// linesOf returns the log lines that fit.
func (m *Model) linesOf(fits func(*LogLine) bool) []LogLine {
	found := []LogLine{}
	for i := range m.lines {
		if fits(&m.lines[i]) {
			found = append(found, m.lines[i])
		}
	}
	return found
}
