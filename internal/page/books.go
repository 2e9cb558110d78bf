package page

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// Waiting is a message that is not finished.
type Waiting struct {
	Key    string  `json:"key"`
	Way    string  `json:"way,omitempty"`
	State  string  `json:"state"` // new, running, alone
	Reason string  `json:"reason,omitempty"`
	Since  float64 `json:"since,omitempty"`
	Next   float64 `json:"next,omitempty"`
	Tries  int     `json:"tries,omitempty"`
}

// DeadMessage is one that was given up.
type DeadMessage struct {
	Key      string  `json:"key"`
	Way      string  `json:"way,omitempty"`
	Reason   string  `json:"reason"`
	Died     float64 `json:"died"`
	Attempts int     `json:"attempts"`
	Text     string  `json:"text,omitempty"`
}

// Books are what the ledger has.
type Books struct {
	At         float64        `json:"at"`
	Error      string         `json:"error,omitempty"` // why they cannot be read
	Disabled   bool           `json:"disabled,omitempty"`
	DisabledBy string         `json:"disabled_by,omitempty"`
	Held       bool           `json:"held"`
	Holder     string         `json:"holder,omitempty"`
	Until      float64        `json:"until,omitempty"`
	Beat       float64        `json:"beat,omitempty"`
	Ended      float64        `json:"ended,omitempty"`
	Asked      bool           `json:"asked,omitempty"`
	Sweep      float64        `json:"sweep,omitempty"`
	SweepWhy   string         `json:"sweep_why,omitempty"`
	LastStatus string         `json:"last_status,omitempty"`
	LastError  string         `json:"last_error,omitempty"`
	Gateway    string         `json:"gateway,omitempty"`
	Questions  int            `json:"questions"`
	Pending    int            `json:"pending"`
	Waiting    []Waiting      `json:"waiting"`
	Dead       []DeadMessage  `json:"dead"`
	Refused    map[string]int `json:"refused,omitempty"`
}

// mostListed is how many messages of a list are shown one by one.
const mostListed = 1000

// ReadBooks reads a ledger. The error is why it cannot be read.
func ReadBooks(ctx context.Context, book ledger.Operator) (b Books, err error) {
	o, err := book.Overview(ctx)
	if err != nil {
		return b, err
	}
	pending, err := book.ListPending(ctx)
	if err != nil {
		return b, err
	}
	dead, err := book.ListDead(ctx)
	if err != nil {
		return b, err
	}
	b = Books{
		Disabled: o.Standing.Disabled, DisabledBy: o.Standing.DisabledBy, Held: o.Held, Holder: o.Holder, Until: ms(o.Until), Beat: ms(o.Beat),
		Ended: ms(o.Ended), Asked: o.Asked, Sweep: ms(o.Plan.At), SweepWhy: o.Plan.Why, LastStatus: o.Plan.After.Status,
		LastError: o.Plan.After.Error, Gateway: o.Standing.Handshaken, Questions: o.Prompts, Pending: len(pending),
		Waiting: []Waiting{}, Dead: []DeadMessage{}, Refused: o.Refusals.ByClass,
	}
	for _, e := range pending[:min(len(pending), mostListed)] {
		b.Waiting = append(b.Waiting, Waiting{Key: e.Key, State: string(e.State), Reason: e.Error, Since: ms(e.Wait.Since),
			Next: ms(e.Wait.Due), Tries: cmp.Or(e.Wait.Tries, e.Attempts)})
	}
	slices.SortStableFunc(b.Waiting, func(x, y Waiting) int { return cmp.Compare(x.Next, y.Next) })
	for _, e := range dead[:min(len(dead), mostListed)] {
		b.Dead = append(b.Dead, DeadMessage{Key: e.Key, Reason: e.Error, Died: ms(e.Died), Attempts: e.Attempts})
	}
	return b, nil
}

// SetBooks shows what the ledger has; at is when the reading began. With an error the lists stay as they are.
func (m *Model) SetBooks(b Books, err error, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.books.Error = err.Error()
		m.entries.put(KindBooks, "books", m.books)
		return
	}
	for i := range b.Waiting {
		if x := m.ways.byKey[b.Waiting[i].Key]; x != nil {
			b.Waiting[i].Way = x.ID
		}
	}
	for i := range b.Dead {
		if x := m.ways.byKey[b.Dead[i].Key]; x != nil {
			b.Dead[i].Way, b.Dead[i].Text = x.ID, x.Text
		}
	}
	b.At = m.books.At
	changed := !sameJSON(b, m.books)
	m.books = b
	if changed {
		m.books.At = ms(at)
		m.entries.put(KindBooks, "books", m.books)
	}
	m.ways.settle(b, at)
	m.life.standing(b, at)
}

// standing is what the books say of the gateway's switch.
func (l *life) standing(b Books, at time.Time) {
	switch {
	case b.Disabled && !l.off:
		l.setOff(at, b.DisabledBy)
	case !b.Disabled && l.off && l.run == nil:
		l.off = false
		l.become(Asleep, at, "")
	}
}

// settle is what the books say of deliveries whose turn was over. Nobody logs that one has ended.
func (w *ways) settle(b Books, at time.Time) {
	open := map[string]Waiting{}
	for _, e := range b.Waiting {
		open[e.Key] = e
	}
	dead := map[string]DeadMessage{}
	for _, e := range b.Dead {
		dead[e.Key] = e
	}
	for key, x := range w.byKey {
		if x.With != "" {
			continue
		}
		before := x.Way
		e, waits := open[key]
		d, died := dead[key]
		switch {
		case died:
			x.State, x.Why, x.Next = WayDead, d.Reason, 0
		case waits && e.Next > 0:
			x.State, x.Why, x.Next = WayWaiting, e.Reason, e.Next
		case waits, b.Held, !x.touched.Before(at), x.State == WayDead && len(b.Dead) >= mostListed:
		case x.State == WayAsked, x.State == WayKept, x.State == WayWaiting:
			x.State, x.Why, x.Next = x.ended(), "", 0
		case x.State == WayDead:
			x.State, x.Why = WayDropped, "dropped by hand"
		}
		if x.Way != before {
			w.show(x)
		}
	}
}

// ended is the state of a delivery that is neither open nor dead.
func (x *way) ended() string {
	for _, d := range x.done {
		if d.Op != "react" && d.Op != "typing" && (d.Outcome == "ok" || d.Outcome == "unknown") {
			return WayAnswered
		}
	}
	if x.Attempts == 0 {
		return WayDone
	}
	return WaySilent
}
