package turn

import (
	"cmp"
	"sync"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// routes are what a reply to each chat needs (section 10), from all events of this run. What an event leaves out is as
// an earlier one had it, so that a message without a scope does not take it from its chat.
type routes struct {
	mu    sync.Mutex
	chats map[string]relay.Source
}

// note adds what an event knows of its chat, and returns all that is known of it.
func (r *routes) note(s relay.Source) relay.Source {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.chats[s.ChatID]; old.Platform == s.Platform {
		s.UserID = cmp.Or(s.UserID, old.UserID)
		s.ScopeID = cmp.Or(s.ScopeID, old.ScopeID)
		s.Profile = cmp.Or(s.Profile, old.Profile)
	}
	if s.ChatID != "" {
		r.chats[s.ChatID] = s
	}
	return s
}

// find returns what is known of a chat.
func (r *routes) find(chat string) (relay.Source, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.chats[chat]
	return s, ok
}
