package turn

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	botWindow  = time.Hour      // what BotTurns are counted in, from the first of them on
	routeAge   = 24 * time.Hour // a route that is as old is written anew, so that it is not forgotten
	reactRest  = 24 * time.Hour // how long a chat gets no react that has refused one for good
	memosAtOne = 64             // chats that are looked up in one call
)

// memos is what is remembered of chats beyond a run. A chat is read when something of it is first asked for, and its route
// beside the end of a turn: nothing here holds up an ack. What cannot be read is as if nothing were remembered; what cannot
// be written holds for this run. It knows chats, no delivery. Its lock is held for no call.
type memos struct {
	ledger ledger.Chats // nil: nothing outlives the run
	run    *lifetime
	log    *slog.Logger
	bots   int // turns of bots an hour and chat; zero: any number, negative: none

	mu      sync.Mutex
	known   map[chatName]*memo
	routes  map[chatName]relay.Source // that have been seen, and were not compared
	writing bool                      // a goroutine compares them
}

// memo is what is remembered of one chat. The lock of memos guards it.
type memo struct {
	ledger.Chat
	read    chan struct{} // closed once the ledger was asked
	reading bool
	said    Route // what the message said whose route was compared last
}

func newMemos(cfg Config, run *lifetime) *memos {
	return &memos{
		ledger: cfg.Chats, run: run, log: cfg.Log, bots: cfg.BotTurns, known: map[chatName]*memo{},
		routes: map[chatName]relay.Source{},
	}
}

func (n chatName) remembered() ledger.ChatName {
	return ledger.ChatName{Platform: n.platform, ID: n.chat}
}

// of is the memo of a chat, which may not be read yet. The lock is held.
func (m *memos) of(chat chatName) *memo {
	found := m.known[chat]
	if found == nil {
		found = &memo{read: make(chan struct{})}
		m.known[chat] = found
	}
	return found
}

// readAll sees to it that the ledger was asked for chats, and waits for that.
func (m *memos) readAll(ctx context.Context, chats ...chatName) {
	var mine []chatName
	var others []*memo
	m.mu.Lock()
	for _, chat := range chats {
		if found := m.of(chat); found.reading {
			others = append(others, found)
		} else {
			found.reading = true
			mine = append(mine, chat)
		}
	}
	m.mu.Unlock()
	if len(mine) > 0 {
		m.readThese(ctx, mine)
	}
	for _, other := range others {
		select {
		case <-other.read:
		case <-ctx.Done():
			return
		}
	}
}

