package main

import (
	"cmp"
	"context"
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

// tellWaiting lists the messages that wait: for what, for how long, and until when. Those that queue are only counted.
func tellWaiting(ctx context.Context, book ledger.Operator, out io.Writer, pending int) error {
	if pending == 0 {
		return nil
	}
	list, err := book.ListPending(ctx)
	if err != nil {
		return err
	}
	waiting := slices.DeleteFunc(list, func(e ledger.Entry) bool { return e.Wait.Due.IsZero() })
	if len(waiting) == 0 {
		return nil
	}
	slices.SortStableFunc(waiting, func(a, b ledger.Entry) int { return a.Wait.Due.Compare(b.Wait.Due) })
	fmt.Fprintf(out, "  waiting     %d of the pending\n", len(waiting))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "    KEY\tFOR\tTRIES\tNEXT TRY\tREASON")
	for _, e := range waiting[:min(len(waiting), mostWaiting)] {
		age := "-"
		if !e.Wait.Since.IsZero() {
			age = time.Since(e.Wait.Since).Truncate(time.Second).String()
		}
		fmt.Fprintf(w, "    %s\t%s\t%d\t%s\t%s\n", e.Key, age, cmp.Or(e.Wait.Tries, e.Attempts), stamp(e.Wait.Due), terminal.Line(e.Error))
	}
	if more := len(waiting) - mostWaiting; more > 0 {
		fmt.Fprintf(w, "    and %d more\n", more)
	}
	return w.Flush()
}
