package relay

import (
	"cmp"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// Result is the connector's answer to an action (section 11). As it is read from a frame, an id over 1 KiB is empty, Error has at
// most 4 KiB, and a ChatInfo over 64 KiB is nil.
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
			r.MessageID = resultID(v)
		case "error":
			r.Error = cutText(cmp.Or(v.text(), v.member("message").text(), v.member("description").text(), v.member("code").text()), maxWords)
		case "code":
			r.Code = cutText(v.text(), maxID)
		case "ambiguous":
			r.Ambiguous = v.isTrue()
		case "retryable":
			r.Retryable = v.boolean()
		case "retry_after":
			r.RetryAfter = v.seconds()
		case "thread_id":
			r.ThreadID = resultID(v)
		case "auto_thread_name":
			r.AutoThreadName = cutText(v.text(), maxID)
		case "chat_info":
			if len(v) <= maxChatInfo {
				r.ChatInfo = json.RawMessage(append([]byte(nil), v...))
			}
		}
	}
	return r
}

const (
	maxWords    = 4 << 10  // bytes of a connector's own words: they are logged and kept
	maxChatInfo = 64 << 10 // bytes; what is more is as if it were not there
)

// resultID is an id of a result; one that is too long is none.
func resultID(v value) string {
	id := v.text()
	if len(id) > maxID {
		return ""
	}
	return id
}

// cutText is at most so many bytes of text, and no half character.
func cutText(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
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
