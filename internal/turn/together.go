package turn

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// mayJoin says whether a delivery may be one turn with others: it is a message, nothing has been done about it, and it asks
// for no answer of its own, as a command does and a button.
func mayJoin(d *delivery) bool {
	switch {
	case d.ended, d.stopped, d.volatile, d.unkept, d.stop, d.single, d.early, d.alone, d.suspect:
		return false
	case d.leader != "", len(d.members) > 0, len(d.set) > 0, isApology(d.key), d.say != nil, !d.late.IsZero():
		return false
	case d.state != ledger.New, d.attempts > 0, d.wait.Tries > 0, d.answer.actions != nil, time.Now().Before(d.wait.Due):
		return false
	}
	e := d.Event
	return d.Forward == nil && d.results == nil && e.PromptResponse == nil && e.MessageType != "command" && !isInteraction(e)
}

// joins says whether a delivery may be one turn with an earlier one: whoever may join has said both.
func joins(d, m *delivery) bool {
	return mayJoin(m) && m.by == d.by && m.Event.Source.IsBot == d.Event.Source.IsBot
}

// isInteraction says whether an event was made of a Discord interaction, which is answered on its own.
func isInteraction(e *relay.Event) bool { return e.MessageID == "" && e.Source.MessageID != "" }

// eventSize is what an event takes of a turn.
func eventSize(d *delivery) int { return max(len(d.Event.Text), d.size-recordSize) }

// markList are the marks of a turn's messages.
type markList []*mark

func marksOf(d *delivery) (list markList) {
	for _, m := range d.set {
		list = append(list, m.mark)
	}
	return append(list, d.mark)
}

func (l markList) begin(later bool) { l.each(func(k *mark) { k.begin(later) }) }
func (l markList) show()            { l.each((*mark).show) }
func (l markList) takeOff()         { l.each((*mark).takeOff) }
func (l markList) end(how markEnd)  { l.each(func(k *mark) { k.end(how) }) }

// stay is for a turn whose answer comes later: of several messages the last one's mark stays.
func (l markList) stay() {
	l[:len(l)-1].takeOff()
	l[len(l)-1].stay()
}

func (l markList) each(do func(*mark)) {
	for _, k := range l {
		do(k)
	}
}

// turnPlace is the place of a turn in the order of arrival: that of its first message.
func turnPlace(d *delivery) int64 {
	if len(d.set) > 0 {
		return d.set[0].place
	}
	return d.place
}

// setSize is what a turn takes of the window, but for its answer.
func setSize(d *delivery) int {
	size := d.size - actionBytes(d)
	for _, m := range d.set {
		size += m.size - actionBytes(m)
	}
	return size
}

// turnEvent is the event that the agent is asked about: of several messages that of the last one, with the texts of all, and what
// is attached to them.
func turnEvent(d *delivery) *relay.Event {
	if len(d.set) == 0 {
		return d.Event
	}
	joined := *d.Event
	joined.MediaURLs, joined.Media = nil, nil
	var texts []string
	for _, e := range eventsOf(d) {
		if strings.TrimSpace(e.Text) != "" {
			texts = append(texts, e.Text)
		}
		joined.MediaURLs = append(joined.MediaURLs, e.MediaURLs...)
		joined.Media = append(joined.Media, e.Media...)
	}
	joined.Text = strings.Join(texts, "\n")
	return &joined
}

// eventsOf are the events of a turn that is several messages, as they came; nil for one that is not.
func eventsOf(d *delivery) (list []*relay.Event) {
	if len(d.set) == 0 {
		return nil
	}
	for _, m := range d.set {
		list = append(list, m.Event)
	}
	return append(list, d.Event)
}

// messagesOf is how many messages a turn has, in memory or in the journal alone.
func messagesOf(d *delivery) int { return 1 + max(len(d.set), len(d.members)) }

// keysOf are the keys of a turn's messages.
func keysOf(d *delivery) (keys []string) {
	for _, m := range d.set {
		keys = append(keys, m.key)
	}
	return append(keys, d.key)
}

// startSet says that the turn of a set starts, which the journal does not have yet.
func (a *attempts) startSet(d *delivery, as ledger.State) error {
	var day ledger.Day
	if a.days.counts() {
		var ok bool
		if day, ok = a.days.take(turnPlace(d)); !ok {
			return errSpent
		}
	}
	if err := a.journal.startSet(keysOf(d), as, day); err != nil {
		if a.days.counts() {
			a.days.giveBack(day)
		}
		return err
	}
	d.joined = true
	for _, m := range d.set {
		m.state = as
	}
	d.log.Info(logs.Merged, logs.KeyMessages, len(d.set)+1)
	return nil
}

