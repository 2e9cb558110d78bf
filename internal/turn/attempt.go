package turn

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// attempts asks the agent about a delivery, keeps the answer, has it sent, and finishes the delivery. It has no lock.
//
// Three things hold at every moment for a delivery that is in the journal, so that the next run can go on after a death:
// the agent is asked only once the journal has the delivery as running; an action that is not repeatable leaves only once
// the journal has kept it; a second such action leaves only once the outcome of the first is confirmed.
type attempts struct {
	cfg     Config
	gate    *gate
	chats   *chats
	files   *files
	prompts *prompts
	journal *journal
	sender  *sender
	pauses  *pauses
	rests   *rests
	sorry   *sorry
	days    *days
	memos   *memos
	marks   *marks
	lates   *lates
	counts  *tally
	run     *lifetime
}

// answer tries a delivery until it is answered or stopped, which is nil, deferred, which is errDeferred, or given up,
// which is any other error. ctx is the turn's.
func (a *attempts) answer(ctx context.Context, d *delivery) error {
	if !d.late.IsZero() && ctx.Err() == nil {
		return a.tooLate(d)
	}
	if void, err := a.isVoid(ctx, d); void || err != nil {
		d.void = void
		return err
	}
	for {
		if !d.answer.complete() && time.Now().Before(d.wait.Due) {
			if err := a.untilDue(ctx, d); err != nil && ctx.Err() != nil {
				return a.cutShort(ctx, d)
			} else if err != nil {
				return err
			}
		}
		err := a.attempt(ctx, d, ledger.Running)
		if err == nil {
			return a.follow(d)
		}
		if errors.Is(err, errDeferred) {
			return err
		}
		if l, is := errors.AsType[*agent.LaterError](err); is {
			return a.later(d, l)
		}
		if final, err := a.failed(d, err); final {
			return err
		}
	}
}

// untilDue waits until a delivery may be tried again, with what was said out of memory. One that was not asked about yet may be
// one turn with what has come meanwhile: then its error is errAnew.
func (a *attempts) untilDue(ctx context.Context, d *delivery) error {
	if !d.volatile && (d.wait.Tries > 0 || time.Until(d.wait.Due) > workAhead) {
		marksOf(d).takeOff() // its agent is away, or it is left, perhaps for a later run
	}
	unloaded := a.unload(d, d.wait.Due)
	err := a.rests.sit(ctx, d.session, !d.volatile, d.wait.Due, nil)
	if err == nil && unloaded {
		err = a.reload(d)
	}
	if err == nil && a.cfg.Merge && mayJoin(d) {
		err = errAnew
	}
	return err
}

// answerAlone gives a suspect one attempt. again means that it failed and is to be tried again, beside others; else err is
// what answer returns.
func (a *attempts) answerAlone(ctx context.Context, d *delivery) (again bool, err error) {
	if d.state == ledger.Alone {
		if final, err := a.failed(d, errDiedAlone); final {
			return false, err
		}
	}
	d.alone = true
	err = a.attempt(ctx, d, ledger.Alone)
	d.alone = false
	switch {
	case errors.Is(err, errMustWait):
		return true, nil // beside others: nothing waits for it
	case err == nil:
		return false, a.follow(d)
	case errors.Is(err, errDeferred):
		return false, err
	}
	if l, is := errors.AsType[*agent.LaterError](err); is {
		return false, a.later(d, l)
	}
	final, err := a.failed(d, err)
	return !final, err
}

// attempt waits for attachments and a slot, and tries. The journal is told that the turn runs in the state as.
func (a *attempts) attempt(ctx context.Context, d *delivery, as ledger.State) error {
	if d.has == nil || d.has.free == nil { // else it has its slot
		d.has = &holding{gate: a.gate}
	}
	if isApology(d.key) {
		d.has.gate = nil
	}
	defer d.has.letGo()
	if ctx.Err() != nil {
		return a.cutShort(ctx, d)
	}
	var media []agent.Media
	if !d.answer.complete() && a.gate.mayStart() {
		if ok, err := a.admit(ctx, d); !ok {
			return err
		}
		var err error
		if media, err = a.attach(ctx, d); err != nil && ctx.Err() != nil {
			return a.cutShort(ctx, d)
		} else if err != nil {
			return err
		}
	}
	err := d.has.slot(ctx)
	if err == nil {
		err = a.try(ctx, d, as, media)
	}
	if ctx.Err() != nil && (err != nil || stopped(ctx)) {
		return a.cutShort(ctx, d)
	}
	return err
}

