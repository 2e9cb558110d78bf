package relay

import (
	"encoding/json"
	"strings"
)

// Result is the connector's answer to an action (section 11).
type Result struct {
	Success        bool            `json:"success"`
	MessageID      string          `json:"message_id,omitempty"`
	Error          string          `json:"error,omitempty"`
	Code           string          `json:"code,omitempty"`
	Ambiguous      bool            `json:"ambiguous,omitempty"` // it failed, but may have been applied
	ThreadID       string          `json:"thread_id,omitempty"`
	AutoThreadName string          `json:"auto_thread_name,omitempty"`
	ChatInfo       json.RawMessage `json:"chat_info,omitempty"`
}

// UnmarshalJSON fails only for bad JSON. A value that is not an object, or has no success true, is a failed Result.
func (r *Result) UnmarshalJSON(raw []byte) error {
	v, ok := parse(raw)
	if !ok {
		return errNotJSON
	}
	*r = decodeResult(v)
	return nil
}

func decodeResult(v value) Result {
	var r Result
	for name, v := range v.members() {
		switch string(name) {
		case "success":
			r.Success = v.isTrue()
		case "message_id":
			r.MessageID = v.text()
		case "error":
			r.Error = v.text()
		case "code":
			r.Code = v.text()
		case "ambiguous":
			r.Ambiguous = v.isTrue()
		case "thread_id":
			r.ThreadID = v.text()
		case "auto_thread_name":
			r.AutoThreadName = v.text()
		case "chat_info":
			r.ChatInfo = json.RawMessage(append([]byte(nil), v...))
		}
	}
	return r
}

// Declined reports whether the connector refuses the destination, not the action (section 11): then no other action may
// be sent there either.
func (r Result) Declined() bool {
	return !r.Success && !r.Ambiguous &&
		(r.Code == "egress_declined" || strings.Contains(strings.ToLower(r.Error), "egress declined:"))
}
