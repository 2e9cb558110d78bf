package turn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// attempt asks the agent, keeps its answer and sends it. as is what the journal is told.
func (w *Worker) attempt(r running, as ledger.State) error {
	it := r.item
	if !it.whole() && w.mayStart() {
		release, err := w.attach(r)
		switch {
		case err != nil && r.ctx.Err() != nil:
			return w.cut(r)
		case err != nil:
			return err
		}
		defer release()
	}
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-w.closing:
		return errLeft
	case <-r.ctx.Done():
		return w.cut(r)
	}
	err := w.try(r, as)
	if r.ctx.Err() != nil && (err != nil || r.stopped()) {
		return w.cut(r)
	}
	return err
}

// try is an attempt that has its slot.
func (w *Worker) try(r running, as ledger.State) error {
	it := r.item
	if it.whole() {
		r.started()
		return w.send(r)
	}
	if !w.mayStart() {
		return errLeft
	}
	if it.state != as && !it.unkept {
		if err := w.cfg.Journal.Start(w.ctx, it.key, as); err != nil {
			w.cfg.Log.Error("a turn's start could not be journalled: left for the next run", "delivery", it.key, "error", err)
			return errLeft
		}
	}
	it.state = as
	prompt, consumed, err := w.answered(it)
	if consumed || err != nil {
		return err
	}
	r.started()
	return w.turn(r, prompt)
}

// turn is one turn of the agent's, with the chat showing typing meanwhile.
func (w *Worker) turn(r running, prompt *agent.Prompt) error {
	it := r.item
	ctx, cancel := context.WithTimeoutCause(r.ctx, w.cfg.AgentTimeout, errTimeout)
	defer cancel()
	w.mu.Lock()
	w.counts.Turns++
	w.mu.Unlock()
	w.cfg.Log.Info("turn", "delivery", it.key, "session", it.session, "attempt", it.attempts+1)
	var typing sync.WaitGroup
	typing.Go(func() { w.keepTyping(ctx, it) })
	defer typing.Wait()
	defer cancel()

	w.cfg.Link.Settle(ctx)
	s := w.shaper(it)
	answer, err := w.ask(ctx, it, prompt, s.Descriptor)
	if err != nil {
		return err
	}
	if answer.Stream != nil || it.open {
		last, err := w.stream(ctx, cancel, it, s, answer)
		if err != nil {
			return err
		}
		return last.settle(r.ctx) // the agent is done in time
	}
	shaped, err := s.ShapeAll(answer.Actions)
	if err != nil {
		return err
	}
	if shaped, err = w.upload(ctx, it, s, shaped); err != nil {
		return err
	}
	cancel()
	typing.Wait()
	actions, err := action.Encode(shaped)
	if err != nil || len(actions) == 0 || r.stopped() {
		return err
	}
	if !it.unkept {
		err := w.cfg.Journal.Keep(w.ctx, it.key, actions)
		if errors.Is(err, ledger.ErrTooLarge) {
			return err // in the next run, too
		}
		if err != nil {
			w.cfg.Log.Error("an answer could not be kept, so it is not sent: left for the next run", "delivery", it.key, "error", err)
			return errLeft
		}
	}
	it.actions, it.done = actions, make([]string, len(actions))
	return w.send(r)
}

// ask runs the agent. A panic of its is a failed attempt.
func (w *Worker) ask(ctx context.Context, it *item, prompt *agent.Prompt, d relay.Descriptor) (answer agent.Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("agent: panicked: %v", p)
		}
	}()
	kind := agent.KindMessage
	if it.Forward != nil {
		kind = agent.KindPassthrough
	}
	return w.cfg.Agent.Answer(ctx, agent.Turn{
		Version:    1,
		Kind:       kind,
		SessionKey: it.session,
		Event:      it.Event,
		Context:    it.Event.ContextText(),
		Prompt:     prompt,
		Media:      it.files,
		Forward:    it.Forward,
		Descriptor: d,
		Delivery: agent.Delivery{
			Key: it.key, Attempt: it.attempts + 1, Buffered: it.BufferID != "", ReceivedAt: it.ReceivedAt, Sent: it.sent(),
		},
	})
}

func (w *Worker) shaper(it *item) action.Shaper {
	return action.Shaper{
		Event: it.Event, Session: it.session, Marker: w.marker, Source: w.routes.note(it.Event.Source),
		Descriptor: w.cfg.Link.Descriptor(it.Event.Source.Platform),
		Find:       w.routes.find, Describe: w.cfg.Link.Descriptor,
	}
}