// finishOthers finishes the others of a set that the journal does not have, as it was stopped before its turn began.
func (a *attempts) finishOthers(d *delivery) {
	if d.joined {
		return
	}
	for _, m := range d.set {
		_ = a.journal.finish(m.key, true) // it is owed if it fails
	}
}

// scatter undoes a set that the journal does not have.
func (a *attempts) scatter(d *delivery) {
	for _, m := range append(slices.Clone(d.set), d) {
		a.days.claim(m.place)
	}
}

// part has the messages of a set tried one by one from now on, as its turn has failed, or was cut short by a death: which of
// them it was, nobody knows. Each is told what the chat has of a stream that broke. It returns errApart.
func (a *attempts) part(d *delivery, cause error) error {
	wait := ledger.Wait{Due: time.Now().Add(failurePause(1))}
	sent, outcomes := sentOf(d.answer)
	d.log.Warn(logs.SetFailed, logs.KeyError, cause, logs.KeyMessages, len(d.set)+1)
	err := a.journal.part(d.key, ledger.Parting{State: ledger.New, Reason: cause.Error(), Wait: wait, Sent: sent, Outcomes: outcomes})
	if err != nil {
		return err
	}
	for _, m := range d.set {
		m.answer = answer{}
		if len(sent) > 0 {
			m.answer = answer{actions: slices.Clone(sent), outcomes: slices.Clone(outcomes), streamed: true}
			m.typing.hidden = false
		}
		m.inherited, m.inChats, m.admitted, m.board = len(sent), m.answer.inChats(), d.admitted, nil
		single(m)
		m.wait, m.state = wait, ledger.New
	}
	single(d)
	if !d.answer.complete() {
		d.wait, d.state = wait, ledger.New
	}
	return errApart
}

// single says that a delivery is in no set any more.
func single(d *delivery) {
	d.leader, d.members, d.single, d.joined = "", nil, true, false
	if d.answer.isBlank() {
		d.answer = answer{}
	}
}

// partDied is part for a set whose process died: each of its messages stays a suspect.
func (a *attempts) partDied(d *delivery) bool {
	sent, outcomes := sentOf(d.answer)
	d.log.Warn(logs.SetFailed, logs.KeyError, errDied, logs.KeyMessages, len(d.members)+1)
	return a.journal.part(d.key, ledger.Parting{
		State: ledger.Running, Reason: errDied.Error(), Sent: sent, Outcomes: outcomes,
	}) == nil
}

// sentOf is what a chat has of an answer, without its words. What an earlier process may have sent counts as sent.
func sentOf(a answer) (actions []json.RawMessage, outcomes []string) {
	if !a.streamed {
		return nil, nil
	}
	for i, raw := range a.actions {
		var o action.Outgoing
		outcome := a.outcomes[i]
		if outcome == "" {
			outcome = outcomeUnknown
		}
		if json.Unmarshal(raw, &o) != nil || !inChat(outcome) {
			actions, outcomes = append(actions, ledger.Nothing), append(outcomes, outcomeSkipped)
			continue
		}
		o = o.Clone()
		delete(o.Action, "content")
		slim, err := action.Encode([]action.Outgoing{o})
		if err != nil {
			slim, outcome = []json.RawMessage{ledger.Nothing}, outcomeSkipped
		}
		actions, outcomes = append(actions, slim[0]), append(outcomes, outcome)
	}
	return actions, outcomes
}

// isIntact says whether the messages of a set that the journal has are still one turn: none was tried alone, and they have
// an answer together or none.
func isIntact(leader *delivery) bool {
	whole := leader.answer.complete()
	if leader.attempts > 0 && !whole {
		return false
	}
	for _, m := range leader.set {
		if m.attempts > 0 || m.answer.complete() != whole || m.answer.streamed || whole && !m.answer.isBlank() {
			return false
		}
	}
	return true
}

// isBlank says whether an answer is that of a message whose leader has it.
func (a *answer) isBlank() bool {
	return ledger.Entry{Actions: a.actions, Open: a.streamed}.IsBlank()
}

// actionBytes is what the kept answer takes of a delivery's size.
func actionBytes(d *delivery) (bytes int) {
	for _, raw := range d.answer.actions {
		bytes += len(raw)
	}
	return bytes
}

// asLate is what is known of a message while it waits for its late answer.
func asLate(d *delivery) late {
	return late{key: d.key, session: d.session, by: d.by, place: d.place, until: d.late, event: slim(d.Event), all: messagesOf(d)}
}
