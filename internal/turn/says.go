package turn

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/say"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// A say becomes a delivery that nobody has sent: one that has its answer, or whose text is put to the agent. From then on it
// goes the way of any other: refusals, order, retries, deaths.

const (
	saysAtOnce = 32               // that are taken in one step
	sayFiles   = 30 * time.Second // how long the files of one may take on their way to the connector
)

// saying is what the journal keeps of a delivery that somebody has this gateway say. The version before takes such an entry for
// a message of its session, with its answer if it has one.
type saying struct {
	Key     string `json:"key"`
	Session string `json:"session"`
	Of      string `json:"of,omitempty"`   // of a late answer: the session of its message
	Last    bool   `json:"last,omitempty"` // of a late answer: it is the last part
}

// says takes says into the journal. It knows chats, and of the deliveries that are answered late what the journal tells.
type says struct {
	cfg      Config
	attempts *attempts
	intake   *intake
	schedule *schedule
}

// made is a say as it is to be taken.
type made struct {
	d    *delivery
	take ledger.Taking
}

// Say takes says into the journal, in their order, and queues their turns. One that has to wait stays where it is: a part of a
// late answer before which another has to come, or whose message has not been announced as late so far. Say is for one caller
// at a time. An error leaves what was not taken where it is.
func (w *Worker) Say(ctx context.Context, list []ledger.Say) error {
	if len(list) == 0 {
		return nil
	}
	w.cfg.Link.WaitDescriptors(ctx)
	for {
		var waiting []ledger.Say
		for part := range slices.Chunk(list, saysAtOnce) {
			rest, err := w.says.take(ctx, part)
			if err != nil {
				return err
			}
			waiting = append(waiting, rest...)
		}
		if len(waiting) == 0 || len(waiting) == len(list) {
			return nil
		}
		list = waiting // what came before what it follows
	}
}

// take takes says and returns those that have to wait.
func (s *says) take(ctx context.Context, list []ledger.Say) (waiting []ledger.Say, err error) {
	parsed, faults := make([]say.Say, len(list)), make([]error, len(list))
	var chats []chatName
	for i, arrived := range list {
		parsed[i], faults[i] = say.Parse(arrived.Body)
		if to := parsed[i]; faults[i] == nil && to.ReplyTo == "" {
			chats = append(chats, chatName{to.Chat.Platform, to.Chat.ChatID})
		}
	}
	s.attempts.memos.readAll(ctx, chats...)
	known, err := s.known(ctx, parsed)
	if err != nil {
		return nil, err
	}
	var ready []made
	for i, arrived := range list {
		next, wait := s.make(ctx, arrived, parsed[i], faults[i], known)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if wait {
			waiting = append(waiting, arrived)
			continue
		}
		known[next.d.key] = ledger.Entry{Key: next.d.key, State: ledger.New}
		ready = append(ready, next)
	}
	anew, err := s.journal(ready)
	if err != nil || len(anew) == 0 {
		return waiting, err
	}
	list = slices.DeleteFunc(slices.Clone(list), func(arrived ledger.Say) bool { return !slices.Contains(anew, arrived.Key) })
	more, err := s.take(ctx, list)
	return append(waiting, more...), err
}

// make makes the delivery that a say becomes, and the entry by which it is journalled; dead, if it cannot be said.
func (s *says) make(
	ctx context.Context, arrived ledger.Say, to say.Say, fault error, known map[string]ledger.Entry,
) (next made, wait bool) {
	d := &delivery{
		Delivery: relay.Delivery{Kind: relay.KindInbound, ReceivedAt: arrived.At, Event: &relay.Event{MessageType: "text"}},
		key:      sayEntry(arrived.Key), say: &saying{Key: arrived.Key}, ready: make(chan struct{}), state: ledger.New,
		volatile: !s.cfg.Journal.Durable(),
	}
	take := ledger.Taking{Say: arrived.Key, Entry: ledger.Entry{State: ledger.New}}
	switch {
	case fault != nil:
	case to.ReplyTo != "":
		d.key = lateKey(to.ReplyTo, to.N)
		if fault, wait = s.late(d, to, known); wait {
			return made{}, true
		}
		take.Of, take.Ends = to.ReplyTo, to.Last
	default:
		d.Event.Source, d.say.Session, fault = s.route(to)
		if to.Ask != nil {
			d.Event.Text = to.Ask.Text
		}
	}
	take.Entry.Key = d.key
	d.receipt = &receipt{key: d.key, ackAtEnd: d.volatile}
	d.session, d.by = cmp.Or(d.say.Session, sayEntry(arrived.Key)), speakerOf(d.Event.Source)
	d.log = logTo(s.cfg.Log, d.key, d.session)
	d.typing = s.attempts.chats.typingMark(d.Event, d.session)
	d.typing.hidden = d.typing.hidden || to.Ask == nil
	if to.Ask == nil && d.Event.Source.ChatID != "" {
		if wrong := s.shape(ctx, d, to); fault == nil {
			fault = wrong
		}
	}
	if fault != nil {
		take.Entry.State, take.Entry.Error, take.Of, take.Ends = ledger.Dead, fault.Error(), "", false
	}
	if unsayable := d.Event.Source.ChatID == "" || to.Ask == nil && len(d.answer.actions) == 0; unsayable {
		d.answer.actions = words(to) // to be read: it cannot be put back
	} else {
		take.Entry.Body, _ = json.Marshal(keptBody{Delivery: d.Delivery, Say: d.say}) // strings and numbers: it marshals
	}
	take.Entry.Actions = d.answer.actions
	take.Entry.Session = sessionHash(d.session)
	d.size = recordSize + len(take.Entry.Body) + actionBytes(d)
	return made{d, take}, false
}

