package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"time"
)

// ChatLife is how long what is remembered of a chat is kept after it was last written.
const ChatLife = 90 * 24 * time.Hour

// ChatName names a chat.
type ChatName struct{ Platform, ID string }

// Chat is what is remembered of a chat beyond a run. A field that is zero says nothing.
type Chat struct {
	Route     json.RawMessage // what an action to the chat needs, JSON; the ledger does not read it
	Routed    time.Time       // when Route was written; it is forgotten after ChatLife
	BotTurns  int             // turns of bots that have started since BotsSince
	BotsSince time.Time
	BotsTold  time.Time // when it was last logged that its bots are over their budget
	Noticed   time.Time // when the chat was last told that the day's budget is used up
	Sorry     time.Time // when it was last told that a message was given up
	NoReact   time.Time // the chat gets no react until then
}

// Chats is what is remembered of chats beyond a run.
type Chats interface {
	// Chats returns what is remembered of these chats, without those of which nothing is.
	Chats(ctx context.Context, names ...ChatName) (map[ChatName]Chat, error)
	// NoteChats remembers what is not zero in each note, in place of what was remembered so far; all else stays. BotTurns
	// goes with BotsSince, Route with Routed. It may be made twice. After an error some of the notes may be written.
	NoteChats(ctx context.Context, notes map[ChatName]Chat) error
}

// With is c with what is not zero in note.
func (c Chat) With(note Chat) Chat {
	later := func(a, b time.Time) time.Time {
		if b.IsZero() {
			return a
		}
		return b
	}
	if !note.Routed.IsZero() {
		c.Route, c.Routed = note.Route, note.Routed
	}
	if !note.BotsSince.IsZero() {
		c.BotTurns, c.BotsSince = note.BotTurns, note.BotsSince
	}
	c.BotsTold, c.Noticed = later(c.BotsTold, note.BotsTold), later(c.Noticed, note.Noticed)
	c.Sorry, c.NoReact = later(c.Sorry, note.Sorry), later(c.NoReact, note.NoReact)
	return c
}

// Day is how many turns have started on a day, of how many that may.
type Day struct {
	Date  string // as DateOf has it; empty: none was counted
	Turns int    // attempts included
	Most  int    // the budget as it was set then
}

// DateOf is the day of a moment, in UTC: 2026-11-27.
func DateOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Later is the one of d and other that was counted later.
func (d Day) Later(other Day) Day {
	if cmp.Or(cmp.Compare(d.Date, other.Date), cmp.Compare(d.Turns, other.Turns)) >= 0 {
		return d
	}
	return other
}

// Limited is how many messages of bots were finished unanswered on a day, being over their budget.
type Limited struct {
	Date     string
	Messages int
}
