package turn

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// What the chat of a dead message is told is a delivery of its own: its answer is whole, and no agent is asked about it. So it
// waits, is tried again and is left like any answer.

// sorryEvery is how often a chat is told that a message was given up.
const sorryEvery = time.Hour

// sorry knows which chats are to be told so; memos knows which have been. Its lock is held for no call.
type sorry struct {
	memos *memos

	mu   sync.Mutex
	owed map[chatName]bool
}

// mayTell reports whether a chat may be told. Then it is to be told, until said is called.
func (s *sorry) mayTell(ctx context.Context, chat chatName) bool {
	if !s.memos.mayApologise(ctx, chat) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owed[chat] {
		return false
	}
	s.owed[chat] = true
	return true
}

// owes is for a chat that an earlier run had to tell.
func (s *sorry) owes(chat chatName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owed[chat] = true
}

// said is for a chat that has been told, or does not want to be.
func (s *sorry) said(chat chatName) {
	s.memos.apologised(chat)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.owed, chat)
}

// unsaid is for a chat that will not be told.
func (s *sorry) unsaid(chat chatName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.owed, chat)
}

// apologySuffix is what the key of an apology ends with: what is before it is that of the message that is dead.
const apologySuffix = "/apology"

func isApology(key string) bool { return strings.HasSuffix(key, apologySuffix) }

// chatOf names the chat that an event is from.
func chatOf(e *relay.Event) chatName { return chatName{e.Source.Platform, e.Source.ChatID} }
