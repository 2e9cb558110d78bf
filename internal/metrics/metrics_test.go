package metrics_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/metrics"
	"github.com/dormouse-relay/dormouse/internal/metrics/emftest"
)

func TestALineIsOfThePublishedFormat(t *testing.T) {
	is := is.New(t)
	var out bytes.Buffer
	h := slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelError}) // a level that drops nothing of it
	all := metrics.Values{}
	for i, d := range metrics.Definitions() {
		all[d.Name] = float64(i) + 0.5
	}
	is.NoErr(metrics.Log(t.Context(), h, time.UnixMilli(1_800_000_000_123), "gw", "drained", all))
	is.Equal(strings.Count(out.String(), "\n"), 1)
	line, ok, err := emftest.Check(out.Bytes())
	is.NoErr(err)
	is.True(ok)
	is.Equal(line.Values, map[string]float64(all))
	for _, d := range metrics.Definitions() {
		want := []string{"gw"}
		if d.Name == metrics.Drains {
			want = []string{"gw", "drained"}
		}
		is.Equal(line.Dimensions[d.Name], want)
	}
	is.True(strings.Contains(out.String(), `"Timestamp":1800000000123`))
}

// A metric costs by the hour in which it has a value.
func TestWhatIsZeroIsNotInTheLine(t *testing.T) {
	is := is.New(t)
	var out bytes.Buffer
	h := slog.NewJSONHandler(&out, nil)
	is.NoErr(metrics.Log(t.Context(), h, time.Now(), "gw", "empty", metrics.Values{metrics.Wakes: 1, metrics.Dead: 0}))
	line, _, err := emftest.Check(out.Bytes())
	is.NoErr(err)
	is.Equal(line.Values, map[string]float64{metrics.Wakes: 1})
	out.Reset()
	is.NoErr(metrics.Log(t.Context(), h, time.Now(), "gw", "empty", metrics.Values{metrics.Dead: 0}))
	is.Equal(out.String(), "")
}

func TestEveryClassOfRefusalHasItsMetric(t *testing.T) {
	is := is.New(t)
	known := map[string]bool{}
	for _, d := range metrics.Definitions() {
		is.True(!known[d.Name]) // each once
		known[d.Name] = true
	}
	for _, class := range []action.Class{
		action.Transient, action.Unknown, action.Declined, action.Done, action.Permanent, action.Markup, action.Unclear, action.Cosmetic,
	} {
		is.True(known[metrics.Class(string(class))])
	}
}

func TestTheStackIsTheFunctionsName(t *testing.T) {
	is := is.New(t)
	is.Equal(metrics.StackOf("my-gw-drain"), "my-gw")
	is.Equal(metrics.StackOf("other"), "other")
	is.Equal(metrics.StackOf(""), "local")
}
