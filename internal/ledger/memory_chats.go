package ledger

import (
	"context"
	"time"
)

func (l *memoryLease) Chats(_ context.Context, names ...ChatName) (found map[ChatName]Chat, err error) {
	found = map[ChatName]Chat{}
	err = l.held(func() error {
		for _, name := range names {
			c, ok := l.chats[name]
			if !ok || time.Since(c.written) >= ChatLife {
				continue
			}
			if time.Since(c.Routed) >= ChatLife {
				c.Route, c.Routed = nil, time.Time{}
			}
			found[name] = c.Chat
		}
		return nil
	})
	return found, err
}

// memoryChat is a chat, and when something was last written of it.
type memoryChat struct {
	Chat
	written time.Time
}

// mostChats is how many chats a Memory remembers. What is remembered of them is lost beyond, all at once.
const mostChats = 1 << 14

func (l *memoryLease) NoteChats(_ context.Context, notes map[ChatName]Chat) error {
	return l.held(func() error {
		if len(l.chats)+len(notes) > mostChats {
			clear(l.chats)
		}
		for name, note := range notes {
			l.chats[name] = memoryChat{l.chats[name].With(note), time.Now()}
		}
		return nil
	})
}

func (l *memoryLease) StartCounted(_ context.Context, key string, s State, day Day) error {
	if key == "" {
		return l.held(func() error {
			l.day = l.day.Later(day)
			return nil
		})
	}
	return l.set(key, func(e *kept) {
		e.State, l.day = s, l.day.Later(day)
	})
}

func (l *memoryLease) SetLimited(_ context.Context, n Limited) error {
	return l.held(func() error {
		l.limited = n
		return nil
	})
}
