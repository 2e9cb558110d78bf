package turn

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

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

// marker is what the ids of an instance's prompts begin with, from process to process: 6 hex digits (section 11).
func marker(instance string) string { return hash("prompts", instance)[:6] }
