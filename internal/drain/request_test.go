package drain_test

import (
	"strings"
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
			is := is.New(t)
			req, err := drain.ParseRequest([]byte(tt.payload))
			is.NoErr(err)
			is.Equal(req, tt.want)
		})
	}
}

func TestASayIsARequest(t *testing.T) {
	is := is.New(t)
	payload := []byte(`{"reason":"say","key":"k","chat":{"platform":"discord","chat_id":"1"},"text":"t"}`)
	req, err := drain.ParseRequest(payload)
	is.NoErr(err)
	is.Equal(req, drain.Request{Reason: ledger.Speak, Say: &drain.Said{Key: "k", Body: payload}})
}

func TestWhatCarriesASayIsNoSchedule(t *testing.T) {
	for payload, want := range map[string]string{
		`{"reason":"because","key":"k"}`: `reason: "because" is not known`,
		`{"key":"k","text":"t"}`:         `reason: "" is not known`,
		`{"reason":7,"key":"k"}`:         `reason: "" is not known`,
		`{"reason":"Say","text":"t"}`:    "carries text",
		`{"reply_to_delivery":"d"}`:      "carries reply_to_delivery",
		`{"reason":"says","chat":{}}`:    "carries chat",
		`{"ask":{"text":"t"}}`:           "carries ask",
		`{"reason":"say","key":"k"}`:     "chat.platform: want",
	} {
		if req, err := drain.ParseRequest([]byte(payload)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %v, %v; want an error with %q", payload, req, err, want)
		}
	}
}

func FuzzParseRequest(f *testing.F) { // whatever comes is one of the six reasons, or an error
	f.Add([]byte(`{"reason":"wake","at":"2026-11-23T18:00:00Z"}`))
	f.Add([]byte(`{"reason":"continue","hop":12}`))
	f.Add([]byte(`{"reason":"say","reply_to_delivery":"d","n":1,"text":"t"}`))
	f.Add([]byte(`{"detail-type":"Scheduled Event"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		req, err := drain.ParseRequest(payload)
		if err != nil {
			return
		}
		switch req.Reason {
		case ledger.Wake, ledger.Arm, ledger.Continue, ledger.Check, ledger.Schedule:
		case ledger.Speak:
			if req.Say == nil || req.Say.Key == "" {
				t.Fatal("a say without a key")
			}
		default:
			t.Fatalf("reason %q", req.Reason)
		}
		if req.Hop < 0 {
			t.Fatalf("hop %d", req.Hop)
		}
	})
}