// attach waits for the attachments of a turn's messages. A slow download holds up no other session.
func (a *attempts) attach(ctx context.Context, d *delivery) ([]agent.Media, error) {
	event := turnEvent(d)
	if a.files.fetches(event) {
		d.has.letGo()
	}
	media, release, err := a.files.attach(ctx, d.log, event, d.typing)
	d.has.files = release
	return media, err
}

// try is an attempt that has its slot.
func (a *attempts) try(ctx context.Context, d *delivery, as ledger.State, media []agent.Media) error {
	if d.answer.complete() {
		return a.send(ctx, d)
	}
	if !a.gate.mayStart() {
		return errDeferred
	}
	if err := a.begin(d, as); err != nil {
		return err
	}
	d.state = as
	prompt, use := a.prompts.take(d.Event, d.key, d.session, d.ReceivedAt)
	switch use {
	case promptUnreadable:
		return errDeferred
	case promptForeign, promptTaken:
		return nil
	case promptClosed:
		return a.say(ctx, d, a.cfg.Texts.ClosedQuestion())
	}
	d.typing.hidden = false
	return a.turn(ctx, d, prompt, media)
}

// say answers a message with a text of our own.
func (a *attempts) say(ctx context.Context, d *delivery, text string) error {
	parts, err := a.chats.shaper(d.Event, d.session).ShapeAll([]relay.Action{{"op": "send", "content": text}})
	if err != nil {
		a.cfg.Log.Warn(logs.ChatNotTold, logs.KeyDelivery, d.key, logs.KeyError, err)
		return nil
	}
	if err := a.keep(ctx, d, parts); err != nil || stopped(ctx) {
		return err
	}
	return a.send(ctx, d)
}

// turn is one turn of the agent, during which the chat shows typing.
func (a *attempts) turn(ctx context.Context, d *delivery, prompt *agent.Prompt, media []agent.Media) error {
	asking, cancel := context.WithTimeoutCause(ctx, a.cfg.AgentTimeout, errTimeout)
	a.counts.add(func(c *Counts) { c.Turns++ })
	d.log.Info(logs.Turn, logs.KeyAttempt, d.attempts+1)
	var typing sync.WaitGroup
	showTyping := func() { typing.Go(func() { d.typing.keepShowing(asking) }) }
	stopTyping := func() {
		cancel()
		typing.Wait()
	}
	defer stopTyping()
	absent := d.wait.Tries > 0 // then nothing is shown before an answer begins
	if !absent {
		showTyping()
	}
	marksOf(d).begin(absent || d.attempts > 0 || d.suspect)

	a.cfg.Link.WaitDescriptors(asking)
	a.sealAgain(d)
	shaper := a.chats.shaper(d.Event, d.session)
	said, err := a.ask(asking, d, prompt, media, shaper.Descriptor)
	if err == nil {
		err = laterOf(said)
	}
	if err != nil {
		return err
	}
	a.counts.add((*Counts).heard)
	d.wait = ledger.Wait{}
	if absent {
		showTyping()
	}
	marksOf(d).show()
	fit := &fitter{shaper: shaper, files: a.files, log: d.log, counts: a.counts, replied: d.answer.replied()}
	if said.Stream != nil || d.answer.streamed {
		return a.follows(ctx, asking, cancel, d, fit, said)
	}
	actions, err := fit.all(asking, said.Actions, said.More)
	if err != nil {
		return err
	}
	stopTyping()
	takes := intoDraft(actions, shaper, d.Event.Source.ChatID, d.draftID)
	if !d.volatile {
		d.has.pass() // the next agent can be asked while the table writes
	}
	if err := a.keep(ctx, d, actions); err != nil || stopped(ctx) {
		return err
	}
	if takes {
		d.draft, d.draftID = nil, 0
	}
	d.has.letFilesGo()
	return a.send(ctx, d)
}

