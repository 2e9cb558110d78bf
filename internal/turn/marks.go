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
}

func newMarks(cfg Config, c *chats, m *memos, run *lifetime) *marks {
	return &marks{on: cfg.Reactions, link: cfg.Link, chats: c, memos: m, run: run, posted: map[string]chatName{}}
}

// mark is what a message's turn puts on it. marks' lock guards it; nil is for a message that gets none.
type mark struct {
	marks   *marks
	event   *relay.Event
	session string
	asked   chan struct{} // closed once the ledger was asked of the chat; nil before
	may     bool          // as it said
	tried   bool          // its turn has begun, in this run or before
	wanted  bool          // to be shown
	shown   bool
	brief   bool // to be shown and taken off at once
	over    bool
}

// of makes the mark for a message. left says that an earlier process may have left one on it. A message without an id, and a
// button, which is pressed on a message of ours, get none.
func (m *marks) of(e *relay.Event, session string, left bool) *mark {
	if !m.on || e.MessageID == "" || e.PromptResponse != nil {
		return nil
	}
	return &mark{marks: m, event: slim(e), session: session, tried: left, shown: left}
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
	if !k.offered() {
		return
	}
	k.ask()
	k.put()
}

// offered reports whether the platform has reacts.
func (k *mark) offered() bool {
	return k.marks.link.Descriptor(k.event.Source.Platform).Supports("react")
}

// glance puts the mark up and takes it off at once: the message was seen, and nothing is done about it for now. Some connectors hand
// out a chat's next message when the mark comes off (section 19).
func (k *mark) glance() {
	if k == nil {
		return
	}
	k.marks.mu.Lock()
	defer k.marks.mu.Unlock()
	if k.tried || k.over {
		return
	}
	k.brief = true
	k.ask()
	k.put()
}

// put posts the mark that is wanted. The lock is held.
func (k *mark) put() {
	if k.brief && k.may && !k.shown && !k.over {
		k.brief = false
		if k.post(markRuns, false) {
			k.post(markRuns, true)
		}
	}
	if k.wanted && k.may && !k.shown && !k.over {
		k.shown = k.post(markRuns, false)
	}
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

// takeOff takes the mark off: the message is left.
func (k *mark) takeOff() {
	if k == nil {
		return
	}
	k.marks.mu.Lock()
	defer k.marks.mu.Unlock()
	k.wanted = false
	k.remove()
}

// remove takes off what is shown. The lock is held.
func (k *mark) remove() {
	if k.shown {
		k.shown = false
		k.post(markRuns, true)
	}
}

// end takes the mark off for good. how says what follows it: nothing where a turn was stopped.
func (k *mark) end(how markEnd) {
	if k == nil {
		return
	}
	k.marks.mu.Lock()
	if !k.tried && how != markCross || !k.offered() { // nothing was seen of it
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
	k.over = true
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
