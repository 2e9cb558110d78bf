package demo

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/terminal"
)

const connectorName = "connector"

// line is one of the timeline.
type line struct {
	at   time.Time
	who  string
	what string
}

// timeline is what happened in a scene, in the order in which it did: all processes read the same clock. words say of
// actions, by request id, where they went and what they said.
func timeline(s scene, words map[string]string) []line {
	t := &drawing{told: map[string][]devconnector.Observation{}}
	for _, o := range s.observations {
		what := o.What
		if what == devconnector.ObsOutbound {
			what += " " + o.Op
		}
		t.told[what] = append(t.told[what], o)
	}
	t.connector(s.observations, func(o devconnector.Observation) string {
		return cmp.Or(words[o.RequestID], o.Platform+" "+o.Chat)
	})
	for _, l := range s.logs {
		t.function(l)
	}
	slices.SortStableFunc(t.lines, func(a, b line) int { return a.at.Compare(b.at) })
	return t.lines
}

// drawing is a timeline in the making.
type drawing struct {
	told  map[string][]devconnector.Observation // by what happened, with an action's op
	lines []line
}

func (t *drawing) add(at time.Time, who, format string, args ...any) {
	t.lines = append(t.lines, line{at, who, fmt.Sprintf(format, args...)})
}

// connector draws what the connector has seen. What repeats is shown once, with its number.
func (t *drawing) connector(observations []devconnector.Observation, said func(devconnector.Observation) string) {
	t.first(devconnector.ObsBuffered, "buffers a message")
	t.last(devconnector.ObsBuffered, "buffers the last of %d", number)
	t.last(devconnector.ObsProvision, "provision: %s", platformsOf)
	t.last(devconnector.ObsHello, "hello: %s", platformsOf)
	t.first(devconnector.ObsInboundAck, "first ack")
	t.last(devconnector.ObsInboundAck, "last of %d acks", number)
	t.first(devconnector.ObsGoingIdleAck, "going_idle_ack: buffers from now on")
	const typing = devconnector.ObsOutbound + " typing"
	if all := t.told[typing]; len(all) > 0 {
		t.first(typing, "typing: %s", said(all[0]))
	}
	for _, o := range observations {
		switch {
		case o.What == devconnector.ObsPoke:
			t.add(o.At, connectorName, "poke")
		case o.What == devconnector.ObsPoked:
			t.add(o.At, connectorName, "answer to the poke: %d", o.Status)
		case o.What == devconnector.ObsOutbound && o.Op == "send":
			t.add(o.At, connectorName, "reply: %s", said(o))
		case o.What == devconnector.ObsClosed:
			t.add(o.At, connectorName, "closed: %d, by the %s", o.Code, o.By)
		}
	}
}

// first says how something began that may have happened often, last how often it has.
func (t *drawing) first(what, format string, args ...any) {
	if all := t.told[what]; len(all) > 0 {
		t.add(all[0].At, connectorName, format, args...)
	}
}

func (t *drawing) last(what, format string, arg func([]devconnector.Observation) any) {
	if all := t.told[what]; len(all) > 1 {
		t.add(all[len(all)-1].At, connectorName, format, arg(all))
	}
}

func number(all []devconnector.Observation) any { return len(all) }

func platformsOf(all []devconnector.Observation) any {
	var list []string
	for _, o := range all {
		list = append(list, o.Platform)
	}
	return strings.Join(list, ", ")
}

// function draws what a function has logged.
func (t *drawing) function(l logLine) {
	switch {
	case l.Report != nil:
		r := l.Report
		t.add(l.At, l.Function, "report: %s; received %d, acked %d, turns %d, actions %d",
			r.Status, r.Received, r.Acked, r.Turns, r.Outbound)
	case l.Function == rig.Wake && l.Msg == logs.Poke:
		t.add(l.At, l.Function, "has invoked drain")
	case slices.Contains([]string{logs.Lease, logs.Dial, logs.GoingIdle, logs.Idle, logs.SecondLook}, l.Msg):
		t.add(l.At, l.Function, "%s", l.Msg)
	case l.Msg == logs.Descriptor:
		t.add(l.At, l.Function, "descriptor: the link is up")
	}
}

// screen is where the demonstration is shown.
type screen struct {
	out   io.Writer
	color bool
}

// say is narration.
func (s screen) say(format string, args ...any) {
	fmt.Fprintln(s.out, terminal.Text(fmt.Sprintf(format, args...)))
}

// colors are of terminals: cyan, yellow, green.
var colors = map[string]int{connectorName: 36, rig.Wake: 33, rig.Drain: 32}

// show prints lines with their milliseconds from a point in time.
func (s screen) show(from time.Time, lines []line) {
	for _, l := range lines {
		who := fmt.Sprintf("%-9s", l.who)
		if s.color {
			who = fmt.Sprintf("\x1b[%dm%s\x1b[0m", colors[l.who], who)
		}
		fmt.Fprintf(s.out, "%6d  %s  %s\n", l.at.Sub(from).Milliseconds(), who, terminal.Line(l.what))
	}
}