func (m *memos) readThese(ctx context.Context, chats []chatName) {
	var found map[ledger.ChatName]ledger.Chat
	if m.ledger != nil {
		names := make([]ledger.ChatName, len(chats))
		for i, chat := range chats {
			names[i] = chat.remembered()
		}
		reading, cancel := context.WithTimeout(ctx, recordTime)
		defer cancel()
		var err error
		if found, err = m.ledger.Chats(reading, names...); err != nil {
			m.log.Warn(logs.ChatsUnreadable, logs.KeyError, err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, chat := range chats {
		known := m.of(chat)
		known.Chat = found[chat.remembered()].With(known.Chat) // which was noted before
		close(known.read)
	}
}

// note writes down what is new of a chat.
func (m *memos) note(chat chatName, what ledger.Chat) {
	if m.ledger == nil {
		return
	}
	ctx, cancel := m.run.recording()
	defer cancel()
	if err := m.ledger.NoteChats(ctx, map[ledger.ChatName]ledger.Chat{chat.remembered(): what}); err != nil {
		m.log.Warn(logs.ChatNotNoted, logs.KeyError, err)
	}
}

// botTurn takes a turn for a bot's message, if its chat's bots have one left in this hour. tell reports whether nobody has
// been told so far that they have not.
func (m *memos) botTurn(ctx context.Context, chat chatName) (ok, tell bool) {
	if m.bots == 0 || chat.chat == "" {
		return true, false
	}
	m.readAll(ctx, chat)
	m.mu.Lock()
	known, now := m.of(chat), time.Now()
	if now.Sub(known.BotsSince) >= botWindow {
		known.BotTurns, known.BotsSince = 0, now
	}
	ok = known.BotTurns < m.bots
	tell = !ok && known.BotsTold.Before(known.BotsSince)
	switch {
	case ok:
		known.BotTurns++
	case tell:
		known.BotsTold = now
	}
	what := ledger.Chat{BotTurns: known.BotTurns, BotsSince: known.BotsSince, BotsTold: known.BotsTold}
	m.mu.Unlock()
	if ok || tell {
		m.note(chat, what)
	}
	return ok, tell
}

// mayNotice reports whether a chat may be told of the day's budget, and takes that for done.
func (m *memos) mayNotice(ctx context.Context, chat chatName) bool {
	now := time.Now()
	return m.once(ctx, chat, ledger.Chat{Noticed: now}, func(c ledger.Chat) bool {
		return ledger.DateOf(c.Noticed) != ledger.DateOf(now)
	})
}

// notNoticed is for a chat that could not be told.
func (m *memos) notNoticed(chat chatName) {
	what := ledger.Chat{Noticed: time.Unix(0, 0)} // a note of nothing changes nothing
	m.mu.Lock()
	known := m.of(chat)
	known.Chat = known.With(what)
	m.mu.Unlock()
	m.note(chat, what)
}

// mayApologise reports whether a chat may be told that a message was given up.
func (m *memos) mayApologise(ctx context.Context, chat chatName) bool {
	m.readAll(ctx, chat)
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.of(chat).Sorry) >= sorryEvery
}

// apologised is for a chat that has been told so.
func (m *memos) apologised(chat chatName) {
	what := ledger.Chat{Sorry: time.Now()}
	m.mu.Lock()
	known := m.of(chat)
	known.Chat = known.With(what)
	m.mu.Unlock()
	m.note(chat, what)
}

// once notes something of a chat if what is known of it allows that.
func (m *memos) once(ctx context.Context, chat chatName, what ledger.Chat, allows func(ledger.Chat) bool) bool {
	m.readAll(ctx, chat)
	m.mu.Lock()
	known := m.of(chat)
	ok := allows(known.Chat)
	if ok {
		known.Chat = known.With(what)
	}
	m.mu.Unlock()
	if ok {
		m.note(chat, what)
	}
	return ok
}

// route is how a chat is reached, as the ledger remembers it. The chat must have been read.
func (m *memos) route(chat chatName) (r Route, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known = json.Unmarshal(m.of(chat).Route, &r) == nil
	return r, known
}

// mayReact reports whether a react may be sent to a chat.
func (m *memos) mayReact(ctx context.Context, chat chatName) bool {
	m.readAll(ctx, chat)
	m.mu.Lock()
	defer m.mu.Unlock()
	return !time.Now().Before(m.of(chat).NoReact)
}

// reactKnown is mayReact if the ledger need not be asked; else known is false.
func (m *memos) reactKnown(chat chatName) (may, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.of(chat)
	select {
	case <-found.read:
		known = true
	default:
		known = m.ledger == nil
	}
	return !time.Now().Before(found.NoReact), known
}

// noReact has a chat get no react for a day.
func (m *memos) noReact(chat chatName) {
	until := time.Now().Add(reactRest)
	m.mu.Lock()
	m.of(chat).NoReact = until
	m.mu.Unlock()
	m.note(chat, ledger.Chat{NoReact: until})
}

// seen is for a message of a source whose turn is over: its chat's route is written if it is new, or a day old.
func (m *memos) seen(s relay.Source) {
	if m.ledger == nil || s.ChatID == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.routes[chatName{s.Platform, s.ChatID}] = s
	if !m.writing {
		m.writing = true
		m.run.start(m.writeRoutes)
	}
}

func (m *memos) writeRoutes() {
	for {
		m.mu.Lock()
		seen := map[chatName]relay.Source{}
		for chat, s := range m.routes {
			if len(seen) < memosAtOne {
				seen[chat] = s
				delete(m.routes, chat)
			}
		}
		m.writing = len(seen) > 0
		m.mu.Unlock()
		if len(seen) == 0 {
			return
		}
		ctx, cancel := m.run.recording()
		m.writeThese(ctx, seen)
		cancel()
	}
}

func (m *memos) writeThese(ctx context.Context, seen map[chatName]relay.Source) {
	m.readAll(ctx, slices.Collect(maps.Keys(seen))...)
	notes := map[ledger.ChatName]ledger.Chat{}
	now := time.Now()
	m.mu.Lock()
	for chat, s := range seen {
		known := m.of(chat)
		said := saidBy(s)
		if said == known.said && now.Sub(known.Routed) < routeAge {
			continue
		}
		known.said = said
		route, changed := routeOf(said, known.Route)
		if changed || now.Sub(known.Routed) >= routeAge {
			known.Route, known.Routed = route, now
			notes[chat.remembered()] = ledger.Chat{Route: route, Routed: now}
		}
	}
	m.mu.Unlock()
	if len(notes) == 0 {
		return
	}
	if err := m.ledger.NoteChats(ctx, notes); err != nil {
		m.log.Warn(logs.ChatNotNoted, logs.KeyError, err)
	}
}
