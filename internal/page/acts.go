package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// say is somebody who writes.
func (m *Machine) say(_ context.Context, in struct {
	Chat   string       `json:"chat"`
	User   string       `json:"user"`
	Text   string       `json:"text"`
	Reply  string       `json:"reply"` // the message that is answered
	Thread string       `json:"thread"`
	Files  []Attachment `json:"files"`
}) (any, error) {
	c, u, err := m.chatAndUser(in.Chat, in.User)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(in.Text) == "" && len(in.Files) == 0 {
		return nil, errors.New("there is nothing to be said")
	}
	now := time.Now()
	w := words{MID: newMID(c.Platform, now), User: u, Text: in.Text, Thread: in.Thread, Files: in.Files}
	msg := Message{Chat: c.ID, MID: w.MID, At: ms(now), User: u.ID, Name: u.Name, Text: in.Text, Thread: in.Thread, Files: in.Files, State: WaySent}
	if in.Reply != "" {
		to, ok := m.model.message(in.Reply)
		if !ok {
			return nil, errors.New("the message that is answered is not there")
		}
		w.Reply = &to
		msg.Reply = &Quote{to.MID, to.Name, shorten(to.Text, 140)}
	}
	for _, f := range in.Files {
		w.URLs = append(w.URLs, m.stage.Connector().MediaURL(m.stage.ConnectorURL(), f.File))
	}
	return m.deliverEvent(msg, c.event(w))
}

func (m *Machine) deliverEvent(msg Message, e relay.Event) (any, error) {
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	m.model.AddMessage(msg)
	return map[string]string{"message": msg.Chat + "/" + msg.MID, "way": m.deliver(msg, raw, false, "")}, nil
}

// own finds a user's message.
func (m *Machine) own(id string) (Message, error) {
	msg, ok := m.model.message(id)
	if !ok || msg.Bot {
		return msg, errors.New("there is no such message of a user's")
	}
	return msg, nil
}

// edit is somebody who changes what they wrote: the platform sends the message again, with the same id.
func (m *Machine) edit(_ context.Context, in struct {
	Message string `json:"message"`
	Text    string `json:"text"`
}) (any, error) {
	msg, err := m.own(in.Message)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(in.Text) == "" || msg.Deleted {
		return nil, errors.New("a message that is deleted, or has no text, is not edited")
	}
	c, u, err := m.chatAndUser(msg.Chat, msg.User)
	if err != nil {
		return nil, err
	}
	msg.Text, msg.Edits, msg.State = in.Text, msg.Edits+1, WaySent
	return m.deliverEvent(msg, c.event(words{MID: msg.MID, User: u, Text: in.Text, Thread: msg.Thread, Edit: true}))
}

// remove is somebody who deletes what they wrote. The contract has no event for it, so the gateway is not told.
func (m *Machine) remove(_ context.Context, in struct {
	Message string `json:"message"`
}) (any, error) {
	msg, err := m.own(in.Message)
	if err != nil {
		return nil, err
	}
	m.model.change(msg.ID, func(msg *Message) { msg.Deleted = true })
	return nil, nil
}

// press is somebody who presses a button. On Discord that is an interaction, elsewhere an event.
func (m *Machine) press(_ context.Context, in struct {
	Message string `json:"message"`
	Option  string `json:"option"`
	User    string `json:"user"`
}) (any, error) {
	asked, ok := m.model.message(in.Message)
	label := ""
	for _, b := range asked.Buttons {
		if b.ID == in.Option {
			label = b.Label
		}
	}
	if !ok || label == "" {
		return nil, errors.New("there is no such button")
	}
	c, u, err := m.chatAndUser(asked.Chat, in.User)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	msg := Message{Chat: c.ID, MID: newMID(c.Platform, now), At: ms(now), User: u.ID, Name: u.Name, State: WaySent,
		Note: "presses " + label, Reply: &Quote{asked.MID, asked.Name, shorten(asked.Text, 140)}}
	m.model.change(asked.ID, func(msg *Message) { msg.Pressed, msg.PressedBy = in.Option, u.Name })
	if c.Platform == "discord" {
		return m.interact(msg, c.interaction(interactionButton, msg.MID, u, map[string]any{
			"message": map[string]string{"id": asked.MID},
			"data":    map[string]any{"component_type": 2, "custom_id": relay.PromptToken{PromptID: asked.Prompt, OptionID: in.Option}.String()},
		}))
	}
	e := c.event(words{MID: msg.MID, User: u, Text: "/" + in.Option, Kind: "command", Thread: asked.Thread})
	e.PromptResponse = &relay.PromptResponse{PromptID: asked.Prompt, OptionID: in.Option, Label: label, PromptMessageID: asked.MID}
	return m.deliverEvent(msg, e)
}

