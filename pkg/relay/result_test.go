package relay_test

import (
	"encoding/json"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestDeclined(t *testing.T) {
	type answer struct {
		Result   json.RawMessage
		Declined bool
	}
	note := func(c answer) string { return string(c.Result) }
	eachVector(t, vectors[answer](t, "egress_declines"), note, nil, func(c answer) string {
		var r relay.Result
		if err := json.Unmarshal(c.Result, &r); err != nil {
			return err.Error()
		}
		return unlike("declined", r.Declined(), c.Declined)
	})
}

func TestResultReadsEveryFieldLeniently(t *testing.T) {
	tests := map[string]struct {
		raw  string
		want relay.Result
	}{
		"all": {
			`{"success":true,"message_id":7,"error":null,"code":"c","ambiguous":true,"thread_id":"t",` +
				`"auto_thread_name":"n","chat_info":{"name":"x"}}`,
			relay.Result{
				Success: true, MessageID: "7", Code: "c", Ambiguous: true, ThreadID: "t", AutoThreadName: "n",
				ChatInfo: json.RawMessage(`{"name":"x"}`),
			},
		},
		"empty":                {`{}`, relay.Result{}},
		"success of odd type":  {`{"success":"yes","error":{}}`, relay.Result{}},
		"an error object":      {`{"success":false,"error":{"code":429,"message":"slow down"}}`, relay.Result{Error: "slow down"}},
		"an error's code":      {`{"success":false,"error":{"code":429}}`, relay.Result{Error: "429"}},
		"another":              {`{"error":{"description":"no"}}`, relay.Result{Error: "no"}},
		"an array":             {`[true]`, relay.Result{}},
		"the last of two wins": {`{"success":true,"success":false,"error":"no"}`, relay.Result{Error: "no"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			r := relay.Result{MessageID: "stale"}
			is.NoErr(json.Unmarshal([]byte(tt.raw), &r))
			is.Equal(r, tt.want)
		})
	}
}
