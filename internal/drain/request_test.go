package drain_test

import (
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func TestParseRequest(t *testing.T) {
	schedule := drain.Request{Reason: ledger.Schedule}
	tests := map[string]struct {
		payload string
		want    drain.Request
	}{
		"wake": {`{"reason":"wake","at":"2026-11-23T18:00:00Z"}`,
			drain.Request{Reason: ledger.Wake, At: time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)}},
		"arm":                 {`{"reason":"arm"}`, drain.Request{Reason: ledger.Arm}},
		"continue":            {`{"reason":"continue","hop":3}`, drain.Request{Reason: ledger.Continue, Hop: 3}},
		"schedule":            {`{"reason":"schedule"}`, schedule},
		"an EventBridge":      {`{"source":"aws.scheduler","detail-type":"Scheduled Event","detail":{}}`, schedule},
		"unknown":             {`{"reason":"because"}`, schedule},
		"nothing":             {``, schedule},
		"null":                {`null`, schedule},
		"not an object":       {`"wake"`, schedule},
		"a hop below zero":    {`{"reason":"continue","hop":-1}`, schedule},
		"a time that is none": {`{"reason":"wake","at":"soon"}`, schedule},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is.New(t).Equal(drain.ParseRequest([]byte(tt.payload)), tt.want)
		})
	}
}

func FuzzParseRequest(f *testing.F) { // whatever comes is one of the four reasons
	f.Add([]byte(`{"reason":"wake","at":"2026-11-23T18:00:00Z"}`))
	f.Add([]byte(`{"reason":"continue","hop":12}`))
	f.Add([]byte(`{"detail-type":"Scheduled Event"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		req := drain.ParseRequest(payload)
		switch req.Reason {
		case ledger.Wake, ledger.Arm, ledger.Continue, ledger.Schedule:
		default:
			t.Fatalf("reason %q", req.Reason)
		}
		if req.Hop < 0 {
			t.Fatalf("hop %d", req.Hop)
		}
	})
}