// follows sends what an agent streams. asking is the time that the agent has, of the turn's, which is ctx; cancel ends it.
func (a *attempts) follows(ctx, asking context.Context, cancel func(), d *delivery, fit *fitter, said agent.Answer) error {
	if d.board == nil {
		d.board = d.answer.board()
	}
	d.board.Settle()
	d.streamFrom = len(d.answer.actions)
	s := &stream{
		chats: a.chats, fit: fit, board: d.board,
		drafts: newDrafter(d.key, d.Event.Source.ChatID, fit.shaper, d.draft, d.draftID),
		kept:   func() int { return len(d.answer.actions) },
		send:   func(o action.Outgoing) error { return a.sendStreamed(asking, d, o) },
		edit: func(ctx context.Context, o action.Outgoing) (made, again bool, err error) {
			return a.editStreamed(ctx, d, o)
		},
	}
	if s.drafts != nil {
		s.drafts.show = func(ctx context.Context, o action.Outgoing) (bool, bool, error) { return a.draftStreamed(ctx, d, o) }
	}
	defer func() { d.draft, d.draftID = s.openDraft() }()
	if err := s.follow(asking, cancel, said); err != nil {
		return cmp.Or(a.dropUnsent(d), err)
	}
	s.send = func(o action.Outgoing) error { return a.sendStreamed(ctx, d, o) } // the agent was done in time
	if err := s.finish(ctx); err != nil {
		return cmp.Or(a.dropUnsent(d), err)
	}
	return a.sendHeldBack(ctx, d)
}

// sealAgain has a final draft leave once more that an earlier process has kept and may not have sent: no attempt goes on with that
// draft. Once more is harmless.
func (a *attempts) sealAgain(d *delivery) {
	for i, raw := range d.answer.actions {
		var o action.Outgoing
		if i >= d.inherited || d.answer.outcomes[i] != "" || json.Unmarshal(raw, &o) != nil {
			continue
		}
		if o.IsFinalDraft() && o.DraftID() == d.noted {
			a.postDraft(o, requestID(d.key, i), d.Event.Source.Platform)
			d.noted = 0
		}
	}
}

// ask asks the agent. If the agent panics, the attempt has failed.
func (a *attempts) ask(
	ctx context.Context, d *delivery, prompt *agent.Prompt, media []agent.Media, descriptor relay.Descriptor,
) (said agent.Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("agent: panicked: %v", p)
		}
	}()
	turn := agent.Turn{
		Version: 1, Kind: agent.KindMessage, SessionKey: d.session,
		Event: turnEvent(d), Events: eventsOf(d), Context: d.Event.ContextText(), Prompt: prompt, Media: media, Forward: d.Forward, Descriptor: descriptor,
		Delivery: agent.Delivery{
			Key: d.key, Attempt: d.attempts + 1, Buffered: d.BufferID != "", ReceivedAt: d.ReceivedAt, Sent: d.answer.sent(),
		},
	}
	if d.results != nil {
		turn.Kind, turn.Results = agent.KindResults, d.results
	}
	turn.Traceparent = agent.Traceparent(ctx, d.key)
	turn.Delivery.SaidAt = saidAt(d.Event, d.ReceivedAt, d.edited)
	age := max(0, time.Since(turn.Delivery.SaidAt))
	turn.Delivery.AgeS = int64(age / time.Second)
	turn.Late = a.cfg.StaleAfter > 0 && age >= a.cfg.StaleAfter
	if d.Forward != nil {
		turn.Kind = agent.KindPassthrough
	}
	return a.cfg.Agent.Answer(ctx, turn)
}

// keep keeps a whole answer, unless the turn has been stopped.
func (a *attempts) keep(ctx context.Context, d *delivery, list []action.Outgoing) error {
	actions, err := action.Encode(list)
	if err != nil || len(actions) == 0 || stopped(ctx) {
		return err
	}
	if !d.unkept {
		err = a.journal.keep(d.key, actions)
	}
	if err == nil {
		d.answer, d.inherited = answer{actions: actions, outcomes: make([]string, len(actions))}, 0
	}
	return err
}
