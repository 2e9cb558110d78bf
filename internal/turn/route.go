package turn

import (
	"bytes"
	"cmp"
	"encoding/json"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Route is what an action to a chat needs that no message asked for, as the ledger remembers it.
type Route struct {
	Platform     string `json:"platform"`
	ChatID       string `json:"chat_id"`
	ChatType     string `json:"chat_type"`
	ScopeID      string `json:"scope_id,omitempty"`
	Profile      string `json:"profile,omitempty"`
	ParentChatID string `json:"parent_chat_id,omitempty"`
	ThreadID     string `json:"thread_id,omitempty"` // of a message of the chat; another one's is no change
	UserID       string `json:"user_id,omitempty"`   // likewise
}

// saidBy is what a message itself says of its chat's route.
func saidBy(s relay.Source) Route {
	return Route{
		Platform: s.Platform, ChatID: s.ChatID, ChatType: s.ChatType, ScopeID: s.ScopeID, Profile: s.Profile,
		ParentChatID: s.ParentChatID, ThreadID: s.ThreadID, UserID: s.UserID,
	}
}

// routeOf is the route of a message's chat. What the message leaves out stays as it was. changed reports whether it is another
// chat's place; that somebody else speaks in it, or in another thread, is no change.
func routeOf(s Route, before json.RawMessage) (route json.RawMessage, changed bool) {
	var old Route
	known := json.Unmarshal(before, &old) == nil
	r := Route{
		Platform: s.Platform, ChatID: s.ChatID, ChatType: cmp.Or(s.ChatType, old.ChatType), ScopeID: cmp.Or(s.ScopeID, old.ScopeID),
		Profile: cmp.Or(s.Profile, old.Profile), ParentChatID: cmp.Or(s.ParentChatID, old.ParentChatID),
		ThreadID: cmp.Or(s.ThreadID, old.ThreadID), UserID: cmp.Or(s.UserID, old.UserID),
	}
	same := r
	if old.ThreadID != "" {
		same.ThreadID = old.ThreadID
	}
	if old.UserID != "" {
		same.UserID = old.UserID
	}
	route, _ = json.Marshal(r) // texts: it marshals
	unchanged, _ := json.Marshal(same)
	return route, !known || !bytes.Equal(unchanged, before)
}
