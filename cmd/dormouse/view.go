package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/terminal"
	"github.com/dormouse-relay/dormouse/internal/version"
)

// view is what dormouse status shows of a gateway: as JSON for programs, or printed for people.
type view struct {
	Instance string `json:"instance"`
	condition
	Gateway   string       `json:"gateway,omitempty"` // as the connector knows it
	Contact   time.Time    `json:"last_contact,omitzero"`
	LastDrain lastDrain    `json:"last_drain"`
	Lease     leaseView    `json:"lease"`
	NextSweep *sweepView   `json:"next_sweep,omitempty"`
	Poked     time.Time    `json:"last_poke,omitzero"`
	Unpoked   bool         `json:"pokes_do_not_arrive,omitempty"`
	Pending   int          `json:"pending"`
	Waiting   []waiting    `json:"waiting"`
	Says      *saysView    `json:"says_waiting,omitempty"`
	Late      *lateView    `json:"late_answers,omitempty"`
	Dead      int          `json:"dead"`
	Questions int          `json:"questions_open"`
	Turns     *turnsView   `json:"turns_today,omitempty"`
	Limited   int          `json:"limited_today,omitempty"`
	Refused   *refusedView `json:"refused,omitempty"`
	FreshIDs  int          `json:"fresh_gateway_ids,omitempty"`
	Version   string       `json:"version,omitempty"`
	Command   string       `json:"command_version"`
	Cost      *cost        `json:"cost_24h,omitempty"`

	refusals ledger.Refusals
	overview ledger.Overview
}

type lastDrain struct {
	Status string    `json:"status,omitempty"`
	Error  string    `json:"error,omitempty"`
	Ended  time.Time `json:"ended,omitzero"`
}

