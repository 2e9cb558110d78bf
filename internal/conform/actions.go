package conform

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

var actionChecks = []Check{
	{
		ID: "live-inbound", Suite: Core, Section: 5, Level: Must,
		Sentence: "what is written while the gateway is connected comes as inbound, with an event that is an object",
		Quote:    "| `inbound` | yes | `event`, `bufferId`? |",
		needs:    needs{inject: true},
		run:      checkLive,
	},
	{
		ID: "live-source", Suite: Core, Section: 6, Level: Must,
		Sentence: "an event's source has every field that is always sent",
		Quote:    "\"always\" means that the connector always sends it, perhaps as null",
		needs:    needs{inject: true},
		run:      checkSource,
	},
	{
		ID: "live-order", Suite: Core, Section: 6, Level: Must,
		Sentence: "live messages come in the order in which they were written",
		Quote:    "Live\nframes (no `bufferId`) are never acked.",
		needs:    needs{inject: true},
		run:      checkLiveOrder,
	},
	{
		ID: "live-without-id", Suite: Core, Section: 6, Level: Should,
		Sentence: "live frames have no bufferId",
		Quote:    "Live frames (no `bufferId`) are never acked.",
		needs:    needs{inject: true},
		run:      checkLiveIDs,
	},
	{
		ID: "action-send", Suite: Core, Section: 11, Level: Must,
		Sentence: "a send to a chat that has just written succeeds, and its result names the message",
		Quote:    "| `send` | yes | `chat_id`, `content`, `reply_to` (null when none), `metadata` |",
		needs:    needs{inject: true},
		run:      checkSend,
	},
	{
		ID: "action-result", Suite: Core, Section: 5, Level: Must,
		Sentence: "an action is answered by one outbound_result with its requestId and an object as result",
		Quote:    "a missing `result` reads as `{}`, which is a failure",
		run:      checkResult,
	},
	{
		ID: "action-unknown", Suite: Core, Section: 11, Level: Must,
		Sentence: "an unknown op is answered by a result that has failed and says why",
		Quote:    "`unsupported op: X`",
		run: func(t *trial) error {
			return t.refuses(fmt.Sprintf(`{"op":"conform_no_such_op","chat_id":%q,%s}`, t.chat(), metadata()))
		},
	},
	{
		ID: "action-incomplete", Suite: Core, Section: 11, Level: Must,
		Sentence: "a send without content and a chat is answered by a result that has failed and says why",
		Quote:    "| `error` | yes | text |",
		run:      func(t *trial) error { return t.refuses(`{"op":"send","metadata":{}}`) },
	},
	{
		ID: "egress-refused", Suite: Core, Section: 11, Level: Must,
		Sentence: "a send to a chat that never wrote to this gateway is refused",
		Quote:    "The connector refuses the destination",
		run: func(t *trial) error {
			return t.refuses(sending(t.chat()))
		},
	},
	{
		ID: "egress-code", Suite: Core, Section: 11, Level: Should,
		Sentence: "that refusal has the code egress_declined, or says so in its error, and is not ambiguous",
		Quote:    "its `code` is `egress_declined` or its error contains `egress declined:`",
		run:      checkEgressCode,
	},
	{
		ID: "action-each", Suite: Core, Section: 11, Level: Must,
		Sentence: "every op that the descriptor offers is answered by a result, and by another one than unsupported",
		Quote:    "The column \"agents\" says whether an agent of this project may use the op.",
		run:      checkEachOp,
	},
	{
		ID: "action-platform", Suite: Core, Section: 19, Level: Should,
		Sentence: "an action tagged with a platform that no hello named is refused",
		Quote:    "a frame tagged with another platform: `platform not fronted`",
		run:      checkPlatform,
	},
	{
		ID: "interrupt", Suite: Core, Section: 5, Level: Must,
		Sentence: "an interrupt is taken without an answer, and the socket stays",
		Quote:    "fire and forget",
		run: func(t *trial) error {
			return checkIgnored(t, `{"type":"interrupt","session_key":"agent:main:conform","reason":null}`)
		},
	},
	{
		ID: "ack-stray", Suite: Core, Section: 19, Level: Must,
		Sentence: "acks of another id, of a number, and without an id change nothing, and the socket stays",
		Quote:    "`inbound_ack` with the id as a JSON **number**, or another id: ignored silently",
		run: func(t *trial) error {
			return checkIgnored(t, `{"type":"inbound_ack","bufferId":"conform-no-such"}`+"\n"+
				`{"type":"inbound_ack","bufferId":1234567}`+"\n"+`{"type":"inbound_ack"}`)
		},
	},
}

// live connects and has somebody write.
func (t *trial) live() (*peer, frame, error) {
	p, err := t.calm()
	if err != nil {
		return nil, frame{}, err
	}
	if err := t.write(t.chat(), "message 1"); err != nil {
		return nil, frame{}, err
	}
	f, err := p.inbound()
	return p, f, err
}

func checkLive(t *trial) error {
	_, f, err := t.live()
	if err == nil && !strings.HasPrefix(strings.TrimSpace(string(f.Event)), "{") {
		err = fmt.Errorf("the event is no object: %s", f.line)
	}
	return err
}

