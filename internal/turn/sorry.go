package turn

import (
	"sync"
	"time"
)

// sorryEvery is how often a chat is told that a message was given up.
const sorryEvery = time.Hour

// sorry knows which chats have been told so. Its lock is held for no call.
type sorry struct {
	mu   sync.Mutex
	told map[chatName]time.Time
}

// mayTell reports whether a chat may be told, and takes that for done.
func (s *sorry) mayTell(chat chatName) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if last, ok := s.told[chat]; ok && now.Sub(last) < sorryEvery {
		return false
	}
	s.told[chat] = now
	return true
}
