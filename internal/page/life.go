package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/prices"
)

// What a gateway is doing, in a word.
const (
	Asleep    = "asleep"
	Waking    = "waking"
	Connected = "connected"
	GoingIdle = "going idle"
	Disabled  = "disabled"
)

// Now is what the gateway is doing.
type Now struct {
	Word     string  `json:"word"`
	Since    float64 `json:"since,omitempty"`
	Why      string  `json:"why,omitempty"`
	Drain    string  `json:"drain,omitempty"` // the one that runs, else the last
	Buffered int     `json:"buffered"`        // messages that the connector keeps for it
	Cost     Cost    `json:"cost"`
}

// Mark is something that happened in a drain's life.
type Mark struct {
	At   float64 `json:"at"`
	Who  string  `json:"who"`  // connector, wake or drain
	What string  `json:"what"` // in a word, for programs
	Text string  `json:"text"`
	N    int     `json:"n,omitempty"` // it stands for so many of its kind
	Bad  bool    `json:"bad,omitempty"`
}

// Drain is one run of drain, from the poke to the freeze.
type Drain struct {
	ID       string  `json:"id"`
	Request  string  `json:"request,omitempty"` // Lambda's id
	Reason   string  `json:"reason,omitempty"`
	Begun    float64 `json:"begun"`
	Ended    float64 `json:"ended,omitempty"`
	Cold     bool    `json:"cold,omitempty"`
	InitMS   float64 `json:"init_ms,omitempty"`
	RunMS    float64 `json:"run_ms,omitempty"` // as it is billed, without init
	LingerMS float64 `json:"linger_ms,omitempty"`
	Status   string  `json:"status,omitempty"`
	Error    string  `json:"error,omitempty"`
	Cost     Cost    `json:"cost"`
	Turns    int     `json:"turns,omitempty"`
	Replies  int     `json:"replies,omitempty"`
	Received int     `json:"received,omitempty"`
	Marks    []Mark  `json:"marks"`

	busy time.Time // when it last had something to do
}

// mostMarks is how many marks of one kind a drain shows; the last one then counts the others.
const mostMarks = 60

// life is what a Model knows of drains.
type life struct {
	m      *Model
	now    Now
	at     time.Time // of now.Word
	off    bool
	drains map[string]*Drain
	number int
	run    *Drain // the one that is asked for or has the lease; nil: none
	last   *Drain
}

func (l *life) init(m *Model) {
	l.m, l.now, l.drains = m, Now{Word: Asleep}, map[string]*Drain{}
}

func (l *life) showNow() { l.m.entries.put(KindNow, "now", l.now) }

func (l *life) show(d *Drain) { l.m.entries.put(KindDrain, d.ID, d) }

// become changes the word, unless something that happened later has done so.
func (l *life) become(word string, at time.Time, why string) {
	if at.Before(l.at) || l.off && word != Disabled {
		return
	}
	if l.now.Word == word && why == "" {
		return
	}
	l.at = at
	l.now.Word, l.now.Since, l.now.Why = word, ms(at), why
	l.showNow()
}

// begin makes a drain.
func (l *life) begin(at time.Time) *Drain {
	l.number++
	d := &Drain{ID: fmt.Sprintf("drain-%d", l.number), Begun: ms(at), Marks: []Mark{}, busy: at}
	l.drains[d.ID] = d
	if old := fmt.Sprintf("drain-%d", l.number-most[KindDrain]); l.drains[old] != nil {
		delete(l.drains, old)
	}
	return d
}

// of finds the drain of an invocation, or takes the one that was asked for, or makes one.
func (l *life) of(request string, at time.Time) *Drain {
	if request == "" {
		return l.run
	}
	for _, d := range l.drains {
		if d.Request == request {
			return d
		}
	}
	d := l.run
	if d == nil || d.Request != "" {
		d = l.begin(at)
		if l.run == nil {
			l.run, l.last = d, d
		}
	}
	d.Request = request
	return d
}

// mark adds something to a drain, at its time.
func (d *Drain) mark(at time.Time, who, what, text string, bad bool) {
	when := ms(at)
	same := 0
	for i := range d.Marks {
		if d.Marks[i].What == what {
			if same++; same == mostMarks {
				d.Marks[i].N = max(1, d.Marks[i].N) + 1
				return
			}
		}
	}
	i, _ := slices.BinarySearchFunc(d.Marks, when, func(m Mark, when float64) int {
		return cmp.Or(cmp.Compare(m.At, when), -1) // behind those of the same time
	})
	d.Marks = slices.Insert(d.Marks, i, Mark{At: when, Who: who, What: what, Text: text, Bad: bad})
	d.Begun = min(d.Begun, when)
}

// work notes that a drain had something to do.
func (d *Drain) work(at time.Time) {
	if at.After(d.busy) {
		d.busy = at
	}
}

// function takes what has happened to a function's process.
func (l *life) function(e locallambda.Event) {
	switch {
	case e.What != locallambda.EventAnswered && e.What != locallambda.EventInvoked || e.Function != rigDrain && e.Function != rigWake:
		return
	case e.Function == rigWake:
		if e.Result != nil {
			l.now.Cost.invoked(*e.Result, prices.WakeMemory)
			l.showNow()
		}
		return
	}
	d := l.of(e.RequestID, e.At)
	if e.Result == nil {
		d.mark(e.At, drainName, "start", "its process has the invocation", false)
	} else {
		l.answered(d, *e.Result, e.At)
	}
	l.show(d)
}

