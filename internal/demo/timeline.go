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
)

const connectorName = "connector"

// line is one of the timeline.
type line struct {
	at   time.Time
	who  string
	what string
}

// timeline is what happened in a scene, in the order in which it did: all processes read the same clock. What repeats is
// shown once, with its number. words say of actions, by request id, where they went and what they said.
func timeline(s scene, words map[string]string) []line {
	var lines []line
	add := func(at time.Time, who, format string, args ...any) {
		lines = append(lines, line{at, who, fmt.Sprintf(format, args...)})
	}
	told := map[string][]devconnector.Observation{}
	for _, o := range s.observations {
		what := o.What
		if what == devconnector.ObsOutbound {
			what += " " + o.Op
		}
		told[what] = append(told[what], o)
	}

	// The first of many says how it began, the last one how many there were.
	first := func(what, format string, args ...any) {
		if all := told[what]; len(all) > 0 {
			add(all[0].At, connectorName, format, args...)
		}
	}
	last := func(what, format string, arg func([]devconnector.Observation) any) {
		if all := told[what]; len(all) > 1 {
			add(all[len(all)-1].At, connectorName, format, arg(all))
		}
	}
	number := func(all []devconnector.Observation) any { return len(all) }
	list := func(all []devconnector.Observation) any {
		var list []string
		for _, o := range all {
			list = append(list, o.Platform)
		}
		return strings.Join(list, ", ")
	}
	first(devconnector.ObsBuffered, "buffers a message")
	last(devconnector.ObsBuffered, "buffers the last of %d", number)
	last(devconnector.ObsProvision, "provision: %s", list)
	last(devconnector.ObsHello, "hello: %s", list)
	first(devconnector.ObsInboundAck, "first ack")
	last(devconnector.ObsInboundAck, "last of %d acks", number)
	first(devconnector.ObsGoingIdleAck, "going_idle_ack: buffers from now on")
	said := func(o devconnector.Observation) string { return cmp.Or(words[o.RequestID], o.Platform+" "+o.Chat) }
	const typing = devconnector.ObsOutbound + " typing"
	if all := told[typing]; len(all) > 0 {
		first(typing, "typing: %s", said(all[0]))
	}
	for _, o := range s.observations {
		switch {
		case o.What == devconnector.ObsPoke:
			add(o.At, connectorName, "poke")
		case o.What == devconnector.ObsPoked:
			add(o.At, connectorName, "answer to the poke: %d", o.Status)
		case o.What == devconnector.ObsOutbound && o.Op == "send":
			add(o.At, connectorName, "reply: %s", said(o))
		case o.What == devconnector.ObsClosed:
			add(o.At, connectorName, "closed: %d, by the %s", o.Code, o.By)
		}
	}

	for _, l := range s.logs {
		switch {
		case l.Report != nil:
			r := l.Report
			add(l.At, l.Function, "report: %s; received %d, acked %d, turns %d, actions %d",
				r.Status, r.Received, r.Acked, r.Turns, r.Outbound)
		case l.Function == rig.Wake && l.Msg == logs.Poke:
			add(l.At, l.Function, "has invoked drain")
		case slices.Contains([]string{"lease", "dial", "going idle", "idle", "second look"}, l.Msg):
			add(l.At, l.Function, "%s", l.Msg)
		case l.Msg == "descriptor":
			add(l.At, l.Function, "descriptor: the link is up")
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	return lines
}

// screen is where the demonstration is shown.
type screen struct {
	out   io.Writer
	color bool
}

// say is narration.
func (s screen) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// colors are of terminals: cyan, yellow, green.
var colors = map[string]int{connectorName: 36, rig.Wake: 33, rig.Drain: 32}

// show prints lines with their milliseconds from a point in time.
func (s screen) show(from time.Time, lines []line) {
	for _, l := range lines {
		who := fmt.Sprintf("%-9s", l.who)
		if s.color {
			who = fmt.Sprintf("\x1b[%dm%s\x1b[0m", colors[l.who], who)
		}
		fmt.Fprintf(s.out, "%6d  %s  %s\n", l.at.Sub(from).Milliseconds(), who, l.what)
	}
}
