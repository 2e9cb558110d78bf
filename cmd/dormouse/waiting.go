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
