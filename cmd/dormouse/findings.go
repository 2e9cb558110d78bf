package main

import (
	"fmt"
	"io"

	"github.com/dormouse-relay/dormouse/internal/terminal"
)

// verdict is what dormouse doctor thinks of a fact.
type verdict string

const (
	well    verdict = "ok"
	strange verdict = "warn" // it may be meant so
	bad     verdict = "bad"
	unknown verdict = "?" // it could not be looked at
)

// finding is one line of dormouse doctor: a fact, a verdict, and what to do unless all is well.
type finding struct {
	What    string  `json:"what"`
	Verdict verdict `json:"verdict"`
	Fact    string  `json:"fact"`
	Do      string  `json:"do,omitempty"`
}

// findings are those of a gateway, in the order in which a message meets what they are about.
type findings struct {
	Stack string    `json:"stack"`
	Well  bool      `json:"well"` // nothing is bad
	List  []finding `json:"findings"`
}

func (f *findings) add(what string, v verdict, fact, do string) {
	f.List = append(f.List, finding{what, v, fact, do})
}

// judge adds a finding that is well, or bad with what to do.
func (f *findings) judge(what string, ok bool, fact, do string) {
	if ok {
		f.add(what, well, fact, "")
		return
	}
	f.add(what, bad, fact, do)
}

func (f *findings) bad() (n int) {
	for _, one := range f.List {
		if one.Verdict == bad {
			n++
		}
	}
	return n
}

// print is for people. What others said is made fit for a terminal.
func (f *findings) print(out io.Writer) {
	for _, one := range f.List {
		fmt.Fprintf(out, "%-5s %-12s %s\n", one.Verdict, one.What, terminal.Line(one.Fact))
		if one.Do != "" {
			fmt.Fprintf(out, "%18s -> %s\n", "", one.Do)
		}
	}
}
