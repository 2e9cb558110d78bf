package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/terminal"
	"github.com/dormouse-relay/dormouse/internal/turn"
)

// tellRefusals says what the connector refused in the last drain in which it refused something.
func tellRefusals(out io.Writer, r ledger.Refusals) {
	if r.At.IsZero() {
		return
	}
	var parts []string
	for _, class := range slices.Sorted(maps.Keys(r.ByClass)) {
		parts = append(parts, fmt.Sprint(r.ByClass[class], " ", class))
	}
	parts = append(parts, fmt.Sprint(r.Retried, " sent again"))
	fmt.Fprintf(out, "  refused     %s, in the drain of %s\n", strings.Join(parts, ", "), stamp(r.At))
}

// saysView is what somebody has the gateway say that no drain has taken.
type saysView struct {
	Waiting int       `json:"waiting"`
	Oldest  time.Time `json:"oldest"`
}

func (s saysView) tell(held bool, now time.Time) string {
	then := "the next drain says them: dormouse arm is one"
	if held {
		then = "the drain that runs takes them with its next heartbeat"
	}
	return fmt.Sprintf("%d wait, the oldest since %s; %s", s.Waiting, ago(s.Oldest, now), then)
}

// lateView are the messages whose agent has said that its answer comes later.
type lateView struct {
	Owed   int       `json:"owed"`
	Oldest string    `json:"oldest"` // its key
	Since  time.Time `json:"since"`
	Due    time.Time `json:"due"` // of the oldest: without its last part it is dead then
	First  time.Time `json:"first_due"`
}

func (l lateView) tell(now time.Time) string {
	text := fmt.Sprintf("%d late answers, the oldest since %s, for %s, due at %s", l.Owed, ago(l.Since, now), l.Oldest, stamp(l.Due))
	if l.First.Before(l.Due) {
		text += ", the first at " + stamp(l.First)
	}
	return text
}

// lateOf are those entries that wait for a late answer; nil if there are none.
func lateOf(list []ledger.Entry) *lateView {
	var v lateView
	for _, e := range list {
		if !strings.HasPrefix(e.Error, turn.LateReason) || e.Set.Leader != "" {
			continue
		}
		v.Owed++
		if v.Oldest == "" || e.Wait.Since.Before(v.Since) {
			v.Oldest, v.Since, v.Due = e.Key, e.Wait.Since.UTC(), e.Wait.Due.UTC()
		}
		if v.First.IsZero() || e.Wait.Due.Before(v.First) {
			v.First = e.Wait.Due.UTC()
		}
	}
	if v.Owed == 0 {
		return nil
	}
	return &v
}

const mostWaiting = 20 // messages that status lists one by one

// tellWaiting lists the messages that wait: for what, for how long, and until when.
func tellWaiting(out io.Writer, list []waiting, now time.Time) error {
	if len(list) == 0 {
		return nil
	}
	fmt.Fprintf(out, "  waiting     %d of the pending\n", len(list))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "    KEY\tFOR\tTRIES\tNEXT TRY\tREASON")
	for _, e := range list[:min(len(list), mostWaiting)] {
		age := "-"
		if !e.Since.IsZero() {
			age = now.Sub(e.Since).Truncate(time.Second).String()
		}
		fmt.Fprintf(w, "    %s\t%s\t%d\t%s\t%s\n", e.Key, age, e.Tries, stamp(e.Next), terminal.Line(e.Error))
	}
	if more := len(list) - mostWaiting; more > 0 {
		fmt.Fprintf(w, "    and %d more\n", more)
	}
	return w.Flush()
}
