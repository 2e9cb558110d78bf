package agent_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// held is what f leaves in memory, in bytes.
func held(f func() any) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	kept := f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

func list(element string, n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
}

// What an answer takes in memory is bounded by its bytes, not by what they can be made to mean.
func TestAnAnswerTakesNoMoreMemoryThanItsBytes(t *testing.T) {
	const small = `{"op":"a"}`
	for name, body := range map[string]string{
		"many actions":       `{"actions":` + list(small, 120_000) + `}`,
		"no actions":         `{"actions":[` + small + `,` + list(`{}`, 400_000)[1:] + `}`,
		"wide":               `{"actions":[{"op":"send","content":"a","metadata":` + list(`{}`, 400_000) + `}]}`,
		"numbers":            `{"actions":[{"op":"send","content":"a","x":` + list(`1`, 600_000) + `}]}`,
		"deep":               `{"actions":[{"op":"send","x":` + strings.Repeat(`{"a":`, 9_000) + "1" + strings.Repeat("}", 9_000) + `}]}`,
		"wide, beside text":  `{"text":"a","x":` + list(`{}`, 400_000) + `}`,
		"members":            `{` + strings.Repeat(`"a":1,`, 200_000) + `"b":2}`,
		"much deeper":        strings.Repeat(`[`, 1_000_000),
		"broken at the end":  `{"actions":` + list(small, 100_000) + `}}`,
		"some of it strange": `{"actions":["x",` + list(small, 100_000)[1:] + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			size := held(func() any {
				answer, err := agent.Decode([]byte(body))
				return []any{answer, err}
			})
			is.True(size < 10<<20) // bytes
		})
	}
}

func TestOfAnAnswerBeyondMeasureTheFirstActionsAreRead(t *testing.T) {
	is := is.New(t)
	var body strings.Builder
	const many = 100_000
	for i := range many {
		fmt.Fprintf(&body, `{"op":"send","content":"%d"},{"op":"typing"},`, i)
	}
	answer, err := agent.Decode([]byte(`{"actions":[` + strings.TrimSuffix(body.String(), ",") + `]}`))
	is.NoErr(err)
	sends := answer.More
	is.True(sends > 0)
	for _, a := range answer.Actions {
		if a.Op() == "send" {
			is.Equal(a["content"], fmt.Sprint(sends-answer.More))
			sends++
		}
	}
	is.Equal(sends, many)               // how many are left out is told
	is.True(len(answer.Actions) > 1000) // and it is far more than is sent

	_, err = agent.Decode([]byte(`{"actions":[` + body.String() + `{"op":"edit","content":"the end"}]}`))
	is.True(err != nil && strings.Contains(err.Error(), "before an edit: stream it"))
}

func TestARecordBeyondMeasureIsSkipped(t *testing.T) {
	is := is.New(t)
	wide := `{"op":"send","content":"wide","metadata":` + list(`{}`, 200_000) + `}`
	deep := `{"op":"send","content":"deep","metadata":` + strings.Repeat(`{"a":`, 2_000) + "1" + strings.Repeat("}", 2_000) + `}`
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-ndjson")
		io.WriteString(w, `{"text":"a"}`+"\n"+wide+"\n"+deep+"\n"+`{"text":"b"}`+"\n")
	})
	answer, err := a.Answer(t.Context(), turn("x"))
	is.NoErr(err)
	var said []relay.Action
	var faults []string
	for a, err := range answer.Stream {
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		said = append(said, a)
	}
	is.Equal(said, []relay.Action{{"op": "send", "content": "a"}, {"op": "send", "content": "b"}})
	is.Equal(len(faults), 2)
	is.True(strings.Contains(faults[0], "over 20000 values") && strings.Contains(faults[1], "deep"))
}

// A record over several lines is looked at once, not at each of its lines.
func TestARecordOfManyLinesIsReadInTimeThatGrowsWithIt(t *testing.T) {
	is := is.New(t)
	line := "{},{}\n,"
	record := "\x1e{\"a\":[\n" + strings.Repeat(line, 120_000) + "{}]}\n"
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json-seq")
		io.WriteString(w, record+"\x1e{\"op\":\n\"send\",\n\"content\":{}\n}\n\x1e{\"text\":\n\"b\"\n}\n")
	})
	began := time.Now()
	answer, err := a.Answer(t.Context(), turn("x"))
	is.NoErr(err)
	n := 0
	for range answer.Stream {
		n++
	}
	is.True(n >= 2)
	is.True(time.Since(began) < time.Minute) // else it is minutes
}
