package relay_test

import (
	"encoding/json"
	"strings"
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

func TestAResultIsBounded(t *testing.T) {
	is := is.New(t)
	long := strings.Repeat("é", 100_000)
	var r relay.Result
	is.NoErr(json.Unmarshal([]byte(`{"success":true,"message_id":"`+long+`","thread_id":"`+long+`","error":"`+long+`","code":"`+long+
		`","auto_thread_name":"`+long+`","chat_info":{"name":"`+long+`"}}`), &r))
	is.True(r.Success)
	is.Equal(r.MessageID, "") // nothing can be done with a part of an id
	is.Equal(r.ThreadID, "")
	is.Equal(r.Error, strings.Repeat("é", 2048))
	is.Equal(r.Code, strings.Repeat("é", 512))
	is.Equal(r.AutoThreadName, strings.Repeat("é", 512))
	is.Equal(r.ChatInfo, nil)

	id := strings.Repeat("i", 1024)
	is.NoErr(json.Unmarshal([]byte(`{"message_id":"`+id+`","thread_id":"`+id+`","error":"x`+strings.Repeat("é", 2048)+`"}`), &r))
	is.Equal(r.MessageID, id)
	is.Equal(r.ThreadID, id)
	is.Equal(r.Error, "x"+strings.Repeat("é", 2047)) // no half character
}
