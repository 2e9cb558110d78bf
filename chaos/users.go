package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// apology is what the chat of a dead message is told.
const apology = "This could not be answered."

// lateSessions is the first session of messages that are answered late.
const lateSessions = 1000

// apologySuffix is what the key of an apology has behind that of its message.
const apologySuffix = "/apology"

// attachment is what files consist of.
const attachment = "a file that somebody sent along"

// users write numbered messages, each in a chat of their own, and press the buttons of the questions that they are asked.
func (r *run) users(ctx context.Context) {
	for r.weather.quiet && ctx.Err() == nil { // with time to fall asleep in between
		r.write(&message{session: r.dice(sessions), kind: r.anyKind()})
		pause(ctx, r.between(200, 1100))
	}
	wrote := map[int]bool{} // sessions whose chats the connector knows
	for pause(ctx, r.between(10, 250)) {
		session := r.dice(sessions)
		r.press(session)
		switch r.dice(8) {
		case 0:
			if wrote[session] {
				r.speak(session)
			}
		case 1:
			r.write(&message{session: lateSessions + r.number, kind: late}) // each a chat of its own: nothing is one turn with it
		}
		wrote[session] = true
		lines := 1
		if r.dice(6) == 0 {
			lines += r.dice(5) // somebody writes line by line
		}
		for range lines {
			r.write(&message{session: session, kind: r.anyKind()})
		}
	}
}

// anyKind is one of those that need no question before. A whole answer of several actions is the most instructive.
func (r *run) anyKind() kind {
	r.mu.Lock()
	defer r.mu.Unlock()
	common := []kind{one, one, one, three, three, three, stream, growing, amended, asking, asking, filing, hopeless}
	return common[r.rng.IntN(len(common))]
}

// press answers the questions that a chat shows and that nobody has answered, most of them.
func (r *run) press(session int) {
	for _, out := range r.connector.Outbounds() {
		id, _ := out.Action["prompt_id"].(string)
		if out.Op != "prompt" || !out.Applied || out.ChatID != chatID(session) || r.pressed[id] || r.between(0, 100) < 30*time.Millisecond {
			continue
		}
		r.pressed[id] = true
		r.mu.Lock()
		asked := r.requests[out.RequestID]
		r.mu.Unlock()
		if asked != nil {
			r.write(&message{session: session, kind: pressed, prompt: id, asked: asked.id()})
		}
	}
}

func chatID(session int) string { return fmt.Sprint("chat-", session) }

// write sends a message on its way, and gives it the next number.
func (r *run) write(m *message) {
	r.number++
	m.number = r.number
	event := relay.Event{
		Text: "message " + m.id(), MessageType: "text", MessageID: m.id(),
		Source: relay.Source{
			Platform: "discord", ChatID: chatID(m.session), ChatType: "group", UserID: "user", ScopeID: "scope",
		},
	}
	switch {
	case m.kind == pressed:
		event.MessageType, event.Text = "command", "/yes"
		event.PromptResponse = &relay.PromptResponse{PromptID: m.prompt, OptionID: "yes"}
	case r.weather.bulky && m.number%3 == 0 && !(m.calm && r.weather.narrow): // live ones beyond the window may be lost, by design
		m.padding = int(r.between(1, 300).Milliseconds()) << 10
		event.Text += " " + r.noise(m.padding)
	case m.number%7 == 0:
		m.attached = true
		r.attach(&event)
	}
	m.key = turn.Key(r.gateway, relay.Delivery{Kind: relay.KindInbound, Event: &event})
	r.register(m)
	bufferID := r.connector.Deliver(r.gateway, event)
	r.mu.Lock()
	m.bufferID = bufferID
	r.mu.Unlock()
}

// register makes a message known, with the request ids of its answer.
func (r *run) register(m *message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, m)
	r.byID[m.id()] = m
	for n := range mostActions {
		r.requests[requestID(m.key, n)] = m
		r.apologies[requestID(m.key+apologySuffix, n)] = m
		if m.kind == late {
			id := requestID(m.key+lateSuffix, n)
			r.requests[id], r.late[id] = m, m
		}
	}
}

// noise is text that compresses badly.
func (r *run) noise(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	r.mu.Lock()
	rng := rand.New(rand.NewPCG(r.rng.Uint64(), 0))
	r.mu.Unlock()
	text := make([]byte, n)
	for i := range text {
		text[i] = letters[rng.IntN(len(letters))]
	}
	return string(text)
}

// attach puts a file that the connector keeps into an event.
func (r *run) attach(event *relay.Event) {
	id, err := r.connector.AddMedia(r.gateway, "text/plain", "notes.txt", []byte(attachment))
	if err != nil {
		r.fault("%v", err)
		return
	}
	url := "http://" + r.wire.Addr().String() + "/relay/media/" + id
	event.MediaURLs = []string{url}
	event.Media = []relay.Media{{URL: url, Kind: "document", MIME: "text/plain", Size: int64(len(attachment)), Filename: "notes.txt"}}
}
