package treecheck

import (
	"fmt"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/prices"
)

const costsStart = "<!-- costs: go test ./internal/treecheck -run CostTables -update -->\n"

// What docs/costs.md says that messages cost is computed by what status and the page count with.
func TestCostTablesAreComputed(t *testing.T) {
	isMade(t, "costs.md", costsStart, costTables(), "go test ./internal/treecheck -run CostTables -update")
}

func TestAThousandLoneMessagesCostUnderFifteenCents(t *testing.T) {
	is := is.New(t)
	is.True(prices.TalkOf(1, prices.DrainMemory).All().Times(1000).Dollars() < 0.15)
	is.Equal(config.Defaults()["DORMOUSE_POKE_COOLDOWN"], "65s") // on which the stay depends
	is.True(prices.Stay > 65)
}

func costTables() string {
	var b strings.Builder
	row := func(cells ...string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	dollars := func(u prices.Use) string { return fmt.Sprintf("$%.4f", u.Dollars()) }
	small, large := prices.TalkOf(1, 128), prices.TalkOf(1, 256)
	row("1,000 messages that come alone", "drain of 128 MB", "of 256 MB")
	row("---", "---", "---")
	parts := func(name string, of func(prices.Talk) prices.Use) {
		row(name, dollars(of(small).Times(1000)), dollars(of(large).Times(1000)))
	}
	parts(fmt.Sprintf("drain's start, %.2f s", prices.Start), func(t prices.Talk) prices.Use { return t.Start })
	parts(fmt.Sprintf("drain's stay, %.0f s", prices.Stay), func(t prices.Talk) prices.Use { return t.Stay })
	parts(fmt.Sprintf("the poke: API, wake (%.2f s at %d MB), two requests", prices.Start+prices.Poke, prices.WakeMemory),
		func(t prices.Talk) prices.Use { return t.Poke })
	parts(fmt.Sprintf("the table, %.0f WRU and %.0f RRU a message", small.Table.Writes, small.Table.Reads),
		func(t prices.Talk) prices.Use { return t.Table })
	parts("the log, about 10 KB a message", func(t prices.Talk) prices.Use { return t.Log })
	total := func(t prices.Talk) string { return fmt.Sprintf("**$%.3f**", t.All().Times(1000).Dollars()) }
	row("**together**", total(small), total(large))

	b.WriteString("\nA month with conversations of five messages within a minute each:\n\n")
	row("a month of", "conversations", "Lambda and API", "table and log", "together", "the same at 256 MB")
	row("---", "---", "---", "---", "---", "---")
	for _, month := range []struct {
		name  string
		talks float64
	}{
		{"rest: the schedule and its sweeps (720 of 3.7 s)", 0}, {"a hundred messages a day", 600}, {"a thousand messages a day", 6000},
	} {
		of := func(memory float64) prices.Use {
			return prices.Rest(memory).And(prices.TalkOf(5, memory).All().Times(month.talks))
		}
		at := of(128)
		kept := prices.Use{Writes: at.Writes, Reads: at.Reads, LogGB: at.LogGB}
		cents := func(d float64) string { return fmt.Sprintf("$%.2f", d) }
		row(month.name, fmt.Sprintf("%.0f", month.talks), cents(at.Dollars()-kept.Dollars()), cents(kept.Dollars()),
			"**"+cents(at.Dollars())+"**", cents(of(256).Dollars()))
	}
	return b.String()
}
