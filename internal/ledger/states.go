package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// A message that was edited comes again, under the same message id and with another content: that is another state of the
// message, and a delivery of its own. What is only delivered again is a repeat. Which of the two it is, Place says.

// StateLife is how long the last state of a message is known.
const StateLife = 7 * 24 * time.Hour

// latestStates is among how many of a message's latest states a content is looked for that has come back.
const latestStates = 90

// LastState is the newest known state of a message.
type LastState struct {
	Content string // the Key that an entry with its content was received with
	Key     string // the Key that the entry has
	Number  int    // among the message's states; 0: none is known
}

// KnownState is an entry that is known, and has the content of one that has come.
type KnownState struct {
	Key     string
	State   State
	Buffers []string // the buffer ids that it has come under
	Unsaid  bool     // nothing is known of them: the version before wrote it
}

// StateKey is the key of the entry of a content that has come back, as the message's so many-th state.
func StateKey(content string, number int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s#%d", content, number))
	return hex.EncodeToString(sum[:16])
}

// StateKeys are the keys that entries with the content of e may have.
func (e Entry) StateKeys(last LastState) []string {
	keys := []string{e.Key}
	for n := max(2, last.Number-latestStates+1); n <= last.Number; n++ {
		keys = append(keys, StateKey(e.Key, n))
	}
	return keys
}

// Place says what an entry is whose content some entries have already: a repeat of one of them, or, if repeat is nil, a new
// state of its message, which next is then, with the Key that the entry gets.
//
// What comes under a buffer id that an entry knows is its repeat, whatever came since. Anything else is a repeat if its
// content is that of the last state, but not that of an earlier one: A, A is one message, and A, B, A are three. What is marked
// as an edit and comes under another buffer id is new. A content that comes first keeps its Key.
func (e Entry) Place(last LastState, known []KnownState) (repeat *KnownState, next LastState) {
	find := func(is func(KnownState) bool) *KnownState {
		if i := slices.IndexFunc(known, is); i >= 0 {
			return &known[i]
		}
		return nil
	}
	under := func(key string) *KnownState { return find(func(k KnownState) bool { return k.Key == key }) }
	buffered := e.Buffer != ""
	if buffered {
		if k := find(func(k KnownState) bool { return slices.Contains(k.Buffers, e.Buffer) }); k != nil {
			return k, last
		}
	}
	var same *KnownState // the entry that it repeats if it is no edit
	switch last.Content {
	case e.Key:
		same = under(last.Key)
	case "":
		same = under(e.Key)
	default:
		if buffered {
			same = find(func(k KnownState) bool { return k.Unsaid })
		}
	}
	if same != nil && (same.Unsaid || !buffered || !e.Edit) {
		return same, last
	}
	next = LastState{Content: e.Key, Key: e.Key, Number: last.Number + 1}
	for under(next.Key) != nil {
		next.Number = max(next.Number, 2)
		if next.Key = StateKey(e.Key, next.Number); under(next.Key) != nil {
			next.Number++
		}
	}
	return nil, next
}

// mostBuffers is how many buffer ids an entry knows.
const mostBuffers = 16

// Learns says whether the entry is to know the buffer id of its repeat e.
func (k KnownState) Learns(e Entry) bool {
	return e.Buffer != "" && !k.Unsaid && len(k.Buffers) < mostBuffers && !slices.Contains(k.Buffers, e.Buffer)
}