func checkSource(t *trial) error {
	_, f, err := t.live()
	if err != nil {
		return err
	}
	var missing []string
	for _, name := range []string{"platform", "chat_id", "chat_type", "chat_name", "user_id", "user_name", "thread_id", "chat_topic"} {
		if _, there := f.source()[name]; !there {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return fmt.Errorf("the source has no %s", strings.Join(missing, ", "))
	}
	return nil
}

func checkLiveOrder(t *trial) error {
	p, err := t.calm()
	if err != nil {
		return err
	}
	for n := range 5 {
		if err := t.write(t.chat(), fmt.Sprint("message ", n+1)); err != nil {
			return err
		}
	}
	for n := range 5 {
		f, err := p.inbound()
		if err != nil {
			return fmt.Errorf("message %d: %w", n+1, err)
		}
		if id := f.bufferID(); id != "" {
			p.ack(id)
		}
		if text, _ := f.said(); text != fmt.Sprint("message ", n+1) {
			return fmt.Errorf("%s came, not message %d", text, n+1)
		}
	}
	return nil
}

func checkLiveIDs(t *trial) error {
	p, err := t.calm()
	if err != nil {
		return err
	}
	with := make([]bool, 2)
	for n := range with { // some connectors give an id to every other one
		if err := t.write(t.chat(), fmt.Sprint("message ", n+1)); err != nil {
			return err
		}
		f, err := p.inbound()
		if err != nil {
			return err
		}
		if with[n] = len(f.BufferID) > 0 && string(f.BufferID) != "null"; with[n] {
			p.ack(f.bufferID())
		}
	}
	t.facts.note("live-ids", with)
	if n := slices.Index(with, true); n >= 0 {
		return fmt.Errorf("message %d came live with a bufferId", n+1)
	}
	return nil
}

func checkSend(t *trial) error {
	p, chat, err := t.reachable()
	if err != nil {
		return err
	}
	began := time.Now()
	err = p.does(sending(chat), "message_id")
	t.facts.note("send-took", time.Since(began))
	return err
}

// sending is a send to a chat.
func sending(chat string) string {
	return fmt.Sprintf(`{"op":"send","chat_id":%q,"content":"conform","reply_to":null,%s}`, chat, metadata())
}

// refuses sends an action that has to be refused.
func (t *trial) refuses(action string) error {
	p, err := t.connect()
	if err != nil {
		return err
	}
	result, err := p.act("", action)
	if err != nil {
		return err
	}
	return mustFail(result)
}

func checkResult(t *trial) error {
	p, err := t.connect()
	if err != nil {
		return err
	}
	chat := t.chat()
	result, err := p.act("", fmt.Sprintf(`{"op":"typing","chat_id":%q,%s}`, chat, metadata()))
	if err != nil {
		return err
	}
	if !isBool(result["success"]) {
		return fmt.Errorf("the result's success is %v", result["success"])
	}
	if f, again := p.await(t.cfg.Quiet, func(f frame) bool { return f.Type == relay.TypeResult }); again {
		return fmt.Errorf("a second result: %s", f.line)
	}
	return nil
}

func checkEgressCode(t *trial) error {
	p, err := t.connect()
	if err != nil {
		return err
	}
	result, err := p.act("", sending(t.chat()))
	if err != nil {
		return err
	}
	said := strings.ToLower(textOf(result, "error"))
	switch {
	case result["success"] == true:
		return errors.New("the send was done")
	case textOf(result, "code") != "egress_declined" && !strings.Contains(said, "egress declined:"):
		return fmt.Errorf("code %q, error %q", textOf(result, "code"), textOf(result, "error"))
	case result["ambiguous"] == true:
		return errors.New("the refusal is ambiguous")
	}
	return nil
}

// bodies are actions with every field of section 11, without op, chat and metadata.
var bodies = map[string]string{
	"send":           `"content":"conform","reply_to":null`,
	"edit":           `"message_id":"conform-none","content":"conform"`,
	"typing":         ``,
	"follow_up":      `"session_key":"agent:main:conform","kind":"discord.interaction_token","content":"conform"`,
	"get_chat_info":  ``,
	"send_media":     `"media_kind":"image","source_url":"https://media.invalid/conform.png","content":"","reply_to":null`,
	"prompt":         `"content":"conform","prompt_kind":"choice","prompt_id":"c0f0a1.00000001","options":[{"id":"a","label":"A"}],"reply_to":null`,
	"react":          `"message_id":"conform-none","emoji":"x","remove":false`,
	"thread_create":  `"thread_name":"conform"`,
	"thread_rename":  `"message_id":"conform-none","thread_name":"conform","only_if_connector_created":true`,
	"delete":         `"message_id":"conform-none"`,
	"draft":          `"draft_id":1,"content":"conform","final":false`,
	"task_card":      `"card_id":"turn:conform","chunks":[]`,
	"task_card_stop": `"card_id":"turn:conform"`,
}

func checkEachOp(t *trial) error {
	p, d, err := t.described()
	if err != nil {
		return err
	}
	ops := opsOf(d)
	slices.Sort(ops)
	for _, op := range ops {
		body, known := bodies[op]
		if !known {
			continue
		}
		if body != "" {
			body += ","
		}
		result, err := p.act("", fmt.Sprintf(`{"op":%q,"chat_id":%q,%s%s}`, op, t.chat(), body, metadata()))
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if strings.Contains(strings.ToLower(textOf(result, "error")), "unsupported op") {
			return fmt.Errorf("%s is offered, and answered: %s", op, textOf(result, "error"))
		}
	}
	return nil
}

func checkPlatform(t *trial) error {
	p, err := t.connect()
	if err != nil {
		return err
	}
	result, err := p.act("conform-platform", fmt.Sprintf(`{"op":"typing","chat_id":%q,%s}`, t.chat(), metadata()))
	if err != nil {
		return err
	}
	if err := mustFail(result); err != nil {
		return err
	}
	if !strings.Contains(textOf(result, "error"), "platform") {
		return fmt.Errorf("refused, but not for its platform: %s", textOf(result, "error"))
	}
	return nil
}
