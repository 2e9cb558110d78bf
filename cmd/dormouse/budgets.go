package main

import (
	"fmt"
	"io"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// tellBudgets says how far today's budgets of turns are used up. What was counted on another day says nothing.
func tellBudgets(out io.Writer, o ledger.Overview, now time.Time) {
	today := ledger.DateOf(now)
	if day := o.Day; day.Date == today && day.Most > 0 {
		fmt.Fprintf(out, "  turns       %d of %d today (UTC)\n", day.Turns, day.Most)
		if day.Turns >= day.Most {
			fmt.Fprint(out, "              used up: what comes waits until 00:00 UTC; to go on, raise DORMOUSE_MAX_TURNS_PER_DAY and dormouse arm\n")
		}
	}
	if n := o.Limited; n.Date == today && n.Messages > 0 {
		fmt.Fprintf(out, "  limited     %d messages of bots not answered today, over DORMOUSE_BOT_TURNS\n", n.Messages)
	}
}
