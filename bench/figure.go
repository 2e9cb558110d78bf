package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	met   = "pass"
	short = "SHORT"
	free  = "-" // no target
)

// figure is one row of the table.
type figure struct {
	what       string
	measured   spread
	unit       string
	comparator string
	compared   spread
	ratio      float64
	target     string
	verdict    string
}

// spread is the result of several runs: the median, and the values that a tenth of the runs is below and above.
type spread struct{ median, low, high float64 }

func spreadOf(runs []float64) spread {
	runs = slices.Sorted(slices.Values(runs))
	last := len(runs) - 1
	return spread{runs[len(runs)/2], runs[(last+5)/10], runs[last-(last+5)/10]}
}

// once is a figure without a spread.
func once(value float64) spread { return spread{value, value, value} }

func (s spread) in(unit string) string {
	if s.low == s.high {
		return fmt.Sprintf("%s %s", number(s.median), unit)
	}
	return fmt.Sprintf("%s %s (%s to %s)", number(s.median), unit, number(s.low), number(s.high))
}

// number formats with three significant digits.
func number(value float64) string {
	switch {
	case value >= 100:
		return fmt.Sprintf("%.0f", value)
	case value >= 10:
		return fmt.Sprintf("%.1f", value)
	}
	return fmt.Sprintf("%.2f", value)
}

// against adds the comparator and the ratio of the medians.
func (f figure) against(comparator string, compared spread) figure {
	f.comparator, f.compared = comparator, compared
	f.ratio = f.measured.median / compared.median
	f.target, f.verdict = "none", free
	return f
}

// atMost sets the figure's target and whether value meets it. value is the median or the ratio.
func (f figure) atMost(value, limit float64, unit string) figure {
	f.target = strings.TrimSpace(fmt.Sprintf("at most %s %s", number(limit), unit))
	f.verdict = met
	if value > limit {
		f.verdict = short
	}
	return f
}

// atLeast is atMost for a lower limit.
func (f figure) atLeast(value, limit float64, unit string) figure {
	f.target = strings.TrimSpace(fmt.Sprintf("at least %s %s", number(limit), unit))
	f.verdict = met
	if value < limit {
		f.verdict = short
	}
	return f
}

// printTable prints the figures as a Markdown table, and how many targets are met.
func printTable(w io.Writer, figures []figure) {
	rows := [][]string{{"figure", "measured", "comparator", "ratio", "target", "verdict"}, nil}
	count := map[string]int{}
	for _, f := range figures {
		count[f.verdict]++
		rows = append(rows, []string{
			f.what, f.measured.in(f.unit), f.compared.in(f.unit) + ", " + f.comparator,
			fmt.Sprintf("%.2f", f.ratio), f.target, f.verdict,
		})
	}
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, w := range width {
		rows[1] = append(rows[1], strings.Repeat("-", w))
	}
	for _, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(w, "| %-*s ", width[i], cell)
		}
		fmt.Fprintln(w, "|")
	}
	fmt.Fprintf(w, "\n%d met, %d short\n", count[met], count[short])
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