func (m *Machine) interact(msg Message, body json.RawMessage) (any, error) {
	m.model.AddMessage(msg)
	return map[string]string{"message": msg.Chat + "/" + msg.MID, "way": m.deliver(msg, body, true, "")}, nil
}

// pair is an option of a command, or a field of a form.
type pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// command is somebody who calls a slash command. Where there are no such commands it is a text.
func (m *Machine) command(_ context.Context, in struct {
	Chat    string `json:"chat"`
	User    string `json:"user"`
	Name    string `json:"name"`
	Options []pair `json:"options"`
}) (any, error) {
	c, u, err := m.chatAndUser(in.Chat, in.User)
	if err != nil {
		return nil, err
	}
	name := strings.TrimPrefix(strings.TrimSpace(in.Name), "/")
	if name == "" || strings.ContainsAny(name, " \n") {
		return nil, errors.New("a command has a name without blanks")
	}
	text := "/" + name
	options := []any{}
	for _, o := range in.Options {
		if o.Value != "" {
			text += " " + o.Value
			options = append(options, map[string]any{"type": 3, "name": o.Name, "value": o.Value})
		}
	}
	now := time.Now()
	msg := Message{Chat: c.ID, MID: newMID(c.Platform, now), At: ms(now), User: u.ID, Name: u.Name, Text: text, State: WaySent}
	if c.Platform != "discord" {
		return m.deliverEvent(msg, c.event(words{MID: msg.MID, User: u, Text: text, Kind: "command"}))
	}
	return m.interact(msg, c.interaction(interactionCommand, msg.MID, u, map[string]any{"data": map[string]any{"type": 1, "name": name, "options": options}}))
}

// form is somebody who sends a form in: Discord alone has them.
func (m *Machine) form(_ context.Context, in struct {
	Chat   string `json:"chat"`
	User   string `json:"user"`
	ID     string `json:"id"`
	Fields []pair `json:"fields"`
}) (any, error) {
	c, u, err := m.chatAndUser(in.Chat, in.User)
	if err != nil {
		return nil, err
	}
	if c.Platform != "discord" {
		return nil, errors.New("only Discord has forms")
	}
	rows, lines := []any{}, []string{}
	for _, f := range in.Fields {
		if f.Name != "" {
			rows = append(rows, map[string]any{"type": 1, "components": []any{map[string]any{"type": 4, "custom_id": f.Name, "value": f.Value}}})
			lines = append(lines, f.Name+": "+f.Value)
		}
	}
	if in.ID == "" || len(rows) == 0 {
		return nil, errors.New("a form has an id and at least one field with a name")
	}
	now := time.Now()
	msg := Message{Chat: c.ID, MID: newMID(c.Platform, now), At: ms(now), User: u.ID, Name: u.Name, State: WaySent,
		Text: strings.Join(lines, "\n"), Note: "sends the form " + in.ID}
	return m.interact(msg, c.interaction(interactionForm, msg.MID, u, map[string]any{"data": map[string]any{"custom_id": in.ID, "components": rows}}))
}

// replay delivers something again: as it was, or as another message, changed if there is an event.
func (m *Machine) replay(_ context.Context, in struct {
	Way   string          `json:"way"`
	New   bool            `json:"new"`
	Event json.RawMessage `json:"event"`
}) (any, error) {
	p, ok := m.model.Way(in.Way)
	if !ok || len(p.Event) == 0 && len(in.Event) == 0 {
		return nil, errors.New("what came there is not known any more")
	}
	raw := p.Event
	if len(in.Event) > 0 {
		raw = in.Event
	}
	msg := Message{Chat: p.Chat, MID: p.MID, Name: p.Name, Text: p.Text}
	if known, ok := m.model.message(p.Chat + "/" + p.MID); ok {
		msg = known
	}
	if !in.New {
		return map[string]string{"way": m.deliver(msg, raw, p.Forward, p.ID)}, nil
	}
	return m.deliverAnew(msg, raw, p.Forward, p.ID)
}

