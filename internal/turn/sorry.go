package turn

import (
	"context"
	"time"
)

// sorryEvery is how often a chat is told that a message was given up.
const sorryEvery = time.Hour

// sorry knows which chats have been told so, in this run and in those before. It has no lock: memos has one.
type sorry struct {
	memos *memos
}

// mayTell reports whether a chat may be told, and takes that for done.
func (s *sorry) mayTell(ctx context.Context, chat chatName) bool {
	return s.memos.mayApologise(ctx, chat)
}
