// Package cases runs the cases of testdata through the gateway's public face: a drain with its real settings and the
// ledger in memory, between a connector that follows a script and an agent over HTTP. The description in each file says
// what the members of given and expect mean; a member that is not known here fails the test.
package cases

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// notYet are the cases that fail today, with what is missing. One that passes has to be taken off the list.
var notYet = map[string]string{}

// kase is one case of a file: what is given, and what is expected.
type kase[G, E any] struct {
	ID     string `json:"id"`
	About  string `json:"about"`
	Given  G      `json:"given"`
	Expect E      `json:"expect"`
}

// load reads a file of testdata, and our own further cases beside it. It knows every member, or fails.
func load[G, E any](t *testing.T, file string) []kase[G, E] {
	t.Helper()
	cases := loadFile[G, E](t, file)
	if _, err := os.Stat(filepath.Join("testdata", "more-"+file)); err == nil {
		cases = append(cases, loadFile[G, E](t, "more-"+file)...)
	}
	return cases
}

func loadFile[G, E any](t *testing.T, file string) []kase[G, E] {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Description string       `json:"description"`
		Cases       []kase[G, E] `json:"cases"`
	}
	if err := strict(raw, &all); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(all.Cases) == 0 {
		t.Fatalf("%s has no cases", file)
	}
	return all.Cases
}

// strict decodes JSON and refuses members that v has no place for.
func strict(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// faults are what a case found wrong.
type faults []string

func (f *faults) addf(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// judge holds what a case found wrong against the list of those that are known to fail.
func judge(t *testing.T, id string, found faults) {
	t.Helper()
	reason, known := notYet[id]
	switch {
	case known && len(found) == 0:
		t.Errorf("%s passes: take it off the list notYet", id)
	case known:
		t.Skipf("not yet: %s: %q", reason, found[0])
	default:
		for _, fault := range found {
			t.Errorf("%s: %s", id, fault)
		}
	}
}

// inBubble runs a case whose time costs nothing, without a table and with one, and judges it.
func inBubble(t *testing.T, id string, run func(t *testing.T, kept store) faults) {
	t.Run(id, func(t *testing.T) {
		var found faults
		for _, kept := range []store{"without a table", "with a table"} {
			bubble(t, func(t *testing.T) {
				for _, fault := range run(t, kept) {
					found.addf("%s: %s", kept, fault)
				}
			})
		}
		judge(t, id, found)
	})
}

// bubble runs f where time costs nothing: it passes while everything waits.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// A name on the list that no case has is a slip, or a case that is gone.
func TestTheListNamesCases(t *testing.T) {
	known := map[string]bool{}
	for _, file := range []string{"answers", "discord", "inbound", "misc", "openai", "refusals", "splitting", "stop", "streams"} {
		for _, c := range load[json.RawMessage, json.RawMessage](t, file+".json") {
			known[c.ID] = true
			known[c.ID+withGateway] = file == "openai"
		}
	}
	for _, id := range slices.Sorted(maps.Keys(notYet)) {
		if !known[id] {
			t.Errorf("notYet names %s, which is no case", id)
		}
	}
}
