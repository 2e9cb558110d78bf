package main

import (
	"fmt"
	"strings"
)

// kind is what the agent answers to a message, and so what its chat must show in the end.
type kind int

const (
	one      kind = iota // one text
	three                // three texts in one whole answer
	stream               // two texts, streamed
	growing              // a text that is edited twice, streamed
	amended              // a text and its edit, in one whole answer
	asking               // a question with buttons
	pressed              // the answer to a button: one text
	filing               // a file that is uploaded, and a text
	hopeless             // the agent refuses it: it is dead at once
	late                 // one text, announced by the agent and said later
	spoken               // nobody has written it: the gateway is invoked to say one text
	kinds
)

func (k kind) String() string {
	return [...]string{"one", "three", "stream", "growing", "amended", "asking", "pressed", "filing", "hopeless", "late", "spoken"}[k]
}

// streamed says that an answer comes piece by piece: an attempt that breaks leaves what it has sent.
func (k kind) streamed() bool { return k == stream || k == growing }

// message is one of a simulated user's.
type message struct {
	session, number int
	kind            kind
	key             string // of its delivery
	bufferID        string // the connector sends it until it is acked; empty: live
	calm            bool   // written when no fault was injected any more and all was settled
	prompt          string // of pressed: the question's id
	asked           string // of pressed: the id of the message that was answered with the question
	attached        bool   // it has a file
	padding         int    // bytes of its text
	beside          string // what each text of its answer ends with, if it is the answer to others, too
}

func (m *message) isHopeless() bool { return m.kind == hopeless }

func (m *message) id() string { return fmt.Sprintf("%d-%d", m.session, m.number) }

// String is for what is printed of a run that fails: the log names a delivery by its key.
func (m *message) String() string { return fmt.Sprintf("%s (%s, %s)", m.id(), m.kind, m.key) }

// part is a text of the answer; nothing else has it.
func (m *message) part(n int) string { return fmt.Sprintf("%s %c.%s", m.id(), 'a'+n, m.beside) }

// together is the message as the one that leads others: its answer is theirs, too, and each text of it names them.
func (m *message) together(others []*message) *message {
	if len(others) == 0 {
		return m
	}
	led := *m
	var ids []string
	for _, other := range others {
		ids = append(ids, other.id())
	}
	led.beside = " (" + strings.Join(ids, " ") + ")"
	return &led
}

// wants are the texts that the chat must show in the end, each once. first says how a text may go on.
func (m *message) wants() (texts []string) {
	switch m.kind {
	case hopeless:
		return nil
	case three:
		return []string{m.part(0), m.part(1), m.part(2)}
	case stream, filing:
		return []string{m.part(0), m.part(1)}
	case growing:
		return []string{m.part(2)}
	case amended:
		return []string{m.part(1)}
	}
	return []string{m.part(0)}
}

// says reports whether a text may be in the chat as a part of the answer to m, and which one it is.
func (m *message) says(text string) (part string, ok bool) {
	parts := m.wants()
	switch m.kind {
	case growing:
		parts = []string{m.part(0), m.part(1), m.part(2)}
	case amended:
		parts = []string{m.part(0), m.part(1)}
	}
	for _, part := range parts {
		if text == part || m.kind == filing && strings.HasPrefix(text, part) { // a text in place of a file
			return part, true
		}
	}
	return "", false
}
