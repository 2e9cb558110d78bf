package turn

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// chatName names a chat among all platforms.
type chatName struct{ platform, chat string }

// nameOf names the chat that an action goes to, in a turn of that source.
func nameOf(o action.Outgoing, turn relay.Source) chatName {
	return chatName{cmp.Or(o.Platform, turn.Platform), cmp.Or(o.Chat(), turn.ChatID)}
}

// pauses are the chats that nothing but typing is sent to for a while, because the connector has refused an action there
// for now. Afterwards the delivery that arrived first goes first, one action at a time, until one has passed.
//
// It knows chats and places in the order of arrival, no delivery. Its lock is held for no call.
type pauses struct {
	mu    sync.Mutex
	chats map[chatName]*pause
}

// pause is one chat's.
type pause struct {
	until   time.Time
	asked   bool          // the connector has asked for it: a message from the chat does not end it
	waiting []int64       // the places of those that have something to send, in order
	sending bool          // the first of them is doing so
	changed chan struct{} // closed at the next change
}

func newPauses() *pauses { return &pauses{chats: map[chatName]*pause{}} }

// enter reports whether the delivery of that place may send to the chat now; it says so with done or refused. Else it has
// to ask again at until, if that is ahead, or after changed.
func (p *pauses) enter(chat chatName, place int64) (until time.Time, changed <-chan struct{}, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.chats[chat]
	if q == nil {
		return time.Time{}, nil, true
	}
	q.add(place)
	if q.waiting[0] == place && !q.sending && !time.Now().Before(q.until) {
		q.sending = true
		return time.Time{}, nil, true
	}
	return q.until, q.changed, false
}

// refused makes the chat wait, as the action of the delivery of that place was refused.
func (p *pauses) refused(chat chatName, place int64, until time.Time, asked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.chats[chat]
	if q == nil {
		q = &pause{changed: make(chan struct{})}
		p.chats[chat] = q
	}
	if until.After(q.until) {
		q.until, q.asked = until, asked
	}
	if len(q.waiting) > 0 && q.waiting[0] == place {
		q.sending = false
	}
	q.add(place)
	q.tell()
}

// done is for a delivery that has sent its action to the chat, or never will.
func (p *pauses) done(chat chatName, place int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaveLocked(chat, place)
}

// leave takes a delivery that has ended out of all chats.
func (p *pauses) leave(place int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for chat := range p.chats {
		p.leaveLocked(chat, place)
	}
}

func (p *pauses) leaveLocked(chat chatName, place int64) {
	q := p.chats[chat]
	if q == nil {
		return
	}
	i, found := slices.BinarySearch(q.waiting, place)
	if !found {
		return
	}
	if i == 0 {
		q.sending = false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.tell()
	if len(q.waiting) == 0 && !time.Now().Before(q.until) {
		delete(p.chats, chat)
	}
}

// heard is for a message from the chat: it ends a pause that nobody has asked for, and returns the places of those that wait
// for it.
func (p *pauses) heard(chat chatName) (places []int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.chats[chat]; q != nil && !q.asked && time.Now().Before(q.until) {
		q.until = time.Now()
		q.tell()
		return slices.Clone(q.waiting)
	}
	return nil
}

// add notes who waits, in the order of arrival. While the first is sending, nobody gets before it.
func (q *pause) add(place int64) {
	i, found := slices.BinarySearch(q.waiting, place)
	if found {
		return
	}
	if i == 0 && q.sending {
		// The one that is sending is known by being the first. Whoever came before it asks again once it is done.
		return
	}
	q.waiting = slices.Insert(q.waiting, i, place)
}

func (q *pause) tell() {
	close(q.changed)
	q.changed = make(chan struct{})
}
