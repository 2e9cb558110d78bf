package turn

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Marks on a message (section 11): one while its turn runs, one behind it.
const (
	markRuns     = "👀"
	markAnswered = "✅"
	markDead     = "❌"

	// Telegram's bots may not put up the other two.
	markAnsweredTelegram = "👍"
	markDeadTelegram     = "👎"
)

const (
	markPatience = time.Second // how long the end of a turn waits for what the ledger remembers of its chat
	mostMarks    = 1024        // marks whose results are looked at
)

// marks puts up the marks on messages, where the platform has react. They are cosmetic: they are posted, so nothing waits for
// their results, no pause is kept for them, and a chat that refuses one for good gets none for a day (memos). It knows events,
// no delivery. Its lock is held for no call but Link.Post, which keeps a message's marks in order.
type marks struct {
	on    bool
	link  Link
	chats *chats
	memos *memos
	run   *lifetime

	mu     sync.Mutex
	posted map[string]chatName // request ids of marks, with their chats
	up     map[string]bool     // messages that have the mark of a turn that runs, by their names
}

func newMarks(cfg Config, c *chats, m *memos, run *lifetime) *marks {
	return &marks{on: cfg.Reactions, link: cfg.Link, chats: c, memos: m, run: run, posted: map[string]chatName{}, up: map[string]bool{}}
}

// mark is what a message's turn puts on it. Some connectors hand out a chat's next message as the mark comes off (section 19): so
// it comes off each message once, for whatever reason that waits, or ends. marks' lock guards it; nil is for a message that gets
// none.
type mark struct {
	marks   *marks
	event   *relay.Event
	name    string
	session string
	old     bool          // an earlier run had the message
	asked   chan struct{} // closed once the ledger was asked of the chat; nil before
	may     bool          // as it said
	tried   bool          // its turn has begun, in this run or before
	wanted  bool          // to be shown
	shown   bool
	brief   bool // to come off once, and to be as it was
	seen    bool // it has come off in this run
	over    bool
}

// of makes the mark for a message. left says that an earlier process may have left one on it. A message without an id, and a
// button, which is pressed on a message of ours, get none.
func (m *marks) of(e *relay.Event, session string, left bool) *mark {
	if !m.on || e.MessageID == "" || e.PromptResponse != nil {
		return nil
	}
	name, _ := message(e)
	return &mark{marks: m, event: slim(e), name: name, session: session, tried: left, shown: left}
}

// ofOld is of for a message that an earlier run had.
func (m *marks) ofOld(e *relay.Event, session string, left bool) *mark {
	k := m.of(e, session, left)
	if k != nil {
		k.old = true
	}
	return k
}

// begin puts the mark up as a turn begins: at a later try not before an answer begins.
func (k *mark) begin(later bool) {
	if !later {
		k.show()
	}
}

// show puts the mark up.
func (k *mark) show() {
	if k == nil {
		return
	}
	k.marks.mu.Lock()
	defer k.marks.mu.Unlock()
	k.wanted, k.tried = !k.over, true
	k.put()
}

// stay is for a message whose answer comes later: the mark stays, and comes off for a moment.
func (k *mark) stay() {
	if k == nil {
		return
	}
	k.marks.mu.Lock()
	defer k.marks.mu.Unlock()
	k.wanted, k.tried = true, true
	k.brief = !k.seen
	k.put()
}

// glance has the mark come off, which is on for that: the message was seen, and nothing is done about it for now.
func (k *mark) glance() {
	if k == nil {
		return
	}
	k.marks.mu.Lock()
	defer k.marks.mu.Unlock()
	k.glanceLocked()
}

func (k *mark) glanceLocked() {
	if !k.seen && !k.over {
		k.brief = true
		k.put()
	}
}

// put posts what is wanted of the mark, once the ledger was asked of the chat. The lock is held.
func (k *mark) put() {
	if !k.offered() {
		return
	}
	k.ask()
	if !k.may {
		return
	}
	if k.wanted && !k.shown && !k.over {
		k.shown = k.post(markRuns, false)
	}
	if !k.brief {
		return
	}
	k.brief = false
	on := k.shown || k.marks.up[k.name] // a repeat's mark is its first's
	if k.post(markRuns, on) {
		k.post(markRuns, !on)
		k.seen = true
	}
}