// words are the actions of a say as they came.
func words(to say.Say) (list []json.RawMessage) {
	for _, a := range to.Actions {
		if raw, err := json.Marshal(a); err == nil {
			list = append(list, raw)
		}
	}
	return list
}

// shape makes the actions of a say fit for the wire. They are the delivery's answer.
func (s *says) shape(ctx context.Context, d *delivery, to say.Say) error {
	ctx, cancel := context.WithTimeoutCause(ctx, sayFiles, errTimeout)
	defer cancel()
	a := s.attempts
	fit := &fitter{shaper: a.chats.shaper(d.Event, d.session), files: a.files, log: d.log, counts: a.counts, replied: to.N > 1}
	list, err := fit.all(ctx, to.Actions, 0)
	if err != nil {
		return err
	}
	actions, err := action.Encode(list)
	if err == nil && len(actions) == 0 {
		err = errors.New("nothing of it is left to be said: its texts are blank")
	}
	d.answer = answer{actions: actions, outcomes: make([]string, len(actions))}
	return err
}

// late makes a delivery a part of a late answer: it goes where the message came from that it answers.
func (s *says) late(d *delivery, to say.Say, known map[string]ledger.Entry) (fault error, wait bool) {
	root, there := known[to.ReplyTo]
	event, session := eventOf(root)
	if event != nil {
		*d.Event = *slim(event)
		d.say.Session, d.say.Of, d.say.Last = saySession(event.Source), session, to.Last
	}
	_, before := known[lateKey(to.ReplyTo, to.N-1)]
	switch {
	case !there:
		return fmt.Errorf("reply_to_delivery: no delivery %.80q is known here, or it ended more than a week ago", to.ReplyTo), false
	case root.State == ledger.Finished:
		return fmt.Errorf("it came too late: the message %.80s has ended: it was stopped, or has had the last part of its answer",
			to.ReplyTo), false
	case root.State == ledger.Dead:
		return fmt.Errorf("it came too late: the message %.80s was given up: %.300s", to.ReplyTo, root.Error), false
	case event == nil:
		return fmt.Errorf("the message %.80s that it answers cannot be read", to.ReplyTo), false
	case !isLate(root) || to.N > 1 && !before:
		return nil, true
	}
	if to.Last {
		d.mark = s.attempts.marks.ofOld(d.Event, session, true)
	}
	return nil, false
}

// journal journals what says have become, and lets it go on. It returns the keys of those that have to be made anew: the message
// that they answer has ended meanwhile.
func (s *says) journal(list []made) (anew []string, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	taken := make([]ledger.Taking, len(list))
	for i := range list {
		list[i].d.place = s.intake.nextPlace()
		taken[i] = list[i].take
		taken[i].Entry.Seq = list[i].d.place
	}
	states, err := s.attempts.journal.takeSays(taken)
	for i, found := range states {
		if found == ledger.Ended {
			anew = append(anew, taken[i].Say)
		} else {
			s.taken(list[i].d, taken[i], found)
		}
	}
	if err != nil {
		return nil, err
	}
	var large []ledger.Taking
	for i, found := range states {
		if found == ledger.TooLarge {
			t := taken[i]
			t.Entry.State, t.Entry.Error, t.Of, t.Ends = ledger.Dead, errSayTooLarge.Error(), "", false
			t.Entry.Body, t.Entry.Actions = nil, nil
			large = append(large, t)
		}
	}
	if len(large) > 0 {
		_, err = s.attempts.journal.takeSays(large)
	}
	return anew, err
}

var errSayTooLarge = errors.New("it is more than the table can hold: say it in parts")

// taken is for a say that has been taken, and of whose entry the journal has found that state; "" means that it was written.
func (s *says) taken(d *delivery, t ledger.Taking, found ledger.State) {
	log := s.cfg.Log.With(logs.KeyDelivery, d.key, logs.KeySay, d.say.Key)
	switch {
	case found == "" && t.Entry.State == ledger.Dead, found == ledger.TooLarge:
		log.Error(logs.Dead, logs.KeyError, cmp.Or(t.Entry.Error, errSayTooLarge.Error()))
		s.attempts.counts.add(func(c *Counts) { c.Said, c.Dead = c.Said+1, c.Dead+1 })
	case found == "":
		log.Info(logs.SayTaken, logs.KeySession, d.session, logs.KeyWaited, time.Since(d.ReceivedAt).Milliseconds())
		s.attempts.counts.add(func(c *Counts) { c.Said++ })
		if t.Ends {
			s.attempts.lates.drop(t.Of)
		}
		s.release(d)
	default: // an earlier run has journalled it, and died before the say was taken: recovery has it, or it has ended
		s.attempts.counts.add(func(c *Counts) { c.Duplicates++ })
		log.Info(logs.SeenRunning, logs.KeyState, found)
	}
}

// release releases a delivery that a say has become to its session.
func (s *says) release(d *delivery) {
	i := s.intake
	i.mu.Lock()
	defer i.mu.Unlock()
	i.open++
	i.pending[d.key] = d.receipt
	defer close(d.ready)
	s.schedule.place(d)
	resting := false
	if d.parked {
		resting = s.attempts.rests.resting(d.session)
		delete(i.pending, d.key)
	} else {
		resting = s.attempts.rests.add(d.session, false)
	}
	if !d.answer.complete() {
		s.attempts.days.claim(d.place)
		if s.schedule.gate.mayStart() && !resting && s.attempts.days.left(d.place) {
			d.typing.show()
		}
	}
	s.schedule.settle(d)
}
