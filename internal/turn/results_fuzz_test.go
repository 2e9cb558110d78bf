package turn

import (
	"encoding/json"
	"testing"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Whatever a connector answers, its outcome can be told to an agent, and the turn can be kept and read again.
func FuzzResults(f *testing.F) {
	f.Add("get_chat_info", `{"success":true,"chat_info":{"name":"dev","type":"group"}}`)
	f.Add("get_chat_info", `{"success":true,"chat_info":[1,"\ud800"]}`)
	f.Add("thread_create", `{"success":true,"thread_id":7,"message_id":"m:1"}`)
	f.Add("send", `{"success":true,"message_id":"ok:unknown"}`)
	f.Fuzz(func(t *testing.T, op, raw string) {
		var result relay.Result
		if json.Unmarshal([]byte(raw), &result) != nil {
			return
		}
		o := action.Outgoing{Action: relay.Action{"op": op}, Result: "r"}
		encoded, err := action.Encode([]action.Outgoing{o})
		if err != nil {
			return
		}
		a := answer{actions: encoded, outcomes: []string{accepted(o, result)}}
		told := a.results()
		if !told["r"].Success {
			t.Fatalf("%q is told as %+v", a.outcomes[0], told)
		}
		kept, err := json.Marshal(keptBody{Results: told})
		if err != nil {
			t.Fatal(err)
		}
		var again keptBody
		if err := json.Unmarshal(kept, &again); err != nil || again.Results["r"].MessageID != told["r"].MessageID && json.Valid([]byte(raw)) && isUTF8(told["r"]) {
			t.Fatalf("%s is read as %+v: %v", kept, again.Results, err)
		}
	})
}

func isUTF8(r agent.Result) bool {
	raw, err := json.Marshal(r.MessageID)
	var back string
	return err == nil && json.Unmarshal(raw, &back) == nil && back == r.MessageID
}