// offered reports whether the platform has reacts.
func (k *mark) offered() bool {
	return k.marks.link.Descriptor(k.event.Source.Platform).Supports("react")
}

// ask asks the ledger of the chat, unless that is known. The lock is held.
func (k *mark) ask() {
	if k.asked != nil {
		return
	}
	k.asked = make(chan struct{})
	chat := chatOf(k.event)
	if may, known := k.marks.memos.reactKnown(chat); known {
		k.may = may
		close(k.asked)
		return
	}
	k.marks.run.start(func() {
		may := k.marks.memos.mayReact(k.marks.run.ctx, chat)
		k.marks.mu.Lock()
		defer k.marks.mu.Unlock()
		k.may = may
		k.put()
		close(k.asked)
	})
}

// takeOff takes the mark off: the message waits. One that has waited since an earlier run had it off then.
func (k *mark) takeOff() {
	if k == nil {
		return
	}
	k.marks.mu.Lock()
	defer k.marks.mu.Unlock()
	k.wanted = false
	k.remove()
	if !k.old {
		k.glanceLocked()
	}
}

// remove takes off what is shown. The lock is held.
func (k *mark) remove() {
	if k.shown {
		k.shown, k.seen, k.brief = false, true, false
		k.post(markRuns, true)
	}
}

// end takes the mark off for good. how says what follows it: nothing where a turn was stopped, or none has begun.
func (k *mark) end(how markEnd) {
	if k == nil {
		return
	}
	k.marks.mu.Lock()
	if !k.tried && how != markCross || !k.offered() {
		k.glanceLocked()
		k.over = true
		k.marks.mu.Unlock()
		return
	}
	k.ask()
	asked := k.asked
	k.marks.mu.Unlock()
	select {
	case <-asked:
	case <-time.After(markPatience):
	case <-k.marks.run.ctx.Done():
	}
	k.marks.mu.Lock()
	defer k.marks.mu.Unlock()
	k.over, k.brief = true, false
	k.remove()
	if emoji := how.emoji(k.event.Source.Platform); emoji != "" && k.may {
		k.post(emoji, false)
	}
}

// markEnd says what mark is behind a turn.
type markEnd int

const (
	markNothing markEnd = iota // it was stopped
	markCheck                  // it was answered
	markCross                  // it is dead
)

func (m markEnd) emoji(platform string) string {
	telegram := platform == "telegram"
	switch {
	case m == markCheck && telegram:
		return markAnsweredTelegram
	case m == markCheck:
		return markAnswered
	case m == markCross && telegram:
		return markDeadTelegram
	case m == markCross:
		return markDead
	}
	return ""
}

// post posts a react to the message. It is false where there is none. The lock is held.
func (k *mark) post(emoji string, remove bool) bool {
	m := k.marks
	parts, err := m.chats.shaper(k.event, k.session).Shape(0, relay.Action{"op": "react", "emoji": emoji, "remove": remove})
	if err != nil {
		return false // the connector offers no react there, or the event has no chat
	}
	if len(m.posted) >= mostMarks {
		clear(m.posted) // of connectors that answer none
	}
	switch {
	case emoji != markRuns:
	case remove:
		delete(m.up, k.name)
	default:
		m.up[k.name] = true
	}
	id := hash("mark", rand.Text())
	m.posted[id] = chatOf(k.event)
	m.link.Post(relay.Outbound{RequestID: id, Platform: parts[0].FramePlatform(k.event.Source.Platform), Action: parts[0].Action})
	return true
}

// result is for the result of a request that nobody waits for.
func (m *marks) result(requestID string, r relay.Result) {
	m.mu.Lock()
	chat, is := m.posted[requestID]
	delete(m.posted, requestID)
	m.mu.Unlock()
	if !is || r.Success {
		return
	}
	switch action.ClassOf("react", r).Class {
	case action.Permanent, action.Declined:
		m.run.start(func() { m.memos.noReact(chat) })
	}
}

// Unclaimed is for the result of an action that was posted. It returns at once.
func (w *Worker) Unclaimed(requestID string, r relay.Result) {
	w.schedule.attempts.marks.result(requestID, r)
}
