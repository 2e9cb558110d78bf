package demo

import (
	_ "embed"
	"encoding/json"
)

//go:embed messages.json
var messagesJSON []byte

// Message is one that a simulated user writes.
type Message struct {
	From string `json:"from"` // for people

	// Event is what is delivered, or, beside a forward, what the agent is to make of it.
	Event json.RawMessage `json:"event"`

	Forward     map[string]any  `json:"forward"` // but for its bodyB64, which is the interaction
	Interaction json.RawMessage `json:"interaction"`
}

// Script returns the messages while the gateway sleeps for the first and for the second time.
func Script() (asleep, again []Message) {
	var script struct {
		Asleep []Message `json:"asleep"`
		Again  []Message `json:"again"`
	}
	if err := json.Unmarshal(messagesJSON, &script); err != nil {
		panic("demo: messages.json: " + err.Error())
	}
	return script.Asleep, script.Again
}

// delivery is the control API's path and body for it.
func (m Message) delivery() (path string, body map[string]any) {
	if m.Forward == nil {
		return "/deliver", map[string]any{"gateway": Gateway, "event": m.Event}
	}
	forward := map[string]any{"bodyB64": []byte(m.Interaction)} // a byte slice marshals as base64
	for name, value := range m.Forward {
		forward[name] = value
	}
	return "/forward", map[string]any{"gateway": Gateway, "forward": forward}
}

// expectation is what the echo of a message must look like: it is read from the wire form alone, not by package relay.
type expectation struct {
	Text   string `json:"text"`
	Source struct {
		Platform string `json:"platform"`
		ChatID   string `json:"chat_id"`
		ScopeID  string `json:"scope_id"`
		UserID   string `json:"user_id"`
		ThreadID string `json:"thread_id"`
	} `json:"source"`
}

// Text is what the echo of it says.
func (m Message) Text() string { return m.expectation().Text }

func (m Message) expectation() expectation {
	var e expectation
	if err := json.Unmarshal(m.Event, &e); err != nil {
		panic("demo: messages.json: " + err.Error())
	}
	return e
}
