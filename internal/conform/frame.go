package conform

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// frame is one line from the connector.
type frame struct {
	Type      string          `json:"type"`
	Event     json.RawMessage `json:"event"`
	BufferID  json.RawMessage `json:"bufferId"`
	RequestID string          `json:"requestId"`
	Result    json.RawMessage `json:"result"`
	Desc      json.RawMessage `json:"descriptor"`
	Forward   json.RawMessage `json:"forward"`
	Key       string          `json:"session_key"`
	Chat      string          `json:"chat_id"`
	line      string
}

// bufferID is the id as it came, or "".
func (f frame) bufferID() string {
	var id string
	if json.Unmarshal(f.BufferID, &id) != nil {
		return ""
	}
	return id
}

// source is an event's.
func (f frame) source() map[string]any {
	var event struct {
		Source map[string]any `json:"source"`
	}
	if json.Unmarshal(f.Event, &event) != nil {
		return nil
	}
	return event.Source
}

// path is a forward's.
func (f frame) path() string {
	var forward struct {
		Path string `json:"path"`
	}
	if json.Unmarshal(f.Forward, &forward) != nil {
		return ""
	}
	return forward.Path
}

// about is the chat that a delivery is about; this kit's forwards have it as their path.
func (f frame) about() string {
	if f.Type == relay.TypePassthrough {
		return strings.TrimPrefix(f.path(), "/")
	}
	_, chat := f.said()
	return chat
}

// said are an event's text and chat.
func (f frame) said() (text, chat string) {
	var event struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(f.Event, &event) != nil {
		return "", ""
	}
	chat, _ = f.source()["chat_id"].(string)
	return event.Text, chat
}

// requestID is 32 hex digits.
func requestID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// mangled is a token with its signature changed.
func mangled(token string) string {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) == 0 {
		return "x"
	}
	last := &raw[len(raw)-1]
	*last = map[bool]byte{true: '1', false: '0'}[*last == '0']
	return base64.RawURLEncoding.EncodeToString(raw)
}
