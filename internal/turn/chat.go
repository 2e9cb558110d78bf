package turn

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/texts"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	typingEvery = 5 * time.Second // the shortest-lived typing marks last about that long
	editEvery   = time.Second     // platforms throttle edits of a chat's messages that come faster
)

// chats is what this run knows of chats: what a reply to each needs, and when its messages were last edited. It knows
// events and chat ids, no delivery.
//
// Its lock is held for no call. Of each chat it has the newest fact of each kind: what an event leaves out stays as an
// earlier event had it, so that a message without a scope does not take the scope from its chat.
type chats struct {
	link   Link
	marker string // what the ids of this instance's prompts begin with
	texts  texts.Texts

	mu     sync.Mutex
	known  map[chatName]relay.Source // the routing facts by chat (section 10)
	last   map[string]chatName       // by id alone: the chat of that id that has spoken last
	edited map[string]time.Time      // by chat
}

func newChats(link Link, marker string, own texts.Texts) *chats {
	return &chats{
		link: link, marker: marker, texts: own, known: map[chatName]relay.Source{}, last: map[string]chatName{},
		edited: map[string]time.Time{},
	}
}

// shaper returns the shaper for the answer to an event, and remembers what the event knows of its chat.
func (c *chats) shaper(e *relay.Event, session string) action.Shaper {
	return action.Shaper{
		Event: e, Session: session, Marker: c.marker, Source: c.learn(e.Source), Texts: c.texts,
		Descriptor: c.link.Descriptor(e.Source.Platform),
		Find:       func(chat string) (relay.Source, bool) { return c.find(e.Source.Platform, chat) },
		Describe:   c.link.Descriptor,
	}
}

// learn adds what an event knows of its chat, and returns all that is known of the chat.
func (c *chats) learn(s relay.Source) relay.Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := chatName{s.Platform, s.ChatID}
	if old, ok := c.known[name]; ok {
		s.UserID = cmp.Or(s.UserID, old.UserID)
		s.ScopeID = cmp.Or(s.ScopeID, old.ScopeID)
		s.Profile = cmp.Or(s.Profile, old.Profile)
	}
	if s.ChatID != "" {
		c.known[name], c.last[s.ChatID] = s, name
	}
	return s
}

// find returns what is known of a chat of that id: the one of platform, else the one that has spoken last.
func (c *chats) find(platform, chat string) (relay.Source, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.known[chatName{platform, chat}]; ok {
		return s, true
	}
	s, ok := c.known[c.last[chat]]
	return s, ok
}

// of is what this run knows of a chat.
func (c *chats) of(chat chatName) (s relay.Source, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, known = c.known[chat]
	return s, known
}

// nextEdit is when the chat's messages may be edited again.
func (c *chats) nextEdit(chat string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.edited[chat].Add(editEvery)
}

// restEdits has the chat's messages left alone for a while.
func (c *chats) restEdits(chat string, pause time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := time.Now().Add(pause - editEvery); at.After(c.edited[chat]) {
		c.edited[chat] = at
	}
}

// takeEdit waits until the chat's messages may be edited, and takes that edit. It is false if that is far, or ctx ends first.
func (c *chats) takeEdit(ctx context.Context, chat string) bool {
	for {
		c.mu.Lock()
		wait := time.Until(c.edited[chat].Add(editEvery))
		if wait <= 0 {
			c.edited[chat] = time.Now()
			c.mu.Unlock()
			return true
		}
		c.mu.Unlock()
		if wait > workAhead {
			return false
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false
		}
	}
}

// typingMark is what shows in a message's chat that an answer is being made. It has no lock: whoever has the record has
// its mark.
type typingMark struct {
	chats   *chats
	event   *relay.Event
	session string
	shown   time.Time // when it was last shown

	// hidden is set while nothing of the message may be seen in its chat: it presses a button, and we do not know yet
	// whose button, or that nobody has pressed it before.
	hidden bool
}

// typingMark returns the mark for a message.
func (c *chats) typingMark(e *relay.Event, session string) *typingMark {
	return &typingMark{
		chats: c, event: slim(e), session: session,
		hidden: e.PromptResponse != nil && e.PromptResponse.PromptID != "",
	}
}

// show shows the mark once.
func (m *typingMark) show() {
	if !m.hidden {
		m.shown = time.Now()
		m.post(relay.Action{"op": "typing"})
	}
}

// keepShowing shows the mark again and again until ctx ends. It begins at once, unless the mark has just been shown, which
// it has not for a message that an earlier run left or that had to wait.
func (m *typingMark) keepShowing(ctx context.Context) {
	if time.Since(m.shown) >= time.Second {
		m.show()
	}
	tick := time.NewTicker(typingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.show()
		case <-ctx.Done():
			return
		}
	}
}

// clear takes the mark away on Slack, where it stays until then (section 11).
func (m *typingMark) clear() {
	if m.event.Source.Platform == "slack" && !m.hidden {
		m.post(relay.Action{"op": "typing", "content": ""})
	}
}

func (m *typingMark) post(a relay.Action) {
	parts, err := m.chats.shaper(m.event, m.session).Shape(0, a)
	if err != nil {
		return // the connector offers no typing, or the event has no chat
	}
	m.chats.link.Post(relay.Outbound{Platform: parts[0].FramePlatform(m.event.Source.Platform), Action: parts[0].Action})
}