// deliverAnew delivers an event under another id, and shows it in its chat.
func (m *Machine) deliverAnew(msg Message, raw json.RawMessage, forward bool, replayed string) (any, error) {
	e, err := decode(raw, forward)
	if err != nil {
		return nil, fmt.Errorf("that is no event: %w", err)
	}
	now := time.Now()
	mid := newMID(e.Source.Platform, now)
	if raw, err = renamed(raw, forward, mid); err != nil {
		return nil, err
	}
	id := chatID(e.Source.Platform, e.Source.ChatID)
	if _, ok := m.model.chat(id); !ok {
		m.model.AddChat(Chat{Platform: e.Source.Platform, Chat: e.Source.ChatID, Type: e.Source.ChatType, Name: firstOf(e.Source.ChatName, e.Source.ChatID),
			Scope: e.Source.ScopeID, Users: []User{{e.Source.UserID, firstOf(e.Source.UserName, e.Source.UserID)}}})
	}
	next := Message{Chat: id, MID: mid, At: ms(now), User: e.Source.UserID, Name: firstOf(e.Source.UserName, msg.Name), Text: e.Text,
		Files: msg.Files, State: WaySent, Reply: msg.Reply, Thread: msg.Thread}
	if replayed != "" {
		next.Note = "replayed"
	}
	m.model.AddMessage(next)
	return map[string]string{"message": next.Chat + "/" + mid, "way": m.deliver(next, raw, forward, replayed)}, nil
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return "somebody"
}

// openCase delivers what a case file holds, under other ids.
func (m *Machine) openCase(_ context.Context, in json.RawMessage) (any, error) {
	events, forwards, err := ReadCase(in)
	if err != nil {
		return nil, err
	}
	var last any
	for i, raw := range events {
		if last, err = m.deliverAnew(Message{}, raw, forwards[i], ""); err != nil {
			return nil, fmt.Errorf("frame %d: %w", i, err)
		}
	}
	return last, nil
}

// retry puts dead messages back, and has drain look.
func (m *Machine) retry(ctx context.Context, in struct {
	Keys []string `json:"keys"`
	Ask  bool     `json:"ask"`
}) (any, error) {
	book := m.stage.Ledger()
	done, err := each(in.Keys, func(key string) error { return book.RetryDead(ctx, key, in.Ask) })
	if done > 0 {
		m.armNext()
	}
	m.readBooks()
	return map[string]int{"done": done}, err
}

func (m *Machine) drop(ctx context.Context, in struct {
	Keys []string `json:"keys"`
}) (any, error) {
	book := m.stage.Ledger()
	done, err := each(in.Keys, func(key string) error { return book.DropDead(ctx, key) })
	m.readBooks()
	return map[string]int{"done": done}, err
}

// armNext has a drain look once the one that runs has ended: only a run that begins takes up what was put back.
func (m *Machine) armNext() {
	m.wg.Go(func() {
		for m.model.awake() {
			_, _, changed := m.model.entries.since(math.MaxInt64 - 1)
			select {
			case <-changed:
			case <-time.After(time.Second): // it may have ended in between
			case <-m.ctx.Done():
				return
			}
		}
		_ = m.stage.Host().InvokeEvent(rig.Drain, []byte(`{"reason":"arm"}`)) // it fails once the stage closes
	})
}

// each does something to each of some keys, and goes on if one cannot be done.
func each(keys []string, do func(string) error) (done int, err error) {
	if len(keys) == 0 {
		return 0, errors.New("no message was named")
	}
	for _, key := range keys {
		if fault := do(key); fault != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", key, fault))
		} else {
			done++
		}
	}
	return done, err
}

func (m *Machine) enable(ctx context.Context, _ struct{}) (any, error) {
	book := m.stage.Ledger()
	if err := book.Enable(ctx); err != nil {
		return nil, err
	}
	m.readBooks()
	m.armNext()
	return nil, nil
}
