package turn

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// prepare makes an answer ready for the wire (section 11): each action is checked against the descriptor, addressed to
// the turn's chat unless it names another, given back the routing facts of its chat (section 10), and split if it is long.
func prepare(e *relay.Event, d relay.Descriptor, answer agent.Answer) ([]json.RawMessage, error) {
	var out []json.RawMessage
	for i, a := range answer.Actions {
		if !d.Supports(a.Op()) {
			return nil, fmt.Errorf("agent: actions[%d]: the connector does not offer %q for %s", i, a.Op(), d.Platform)
		}
		a = maps.Clone(a)
		if a.Op() != "follow_up" {
			if err := address(a, e.Source); err != nil {
				return nil, fmt.Errorf("agent: actions[%d].%w", i, err)
			}
		}
		parts := []relay.Action{a}
		if a.Op() == "send" {
			content, ok := a["content"].(string)
			if !ok || content == "" {
				return nil, fmt.Errorf("agent: actions[%d].content: want a string that is not empty", i)
			}
			parts = split(a, d.Split(content))
		}
		for _, p := range parts {
			raw, err := json.Marshal(p)
			if err != nil {
				return nil, fmt.Errorf("agent: actions[%d] cannot be encoded: %w", i, err)
			}
			out = append(out, raw)
		}
	}
	return out, nil
}

// address fills in chat_id and, for the chat that the turn is in, the metadata that a reply needs.
func address(a relay.Action, s relay.Source) error {
	if a["chat_id"] == nil {
		a["chat_id"] = s.ChatID
	}
	chat, ok := a["chat_id"].(string)
	if !ok || chat == "" {
		return fmt.Errorf("chat_id: want a string that is not empty")
	}
	given, ok := a["metadata"].(map[string]any)
	if a["metadata"] != nil && !ok {
		return fmt.Errorf("metadata: want an object")
	}
	metadata := map[string]any{}
	if chat == s.ChatID {
		_, facts := s.Routing()
		for name, value := range facts {
			metadata[name] = value
		}
		// A thread inside its parent's chat is reached by its own id; where the thread is the chat, chat_id says it all.
		if s.ThreadID != "" && s.ThreadID != s.ChatID {
			metadata["thread_id"] = s.ThreadID
		}
	}
	maps.Copy(metadata, given)
	a["metadata"] = metadata
	return nil
}

// split repeats a send for each part of its text; only the first is a reply.
func split(a relay.Action, texts []string) []relay.Action {
	parts := make([]relay.Action, len(texts))
	for i, text := range texts {
		part := maps.Clone(a)
		part["content"] = text
		if _, ok := part["reply_to"]; !ok || i > 0 {
			part["reply_to"] = nil
		}
		parts[i] = part
	}
	return parts
}

// harmless says whether an op may be repeated without anybody noticing: it is not confirmed.
func harmless(op string) bool {
	switch op {
	case "typing", "edit", "react", "delete":
		return true
	}
	return false
}

// requestID names an action for good: a successor that sends it once more uses the same.
func requestID(key string, action int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", key, action))
	return hex.EncodeToString(sum[:16])
}

// Key names a delivery, 32 hex digits: instance, platform, chat and message id, and what it says, so that an edit is a
// new message and a redelivery is not. Without a message id it is the buffer id and the whole event; without either no
// delivery is a repeat of another.
func Key(instance string, d relay.Delivery) string {
	switch e := d.Event; {
	case e != nil && e.MessageID != "" && e.Source.ChatID != "":
		content, _ := json.Marshal([]any{e.Text, e.MessageType, e.MediaURLs, e.Media, e.PromptResponse})
		return hash(instance, "message", e.Source.Platform, e.Source.ChatID, e.MessageID, string(content))
	case d.BufferID != "":
		content, _ := json.Marshal([]any{d.Kind, d.Event, d.Forward, d.Fault})
		return hash(instance, "buffered", d.BufferID, string(content))
	}
	return hash(instance, "live", rand.Text())
}

// hash is the first half of a SHA-256 over the parts, each with its length in front.
func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.AppendUvarint(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
