package conform

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func after(d time.Duration) <-chan time.Time { return time.After(d) }

// asHello is a check that sends a hello in some form, and wants a descriptor.
func asHello(send func(p *peer, hello string)) func(*trial) error {
	return func(t *trial) error {
		p, err := t.dial()
		if err != nil {
			return err
		}
		send(p, fmt.Sprintf(`{"type":"hello","platform":%q,"botId":%q}`, t.cfg.Platforms[0], t.cfg.BotID))
		_, err = p.expect(relay.TypeDescriptor)
		return err
	}
}

var wireChecks = []Check{
	{
		ID: "frames-newline", Suite: Core, Section: 3, Level: Must,
		Sentence: "frames come as text messages, each with a newline at its end",
		Quote:    "Frames are JSON objects, one per line, each ending in `\\n`, sent as text messages.",
		run:      checkNewline,
	},
	{
		ID: "frames-joined", Suite: Core, Section: 3, Level: Must,
		Sentence: "several frames in one message are all taken",
		Quote:    "So one message may hold several frames",
		run: func(t *trial) error {
			p, err := t.dial()
			if err != nil {
				return err
			}
			hello := fmt.Sprintf(`{"type":"hello","platform":%q,"botId":%q}`, t.cfg.Platforms[0], t.cfg.BotID) + "\n"
			p.raw(hello + hello)
			for range 2 {
				if _, err := p.expect(relay.TypeDescriptor); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		ID: "frames-cut", Suite: Core, Section: 3, Level: Must,
		Sentence: "one frame in several messages is taken",
		Quote:    "and one frame may come in several messages",
		run: asHello(func(p *peer, hello string) {
			p.raw(hello[:len(hello)/2])
			p.raw(hello[len(hello)/2:] + "\n")
		}),
	},
	{
		ID: "frames-cut-character", Suite: Core, Section: 3, Level: Should,
		Sentence: "a frame that is cut within a character, in binary messages, is taken",
		Quote:    "The reader joins text and binary messages (strict UTF-8)",
		run: asHello(func(p *peer, hello string) {
			hello = strings.TrimSuffix(hello, "}") + `,"conform":"é"}` + "\n"
			at := strings.Index(hello, "é") + 1
			p.write(websocket.BinaryMessage, hello[:at])
			p.write(websocket.BinaryMessage, hello[at:])
		}),
	},
	{
		ID: "frames-blank", Suite: Core, Section: 3, Level: Must,
		Sentence: "blank lines are skipped",
		Quote:    "skips blank lines",
		run:      asHello(func(p *peer, hello string) { p.raw("\n \r\n\n" + hello + "\n") }),
	},
	{
		ID: "frames-binary", Suite: Core, Section: 3, Level: Should,
		Sentence: "a binary message is taken as a text message is",
		Quote:    "The reader joins text and binary messages",
		run:      asHello(func(p *peer, hello string) { p.write(websocket.BinaryMessage, hello+"\n") }),
	},
	{
		ID: "frames-unknown", Suite: Core, Section: 3, Level: Must,
		Sentence: "a frame of an unknown type is ignored: nothing answers it, and the socket stays",
		Quote:    "A frame of an unknown `type` is ignored.",
		run:      func(t *trial) error { return checkIgnored(t, `{"type":"conform_no_such_frame","event":{}}`) },
	},
	{
		ID: "frames-bad-json", Suite: Core, Section: 3, Level: Must,
		Sentence: "a line that is no JSON is skipped, and the socket stays",
		Quote:    "A line of bad JSON is skipped with a warning.",
		run:      func(t *trial) error { return checkSurvived(t, `{"type":"inbound_ack","bufferId":`) },
	},
	{
		ID: "frames-object", Suite: Core, Section: 3, Level: Should,
		Sentence: "a line that is JSON but no object is skipped, and the socket stays",
		Quote:    "A line that is JSON but no object",
		run:      func(t *trial) error { return checkSurvived(t, "[1]\n42\nnull\n\"hello\"") },
	},
	{
		ID: "frames-types", Suite: Core, Section: 3, Level: Should,
		Sentence: "a known frame whose fields have other types, or are missing, does not end the socket",
		Quote:    "a field of a wrong type in a known frame",
		run: func(t *trial) error {
			return checkSurvived(t, `{"type":7}`+"\n"+`{"type":"outbound","requestId":[],"action":"conform"}`+"\n"+`{"type":"inbound_ack","bufferId":{}}`+
				"\n"+`{"type":"interrupt"}`+"\n"+`{"type":"hello","platform":{},"botId":null}`)
		},
	},
	{
		ID: "frames-fields", Suite: Core, Section: 5, Level: Must,
		Sentence: "members that are not known are passed over",
		Quote:    "A member that is not known is passed over, by either side.",
		run: asHello(func(p *peer, hello string) {
			p.raw(strings.TrimSuffix(hello, "}") + `,"conform":{"a":[1,null]}}` + "\n")
		}),
	},
	{
		ID: "frames-large", Suite: Core, Section: 3, Level: Must,
		Sentence: "a message of 1,000,000 bytes is taken",
		Quote:    "the largest message is 1 MiB",
		run:      func(t *trial) error { return checkSize(t, 1_000_000) },
	},
	{
		ID: "frames-larger", Suite: Core, Section: 19, Level: Should,
		Sentence: "a message of 1,500,000 bytes is taken",
		Quote:    "frames over 1 MiB refused",
		run:      func(t *trial) error { return checkSize(t, 1_500_000) },
	},
	{
		ID: "ping", Suite: Core, Section: 3, Level: Must,
		Sentence: "a ping is answered by a pong with its data",
		Quote:    "It sets a ping every 30 s and a pong deadline of 60 s",
		run:      checkPing,
	},
}

func checkNewline(t *trial) error {
	p, err := t.connect()
	if err != nil {
		return err
	}
	if err := p.answersHello("a first one"); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.kinds[websocket.BinaryMessage]:
		return errors.New("a binary message")
	case p.ragged:
		return errors.New("a message without a newline at its end")
	}
	return nil
}

// checkSurvived sends a line in the midst of a session.
func checkSurvived(t *trial, line string) error {
	p, err := t.connect()
	if err != nil {
		return err
	}
	p.raw(line + "\n")
	return p.answersHello("that line")
}

func checkIgnored(t *trial, line string) error {
	p, err := t.calm()
	if err != nil {
		return err
	}
	p.raw(line + "\n")
	f, ok := p.next(t.cfg.Quiet)
	if ok && f.Type != relay.TypeInbound && f.Type != relay.TypePassthrough {
		return fmt.Errorf("it was answered: %s", f.line)
	}
	return p.answersHello("that frame")
}

func checkSize(t *trial, size int) error {
	p, err := t.connect()
	if err != nil {
		return err
	}
	const form = `{"type":"hello","platform":%q,"botId":%q,"conform":%q}`
	p.send(form, t.cfg.Platforms[0], t.cfg.BotID, strings.Repeat("x", size-len(form)))
	_, err = p.expect(relay.TypeDescriptor)
	return err
}

func checkPing(t *trial) error {
	p, err := t.connect()
	if err != nil {
		return err
	}
	p.t.trace(">", "ping")
	if err := p.ws.WriteControl(websocket.PingMessage, []byte("conform"), time.Now().Add(t.cfg.Wait)); err != nil {
		return err
	}
	select {
	case data := <-p.pongs:
		p.t.trace("<", "pong")
		if data != "conform" {
			return fmt.Errorf("a pong with %q, not with the ping's data", data)
		}
		return nil
	case <-p.ended:
		return errors.New(p.end.String())
	case <-after(t.cfg.Wait):
		return p.nothing("no pong")
	}
}