type leaseView struct {
	Held   bool      `json:"held"`
	Holder string    `json:"holder,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	Beat   time.Time `json:"renewed,omitzero"`
}

type sweepView struct {
	At  time.Time `json:"at,omitzero"` // missing: at the schedule's next firing
	Why string    `json:"why,omitempty"`
}

type turnsView struct {
	Turns int `json:"turns"`
	Most  int `json:"most"`
}

type refusedView struct {
	At      time.Time      `json:"at"`
	ByClass map[string]int `json:"by_class"`
	Again   int            `json:"sent_again"`
}

// waiting is a message that waits, and for what.
type waiting struct {
	Key   string    `json:"key"`
	Since time.Time `json:"since,omitzero"`
	Tries int       `json:"tries"`
	Next  time.Time `json:"next_try"`
	Error string    `json:"error"`
}

// look reads what there is to know of an instance. Its parts are read one after the other.
func look(ctx context.Context, book ledger.Operator, instance string, now time.Time) (view, error) {
	o, err := book.Overview(ctx)
	if err != nil {
		return view{}, err
	}
	dead, err := book.ListDead(ctx)
	if err != nil {
		return view{}, err
	}
	end := o.Plan.After
	v := view{
		Instance: instance, condition: conditionOf(o, now), Gateway: o.Standing.Handshaken, Contact: end.Contact,
		LastDrain: lastDrain{end.Status, end.Error, o.Ended}, Poked: end.Poked, Unpoked: end.Swept.After(end.Poked),
		Pending: o.Pending, Waiting: []waiting{}, Dead: len(dead), Questions: o.Prompts, FreshIDs: len(o.Standing.FreshIDs),
		Version: end.Version, Command: version.String(), refusals: o.Refusals, overview: o,
	}
	if o.Holder != "" {
		v.Lease = leaseView{o.Held, o.Holder, o.Until, o.Beat}
	}
	if !o.Standing.Disabled {
		v.NextSweep = &sweepView{}
		switch {
		case o.Asked:
			v.NextSweep.Why = "somebody asked for a look"
		case !o.Plan.At.IsZero():
			v.NextSweep.At, v.NextSweep.Why = o.Plan.At, o.Plan.Why
		}
	}
	v.count(o, now)
	if o.Says > 0 {
		v.Says = &saysView{o.Says, o.SaidAt.UTC()}
	}
	if o.Pending > 0 {
		list, err := book.ListPending(ctx)
		if err != nil {
			return view{}, err
		}
		v.Waiting, v.Late = waitingOf(list), lateOf(list)
		if v.Word == agentAway && v.Why == "" && len(v.Waiting) > 0 {
			v.Why = v.Waiting[0].Error
		}
	}
	return v, nil
}

// count adds what is counted by the day or the run.
func (v *view) count(o ledger.Overview, now time.Time) {
	today := ledger.DateOf(now)
	if o.Day.Date == today && o.Day.Most > 0 {
		v.Turns = &turnsView{o.Day.Turns, o.Day.Most}
	}
	if o.Limited.Date == today {
		v.Limited = o.Limited.Messages
	}
	if r := o.Refusals; !r.At.IsZero() {
		v.Refused = &refusedView{r.At, r.ByClass, r.Retried}
	}
}

// waitingOf are those entries that wait, the next one first. Those that queue are only counted.
func waitingOf(list []ledger.Entry) []waiting {
	found := []waiting{}
	for _, e := range list {
		if !e.Wait.Due.IsZero() {
			found = append(found, waiting{e.Key, e.Wait.Since, cmp.Or(e.Wait.Tries, e.Attempts), e.Wait.Due, e.Error})
		}
	}
	slices.SortStableFunc(found, func(a, b waiting) int { return a.Next.Compare(b.Next) })
	return found
}

// print is for people. What others said is made fit for a terminal, and for one line.
func (v view) print(out io.Writer, now time.Time) error {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "  %-12s%s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(out, "%s: %s\n", v.Instance, v.condition)
	if v.Why != "" {
		line("because", "%s", terminal.Line(v.Why))
	}
	if v.Do != "" {
		line("so", "%s", v.Do)
	}
	if v.Gateway == "" {
		line("connector", "has never let this gateway in")
	} else {
		line("connector", "knows it as %s, heard last %s", terminal.Line(v.Gateway), ago(v.Contact, now))
	}
	line("last drain", "%s", v.LastDrain.tell(now))
	if v.LastDrain.Error != "" && !strings.Contains(v.Why, v.LastDrain.Error) {
		line("", "%s", terminal.Line(v.LastDrain.Error))
	}
	line("lease", "%s", v.Lease.tell(now))
	if v.NextSweep != nil {
		line("next sweep", "%s", v.NextSweep.tell())
	}
	if v.Unpoked {
		line("pokes", "do not arrive: the last messages were found by a sweep, and no poke had told of them (last poke %s).", ago(v.Poked, now))
		line("", "Does the connector have this gateway's wake URL? dormouse doctor tries it from here")
	} else if !v.Poked.IsZero() {
		line("last poke", "%s", ago(v.Poked, now))
	}
	line("pending", "%d messages", v.Pending)
	v.tellVoice(line, now)
	dead := fmt.Sprintf("%d messages", v.Dead)
	if v.Dead > 0 {
		dead += ": dormouse dead list"
	}
	line("dead", "%s", dead)
	if v.Questions > 0 {
		line("questions", "%d wait for a button", v.Questions)
	}
	tellBudgets(out, v.overview, now)
	if v.Cost != nil {
		line("cost", "%s", v.Cost)
	}
	if v.Version != "" {
		line("version", "%s; this command is %s", v.Version, v.Command)
	}
	tellRefusals(out, v.refusals)
	if err := tellWaiting(out, v.Waiting, now); err != nil {
		return err
	}
	if v.FreshIDs > 0 {
		fmt.Fprintf(out, "  %d fresh gateway ids within a day, as its secret is withheld: enroll and pin instead\n", v.FreshIDs)
	}
	return nil
}

// tellVoice tells of what is to be said without a message, or long after it.
func (v view) tellVoice(line func(name, format string, args ...any), now time.Time) {
	if v.Late != nil {
		line("owed", "%s", v.Late.tell(now))
	}
	if v.Says != nil {
		line("says", "%s", v.Says.tell(v.Lease.Held, now))
	}
}

func (d lastDrain) tell(now time.Time) string {
	switch {
	case d.Ended.IsZero():
		return "never"
	case d.Status == "":
		return "ended " + ago(d.Ended, now)
	}
	return d.Status + ", ended " + ago(d.Ended, now)
}

func (l leaseView) tell(now time.Time) string {
	switch {
	case l.Held:
		return fmt.Sprintf("held by %s, renewed %s, until %s unless renewed", terminal.Line(l.Holder), ago(l.Beat, now), stamp(l.Until))
	case l.Holder != "":
		return fmt.Sprintf("free: that of %s ran out at %s", terminal.Line(l.Holder), stamp(l.Until))
	}
	return "free"
}

func (s sweepView) tell() string {
	at := "at the schedule's next firing"
	if !s.At.IsZero() {
		at = stamp(s.At)
	}
	if s.Why != "" {
		at += ": " + s.Why
	}
	return at
}

// ago is a moment with how long it is ago.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	passed := now.Sub(t).Truncate(time.Second)
	if passed < 0 {
		return stamp(t)
	}
	return fmt.Sprintf("%s (%s ago)", stamp(t), passed)
}