// answered is the end of an invocation: its process is frozen, or gone.
func (l *life) answered(d *Drain, r locallambda.Result, at time.Time) {
	d.Cold, d.InitMS, d.RunMS = r.Cold, float64(r.InitDuration.Microseconds())/1000, float64(r.Duration.Microseconds())/1000
	if !r.Began.IsZero() {
		if r.Cold {
			d.mark(r.Began.Add(-r.InitDuration), drainName, "init", fmt.Sprintf("cold start: %.0f ms of init", d.InitMS), false)
		} else {
			d.mark(r.Began, drainName, "init", "warm start: the process is thawed", false)
		}
	}
	d.Ended, d.LingerMS = ms(at), max(0, float64(at.Sub(d.busy).Microseconds())/1000)
	end, bad := "freeze: nothing runs until the next poke", false
	if r.FunctionError != "" {
		end, bad = "the process ended: "+failureOf(r), true
		d.Status, d.Error = cmp.Or(d.Status, "failed"), cmp.Or(d.Error, failureOf(r))
	}
	d.mark(at, drainName, "freeze", end, bad)
	d.Cost.invoked(r, prices.DrainMemory)
	l.now.Cost.add(d.Cost)
	l.now.Cost.Drains++
	l.now.Cost.LingerSeconds += d.LingerMS / 1000
	l.ended(d, at)
	l.showNow()
}

// ended is the end of a drain: nothing runs, unless it was one beside another.
func (l *life) ended(d *Drain, at time.Time) {
	if l.run != d {
		return
	}
	l.run = nil
	l.now.Drain = d.ID
	why := ""
	if d.Error != "" {
		why = d.Error
	}
	l.become(Asleep, at, why)
}

// log takes a line of a function's log.
func (l *life) log(line *LogLine) {
	if line.Function == wakeName {
		l.wake(line)
		return
	}
	d := l.of(line.Request, line.At)
	if d == nil {
		return
	}
	l.drain(d, line)
	if l.run == d {
		l.now.Drain = d.ID
	}
	l.show(d)
}

// wake takes a line of wake's log. It belongs to the drain that the poke asked for.
func (l *life) wake(line *LogLine) {
	if l.run == nil && line.Msg == logs.Poke {
		l.run = l.begin(line.At)
		l.last = l.run
	}
	if l.run == nil {
		return
	}
	switch line.Msg {
	case logs.Poke:
		l.run.mark(line.At, wakeName, "wake", fmt.Sprintf("wake has asked Lambda for drain (%.0f ms)", line.number(logs.KeyMS)), false)
	case logs.PokeLost, logs.EventRefused, logs.MethodRefused:
		l.run.mark(line.At, wakeName, "wake", strings.TrimSpace(line.Msg+" "+line.Error), true)
	}
	l.show(l.run)
}

// plain are the lines of drain's that are a mark as they are.
var plain = map[string][2]string{
	logs.Lease:      {"lease", "takes the lease"},
	logs.Dial:       {"dial", "dials the connector"},
	logs.Descriptor: {"descriptor", "descriptor: the link is up"},
	logs.GoingIdle:  {"going_idle", "says going_idle"},
	logs.Idle:       {"idle", "idle: the connector buffers from now on"},
	logs.SecondLook: {"second_look", "looks a second time"},
	logs.AskedAgain: {"asked", "was asked to look again"},
	logs.Released:   {"released", "gives the lease back"},
	logs.TakingUp:   {"recover", "takes up what an earlier run left"},
}

func (l *life) drain(d *Drain, line *LogLine) {
	d.Reason = cmp.Or(d.Reason, line.text(logs.KeyReason))
	report := struct {
		Status string `json:"status"`
		Error  string `json:"error"`
	}{}
	switch line.Msg {
	case logs.Lease:
		l.takeLease(d, line.At)
	case logs.Descriptor:
		l.become(Connected, line.At, "")
	case logs.GoingIdle:
		l.become(GoingIdle, line.At, "")
	case logs.Revoked:
		l.setOff(line.At, line.Error)
	case logs.Turn:
		d.Turns++
		d.mark(line.At, drainName, "turn", "asks the agent", false)
		d.work(line.At)
		return
	case logs.Reply:
		d.work(line.At)
		return
	case logs.Provision:
		d.mark(line.At, drainName, "provision", fmt.Sprintf("has credentials (%.0f ms)", line.number(logs.KeyMS)), false)
	case logs.DrainEnded, logs.DrainFailed:
		_ = unmarshal(line.members[logs.KeyReport], &report)
		d.Status, d.Error = report.Status, cmp.Or(line.Error, report.Error)
		d.mark(line.At, drainName, "report", "reports: "+cmp.Or(d.Status, "failed"), line.Msg == logs.DrainFailed)
		if l.m.about.Deployed { // nobody tells of the freeze
			d.Ended = ms(line.At)
			l.ended(d, line.At)
		}
		return
	}
	if known, ok := plain[line.Msg]; ok {
		d.mark(line.At, drainName, known[0], known[1], false)
	} else if line.Level == "WARN" || line.Level == "ERROR" {
		d.mark(line.At, drainName, "trouble", strings.Trim(line.Msg+": "+line.Error, ": "), true)
	}
}

// takeLease makes a drain the one that runs.
func (l *life) takeLease(d *Drain, at time.Time) {
	if l.run == nil || l.run != d && l.run.Request != "" {
		l.run, l.last = d, d
	}
	if l.now.Word == Asleep {
		l.become(Waking, at, "")
	}
}

func (l *life) setOff(at time.Time, why string) {
	l.off = true
	l.become(Disabled, at, cmp.Or(why, "the connector refused it for good"))
}

// awake says whether a drain runs.
func (m *Model) awake() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life.run != nil
}
