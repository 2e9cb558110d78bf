package turn

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Names that must be the same in every process of an instance: a successor knows by them what its predecessor did. All
// are pure functions.

// message names the message that an event is a state of, and says whether the event is marked as an edit. A message without id
// has no states, and no name.
func message(e *relay.Event) (name string, edit bool) {
	if e == nil || e.MessageID == "" || e.Source.ChatID == "" {
		return "", false
	}
	return hash(e.Source.Platform, e.Source.ChatID, e.MessageID), e.Source.MessageIsEdit
}

// sessionHash names a session for the journal, which orders what it has not read by it.
func sessionHash(session string) string { return hash("session", session)[:8] }

// requestID names an action of a delivery for good: a successor that sends it once more uses the same name.
func requestID(key string, action int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", key, action))
	return hex.EncodeToString(sum[:16])
}

// promptMarker is what the ids of an instance's prompts begin with: 6 hex digits (section 11).
func promptMarker(instance string) string { return hash("prompts", instance)[:6] }

// hash is the first half of a SHA-256 over the parts, each with its length in front: 32 hex digits.
func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.AppendUvarint(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
