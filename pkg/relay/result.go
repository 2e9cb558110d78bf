package relay

import (
	"cmp"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// Result is the connector's answer to an action (section 11).
type Result struct {
	Success        bool            `json:"success"`
	MessageID      string          `json:"message_id,omitempty"`
	Error          string          `json:"error,omitempty"`
	Code           string          `json:"code,omitempty"`
	Ambiguous      bool            `json:"ambiguous,omitempty"`   // it failed, but may have been applied
	Retryable      *bool           `json:"retryable,omitempty"`   // whether sending it again may help; nil: not told
	RetryAfter     float64         `json:"retry_after,omitempty"` // seconds to wait before that; 0: not told
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
			r.Error = cmp.Or(v.text(), v.member("message").text(), v.member("description").text(), v.member("code").text())
		case "code":
			r.Code = v.text()
		case "ambiguous":
			r.Ambiguous = v.isTrue()
		case "retryable":
			r.Retryable = v.boolean()
		case "retry_after":
			r.RetryAfter = v.seconds()
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

// names reports whether a Result without success names a message and nothing that speaks of failure: the message may be there.
func (r Result) names() bool {
	return !r.Success && r.MessageID != "" && r.Error == "" && r.Code == "" && r.Retryable == nil && r.RetryAfter == 0
}

// Pause is RetryAfter as a duration, at most 30 days.
func (r Result) Pause() time.Duration {
	return time.Duration(min(r.RetryAfter, maxPause.Seconds()) * float64(time.Second))
}

const maxPause = 30 * 24 * time.Hour

// boolean is nil for what is neither true nor false.
func (v value) boolean() *bool {
	if !v.isTrue() && (len(v) == 0 || v[0] != 'f') {
		return nil
	}
	return new(v.isTrue())
}

// seconds is a number of seconds, or a text that is one; 0 for anything else, and for what is not positive.
func (v value) seconds() float64 {
	n, err := strconv.ParseFloat(strings.TrimSpace(v.text()), 64)
	if err != nil || !(n > 0) || math.IsInf(n, 0) {
		return 0
	}
	return n
}
