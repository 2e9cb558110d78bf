package conform_test

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/conform"
)

var mutants = flag.Bool("mutants", false, "run the whole kit against each fault, instead of the check that is for it")

// mostFinders is how many checks may find a fault beside the one whose sentence it breaks. More than a few means that the kit
// cannot say what is wrong.
const mostFinders = 6

// broad are faults that keep checks from what they need: nothing can be said where nobody is let in, or nothing is acked.
var broad = map[string]bool{
	"upgrade-token": true, "gateway-answer": true, "gateway-hello": true, "live-inbound": true, "idle-ack": true, "action-result": true,
	"buffer-acked": true, "buffer-away": true, "gateway-platform": true, "gateway-ack": true, "gateway-order": true, "gateway-large": true,
	"seat-one": true, "frames-newline": true, "buffer-live": true, "buffer-order": true, "hello-each": true, "idle-flip": true,
	"idle-window": true, "media-upload": true, "revoked-dial": true, "seat-others": true, "gateway-wake": true, "gateway-token": true, "provision-secret": true,
}

// Each fault, put into the connector or the gateway alone, is found by the check whose sentence it breaks, and by few others.
// make conform-mutants prints the table of docs/conformance.md.
func TestEachFaultIsFoundByItsCheckAndFewOthers(t *testing.T) {
	if !*mutants {
		t.Skip("takes minutes: make conform-mutants")
	}
	rows := []string{}
	row := func(t *testing.T, id string, found []string) {
		others := slices.DeleteFunc(slices.Clone(found), func(other string) bool { return other == id })
		rows = append(rows, fmt.Sprintf("| `%s` | %s |", id, strings.Join(quoted(others), ", ")))
		is.New(t).True(slices.Contains(found, id)) // its own check finds it
		if !broad[id] && len(others) > mostFinders {
			t.Errorf("%d others find it: %s", len(others), strings.Join(others, ", "))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(faults)) {
		t.Run(id, func(t *testing.T) {
			preset := ideal()
			if f := faults[id]; f.preset != nil {
				f.preset(&preset)
			}
			row(t, id, failed(check(t, preset, nil, faults[id].proxy)))
		})
	}
	for _, c := range conform.GatewayCatalogue() {
		t.Run(c.ID, func(t *testing.T) {
			row(t, c.ID, failed(checkGateway(t, lenient(), nil, (&scratch{fault: c.ID}).run)))
		})
	}
	t.Logf("| fault, by the check whose sentence it breaks | also found by |\n| --- | --- |\n%s\n", strings.Join(rows, "\n"))
}

func quoted(ids []string) (list []string) {
	for _, id := range ids {
		list = append(list, "`"+id+"`")
	}
	return list
}

// The proxy that puts faults in breaks nothing by itself, and neither does the scratch gateway.
func TestWithoutAFaultNothingIsFound(t *testing.T) {
	is := is.New(t)
	is.Equal(failed(check(t, ideal(), nil, fault{answer: func(*http.Request, *httptest.ResponseRecorder) {}}.proxy)), []string{})
	is.Equal(failed(checkGateway(t, lenient(), nil, new(scratch).run)), []string{})
}
