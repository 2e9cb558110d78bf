package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/terminal"
)

// What became of a message in a drain.
const (
	becameAnswered = "answered"
	becameDead     = "died"
	becameLeft     = "left"
)

// became is a message with what became of it.
type became struct {
	Key   string `json:"key"`
	What  string `json:"became"`
	Error string `json:"error,omitempty"`
	Next  string `json:"next_try,omitempty"`
}

// books is what a ledger had of messages at a moment.
type books struct{ pending, dead []ledger.Entry }

func readBooks(ctx context.Context, book ledger.Operator) (b books, err error) {
	if b.pending, err = book.ListPending(ctx); err == nil {
		b.dead, err = book.ListDead(ctx)
	}
	return b, err
}

func find(list []ledger.Entry, key string) (ledger.Entry, bool) {
	i := slices.IndexFunc(list, func(e ledger.Entry) bool { return e.Key == key })
	if i < 0 {
		return ledger.Entry{}, false
	}
	return list[i], true
}

// since says what became of the messages that were there before, and of new ones that are not answered. Messages that came
// and were answered meanwhile are in no ledger's lists.
func (b books) since(before books) (list []became) {
	for _, e := range b.dead {
		if _, old := find(before.dead, e.Key); !old {
			list = append(list, became{Key: e.Key, What: becameDead, Error: e.Error})
		}
	}
	for _, e := range b.pending {
		m := became{Key: e.Key, What: becameLeft, Error: e.Error}
		if !e.Wait.Due.IsZero() {
			m.Next = stamp(e.Wait.Due)
		}
		list = append(list, m)
	}
	for _, e := range before.pending {
		_, waits := find(b.pending, e.Key)
		_, died := find(b.dead, e.Key)
		if !waits && !died {
			list = append(list, became{Key: e.Key, What: becameAnswered})
		}
	}
	return list
}

func tellMessages(out io.Writer, list []became) error {
	if len(list) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, m := range list[:min(len(list), mostWaiting)] {
		said := terminal.Line(m.Error)
		if m.Next != "" {
			said += " (next try " + m.Next + ")"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", m.Key, m.What, said)
	}
	if more := len(list) - mostWaiting; more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
	return w.Flush()
}
