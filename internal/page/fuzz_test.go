package page_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/dormouse-relay/dormouse/internal/page"
)

func FuzzReadCase(f *testing.F) { // what is read is JSON, frame by frame
	f.Add([]byte(`{"given":{"frames":[{"at_ms":0,"message":"{\"type\":\"inbound\",\"event\":{\"text\":\"hi\"}}\n"}]}}`))
	f.Add([]byte(`{"given":{"frames":[{"message":"{\"type\":\"passthrough_forward\",\"forward\":{\"bodyB64\":\"e30=\"}}"}]}}`))
	f.Add([]byte(`{"given":{"frames":[{"message":"{}"}]}}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		events, forwards, err := page.ReadCase(file)
		if err == nil && (len(events) == 0 || len(events) != len(forwards)) {
			t.Errorf("%d events, %d forwards", len(events), len(forwards))
		}
		for _, e := range events {
			if err == nil && !json.Valid(e) {
				t.Errorf("an event that is no JSON: %q", e)
			}
		}
	})
}

func FuzzReadLog(f *testing.F) { // any line is shown, as JSON
	f.Add(`{"timestamp":"2026-11-27T12:00:00Z","level":"INFO","message":"turn","requestId":"r","delivery":"k","attempt":1}`)
	f.Add(`{"message":"an action waits to be sent again","delivery":"k","in":"1m0s","op":"send"}`)
	f.Add(`{"message":"drain ended","report":{"status":7}}`)
	f.Add("panic: it broke")
	f.Add(`{"message":"turn","delivery":"/","attempt":"one"}`)
	f.Fuzz(func(t *testing.T, text string) {
		m := page.NewModel(page.About{})
		l := page.ReadLog("drain", text, noon)
		if l.At.IsZero() || l.Msg == "" && text != "" {
			t.Errorf("%q is read as %+v", text, l)
		}
		m.Log(l)
		m.Log(line(float64(time.Minute.Milliseconds()), "r", "turn", "delivery", "k"))
		if p, ok := m.Way("k"); ok {
			if _, err := json.Marshal(p); err != nil {
				t.Error(err)
			}
		}
	})
}
