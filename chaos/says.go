package main

import (
	"context"
	"fmt"

	"github.com/dormouse-relay/dormouse/internal/rig"
)

// lateSuffix is what the key of a late answer has behind that of its message.
const lateSuffix = "/1"

// sayKey is the key of the entry that a say becomes.
func sayKey(number int) string { return fmt.Sprint("say:said-", number) }

// speak has the gateway say something in the chat of a session, which has written before.
func (r *run) speak(session int) {
	r.number++
	m := &message{session: session, number: r.number, kind: spoken, key: sayKey(r.number), bufferID: "kept by whoever says it"}
	r.register(m)
	r.say(m)
}

// say invokes drain with what is to be said. It may be sent again and again.
func (r *run) say(m *message) {
	payload := fmt.Sprintf(`{"reason":"say","key":"said-%d","chat":{"platform":"discord","chat_id":%q,"chat_type":"group","scope_id":"scope"},"text":%q}`,
		m.number, chatID(m.session), m.part(0))
	if m.kind == late {
		payload = fmt.Sprintf(`{"reason":"say","reply_to_delivery":%q,"text":%q}`, m.key, m.part(0))
	}
	if err := r.host.InvokeEvent(rig.Drain, []byte(payload)); err != nil && !r.calm.Load() {
		r.fault("saying %s: %v", m, err)
	}
}

// sayings has what was announced said, and some of what was said once more, as EventBridge may.
func (r *run) sayings(ctx context.Context) {
	for pause(ctx, r.between(50, 500)) {
		if list := r.unsaid(false); len(list) > 0 && r.host.Events(rig.Drain) < 8 {
			r.say(list[r.dice(len(list))])
		}
	}
}

// unsaid are the says that may be sent now. With all they are those that the table has not taken so far.
func (r *run) unsaid(all bool) (list []*message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.sent {
		key := m.key
		if m.kind == late {
			key += lateSuffix
		}
		switch {
		case m.kind != spoken && !(m.kind == late && r.announced[m.key]):
		case all && !r.history.journalled[key].IsZero():
		default:
			list = append(list, m)
		}
	}
	return list
}

// sayAgain sends what has not been taken: whoever invokes, Lambda or a job, does so until it is.
func (r *run) sayAgain() {
	list := r.unsaid(true)
	for i, m := range list {
		if i < 4 && r.host.Events(rig.Drain) < 3 {
			r.say(m)
		}
	}
}

// announce notes that the agent has said that its answer to a message comes later.
func (r *run) announce(m *message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.announced[m.key] = true
	r.seen["late answers announced"]++
}

// endOf is what the table says of a message, or, once that has ended, of its late answer.
func (l rest) endOf(m *message) (e entry, isDead, isWaiting bool) {
	if e, isDead = l.dead[m.key]; isDead {
		return e, true, false
	}
	if e, isWaiting = l.open[m.key]; isWaiting || m.kind != late {
		return e, false, isWaiting
	}
	if e, isDead = l.dead[m.key+lateSuffix]; isDead {
		return e, true, false
	}
	e, isWaiting = l.open[m.key+lateSuffix]
	return e, false, isWaiting
}
