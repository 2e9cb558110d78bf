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
//
// A message whose chat is to be told anyway has no apology of its own. That counts only from when the other message is dead: until
// then its apology is void if the process dies. So several may be kept; which of them is said is decided when the first is.
type sorry struct {
	memos *memos

	mu     sync.Mutex
	owed   map[chatName]bool
	saying map[chatName]string // the key of the apology that is being said
}

// mayTell reports whether a chat is to be told of a message that will be dead.
func (s *sorry) mayTell(ctx context.Context, chat chatName) bool {
	if !s.memos.mayApologise(ctx, chat) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.owed[chat]
}

// owes is for a chat that has an apology whose message is dead, of this run or of an earlier one.
func (s *sorry) owes(chat chatName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owed[chat] = true
}

// mayBeSaid reports whether an apology is the one that its chat is told, and not another one.
func (s *sorry) mayBeSaid(ctx context.Context, chat chatName, key string) bool {
	if !s.memos.mayApologise(ctx, chat) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, busy := s.saying[chat]; busy && other != key {
		return false
	}
	s.saying[chat] = key
	return true
}

// said is for a chat that has been told, or does not want to be.
func (s *sorry) said(chat chatName) {
	s.memos.apologised(chat)
	s.unsaid(chat)
}

// unsaid is for a chat that will not be told.
func (s *sorry) unsaid(chat chatName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.owed, chat)
	delete(s.saying, chat)
}

// apologySuffix is what the key of an apology ends with: what is before it is that of the message that is dead.
const apologySuffix = "/apology"

func isApology(key string) bool { return strings.HasSuffix(key, apologySuffix) }

// chatOf names the chat that an event is from.
func chatOf(e *relay.Event) chatName { return chatName{e.Source.Platform, e.Source.ChatID} }
