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
	Ambiguous      bool            `json:"ambiguous,omitempty"` // failed, and may have been applied all the same
	ThreadID       string          `json:"thread_id,omitempty"`
	AutoThreadName string          `json:"auto_thread_name,omitempty"`
	ChatInfo       json.RawMessage `json:"chat_info,omitempty"`
}

// UnmarshalJSON fails only for bad JSON. What is not an object is a failure, and so is one without success true.
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

// Declined says that the connector refuses the destination, not the action (section 11): nothing may be sent there in
// its stead, by no other op either.
func (r Result) Declined() bool {
	return !r.Success && !r.Ambiguous &&
		(r.Code == "egress_declined" || strings.Contains(strings.ToLower(r.Error), "egress declined:"))
}
