package devconnector

import (
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// turn is what the Rust cell takes for one: from a chat's message until the eyes come off it (section 19). A pointer to one
// tells a turn from the next one of that chat.
type turn struct{ from time.Time }

// beginTurn holds back a chat's next entry until endTurn, or until Preset.TurnLimit is over.
func (i *instance) beginTurn(chat string) {
	limit := i.c.preset().TurnLimit
	if limit <= 0 {
		return
	}
	begun := &turn{from: time.Now()}
	i.turns[chat] = begun
	i.c.later(limit, func() {
		if i.turns[chat] == begun {
			delete(i.turns, chat)
			i.pump()
		}
	})
}

// endTurn looks whether an action takes the eyes off, and then sends what that chat waits for.
func (i *instance) endTurn(action relay.Action) {
	if action.Op() == "react" && action["remove"] == true {
		chat := text(action["chat_id"])
		if i.turns[chat] != nil {
			delete(i.turns, chat)
			i.pump()
		}
	}
}

// makeRoom drops the oldest entry of a chat for which Preset.ChatLimit entries wait.
func (i *instance) makeRoom(chat string) {
	limit := i.c.preset().ChatLimit
	if limit <= 0 || i.pending[chat] < limit {
		return
	}
	for _, e := range i.waiting {
		if e.chat == chat && !e.acked {
			i.dropped++
			i.observe(Observation{What: ObsDropped, Chat: chat, MessageID: e.message, BufferID: e.id, Detail: "too many wait for this chat"})
			i.forget(e)
			return
		}
	}
}