// send sends the kept actions that have no outcome yet, until its context ends, which is its error then. Any other is
// errLeft: what was sent is never sent again.
func (w *Worker) send(r running) error {
	it := r.item
	for i, raw := range it.actions {
		if it.done[i] != "" {
			continue
		}
		var o action.Outgoing
		if err := json.Unmarshal(raw, &o); err != nil {
			return fmt.Errorf("turn: a kept action cannot be read: %w", err)
		}
		if o.Op() == "edit" {
			w.pace(r.ctx, o)
		}
		if r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		outcome, sent := w.deliver(it, requestID(it.key, i), o)
		if !sent {
			return errLeft
		}
		it.done[i] = outcome
		if o.Repeatable() || it.unkept || !slices.Contains(it.done, "") {
			continue // Finish is about to say so
		}
		if err := w.confirm(it, i, outcome); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) confirm(it *item, i int, outcome string) error {
	ctx, cancel := w.lasting()
	defer cancel()
	if err := w.cfg.Journal.Confirm(ctx, it.key, i, outcome); err != nil {
		w.cfg.Log.Error("an action's outcome could not be journalled: left for the next run", "delivery", it.key, "error", err)
		return errLeft
	}
	return nil
}

// Outcomes of actions, as the journal keeps them. An ok may be followed by a colon and the message's id.
const (
	outcomeOK       = "ok"
	outcomeUnknown  = "unknown"
	outcomeRefused  = "refused"
	outcomeDeclined = "declined" // nothing may be sent there in its stead (section 11)
	outcomeSkipped  = "skipped"
)

// deliver sends one action and books what became of it; sent is false if it never left. For a file that the connector
// cannot send there is a text.
func (w *Worker) deliver(it *item, requestID string, o action.Outgoing) (outcome string, sent bool) {
	outcome, sent = w.put(it, requestID, o.Clone())
	if outcome == outcomeRefused && o.Op() == "send_media" {
		return w.insteadOf(it, requestID, o)
	}
	return outcome, sent
}

func (w *Worker) put(it *item, requestID string, o action.Outgoing) (outcome string, sent bool) {
	op, chat := o.Op(), o.Chat()
	log := w.cfg.Log.With("delivery", it.key, "session", it.session, "op", op)
	if it.declined[chat] {
		log.Warn("not sent: the connector has declined this chat")
		return outcomeDeclined, true
	}
	if (op == "edit" || op == "delete") && o.Action["message_id"] == nil {
		if it.newest[chat] == "" {
			log.Warn("not sent: this turn has put no message there that is known by an id")
			return outcomeSkipped, true
		}
		o.Action["message_id"] = it.newest[chat]
	}
	if op == "prompt" && !w.putPrompt(it, o) {
		return "", false
	}
	platform := o.FramePlatform(it.Event.Source.Platform)
	result, err := w.cfg.Link.Do(w.ctx, relay.Outbound{RequestID: requestID, Platform: platform, Action: o.Action})
	refusal, refused := errors.AsType[*relay.OpError](err)
	if refused && op == "prompt" {
		w.dropPrompt(it, o)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.counts.Outbound++
		log.Info("reply", "message_id", result.MessageID)
		outcome = outcomeOK
		if result.MessageID != "" {
			outcome += ":" + result.MessageID
		}
		it.note(op, chat, outcome)
		return outcome, true
	case errors.Is(err, relay.ErrOutcomeUnknown):
		w.counts.Unknown++
		log.Warn("no answer to an action: it may have reached the chat and is not sent again", "error", err)
		return outcomeUnknown, true
	case refused:
		w.counts.Outbound++
		log.Warn("the connector refused an action", "code", refusal.Code, "error", refusal.Message)
		if (relay.Result{Code: refusal.Code, Error: refusal.Message}).Declined() && op != "react" && op != "typing" {
			it.note(op, chat, outcomeDeclined)
			return outcomeDeclined, true
		}
		return outcomeRefused, true
	default:
		log.Warn("an action could not be sent: left for the next run", "error", err)
		return "", false
	}
}

// whole says whether its answer is complete, so that the agent is not asked again.
func (it *item) whole() bool { return it.actions != nil && !it.open }

// note remembers what later actions of the turn go by.
func (it *item) note(op, chat, outcome string) {
	if outcome == outcomeDeclined {
		if it.declined == nil {
			it.declined = map[string]bool{}
		}
		it.declined[chat] = true
	}
	switch _, id, ok := strings.Cut(outcome, outcomeOK+":"); {
	case !ok:
	case op == "send", op == "send_media", op == "prompt":
		if it.newest == nil {
			it.newest = map[string]string{}
		}
		it.newest[chat] = id
	}
}

// unseen says whether nothing of it is to be seen in its chat: it presses a button, and it is not known yet whose, or that
// nobody has done so before.
func (it *item) unseen() bool {
	response := it.Event.PromptResponse
	return response != nil && response.PromptID != "" && !it.accepted
}

// recall notes what the journal knows of its actions.
func (it *item) recall() {
	it.accepted = len(it.actions) > 0 // there would be none otherwise
	for i, raw := range it.actions {
		var a struct {
			Op   string `json:"op"`
			Chat string `json:"chat_id"`
		}
		if json.Unmarshal(raw, &a) == nil && it.done[i] != "" {
			it.note(a.Op, a.Chat, it.done[i])
		}
	}
}

// sent is what earlier attempts have put into the chat, or may have.
func (it *item) sent() (list []agent.Sent) {
	for i, raw := range it.actions {
		var a struct {
			Op string `json:"op"`
		}
		json.Unmarshal(raw, &a)
		switch it.done[i] {
		case outcomeRefused, outcomeDeclined, outcomeSkipped:
			continue
		}
		_, id, _ := strings.Cut(it.done[i], ":")
		list = append(list, agent.Sent{Op: a.Op, MessageID: id})
	}
	return list
}

// editEvery is how often a chat's messages are edited at most: faster is throttled by the platforms.
const editEvery = time.Second

// nextEdit is when the chat may be edited again.
func (w *Worker) nextEdit(o action.Outgoing) time.Time {
	chat := o.Chat()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.edited[chat].Add(editEvery)
}

// pace waits until the chat may be edited, and takes that edit. It is false if ctx ends first.
func (w *Worker) pace(ctx context.Context, o action.Outgoing) bool {
	chat := o.Chat()
	for {
		w.mu.Lock()
		wait := time.Until(w.edited[chat].Add(editEvery))
		if wait <= 0 {
			w.edited[chat] = time.Now()
			w.mu.Unlock()
			return true
		}
		w.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false
		}
	}
}

