package conform

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
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
