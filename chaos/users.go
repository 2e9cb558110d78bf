package main

import (
	"context"
	"fmt"
	"time"

	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// message is one of a simulated user's.
type message struct {
	session, number int
	key             string // of its delivery
	buffered        bool   // has a buffer id: the connector sends it until it is acked
	calm            bool   // written when no fault was injected any more and all was settled
}

func (m message) id() string { return fmt.Sprintf("%d-%d", m.session, m.number) }

// users write numbered messages, each in a chat of his own. It returns the number of the next.
func (r *run) users(ctx context.Context) (next int) {
	for next = 1; ctx.Err() == nil; next++ {
		for session := range sessions {
			if r.between(0, 1000) < 300*time.Millisecond {
				pause(ctx, r.between(10, 300))
			}
			r.write(message{session: session, number: next})
		}
		pause(ctx, r.between(50, 500))
	}
	return next
}

func (r *run) write(m message) {
	event := relay.Event{
		Text: "message " + m.id(), MessageType: "text", MessageID: m.id(),
		Source: relay.Source{
			Platform: "discord", ChatID: fmt.Sprint("chat-", m.session), ChatType: "group", UserID: "user", ScopeID: "scope",
		},
	}
	m.key = turn.Key(r.gateway, relay.Delivery{Kind: relay.KindInbound, Event: &event})
	m.buffered = r.connector.Deliver(r.gateway, event) != ""
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, m)
}