func (w *Worker) apologise(it *item) {
	if w.cfg.Apology != "" {
		w.tell(it, w.cfg.Apology)
	}
}

// tell sends a text of our own to it's chat, once.
func (w *Worker) tell(it *item, text string) {
	shaped, err := w.shaper(it).ShapeAll([]relay.Action{{"op": "send", "content": text}})
	var parts []json.RawMessage
	if err == nil {
		parts, err = action.Encode(shaped)
	}
	if err != nil {
		w.cfg.Log.Warn("the chat is not told", "error", err)
		return
	}
	note := &item{
		body: it.body, key: it.key + "/apology", session: it.session, unkept: true, actions: parts,
		done: make([]string, len(parts)), declined: it.declined,
	}
	w.send(running{item: note, ctx: w.ctx})
}

// keepTyping shows typing again and again until ctx ends, at once unless it has just been shown: a message that was left
// by an earlier run, or that had to wait, has not.
func (w *Worker) keepTyping(ctx context.Context, it *item) {
	if time.Since(it.typed) >= time.Second {
		w.typing(it)
	}
	tick := time.NewTicker(typingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.typing(it)
		case <-ctx.Done():
			return
		}
	}
}

// typing shows it.
func (w *Worker) typing(it *item) {
	if !it.unseen() {
		it.typed = time.Now()
		w.postTyping(it, relay.Action{"op": "typing"})
	}
}

// typingOver takes the mark away where it stays until then (section 11).
func (w *Worker) typingOver(it *item) {
	if it.Event.Source.Platform == "slack" && !it.unseen() {
		w.postTyping(it, relay.Action{"op": "typing", "content": ""})
	}
}

func (w *Worker) postTyping(it *item, a relay.Action) {
	parts, err := w.shaper(it).Shape(0, a)
	if err != nil {
		return // not offered, or an event without a chat
	}
	w.cfg.Link.Post(relay.Outbound{Platform: parts[0].FramePlatform(it.Event.Source.Platform), Action: parts[0].Action})
}
