package conform

import (
	"errors"
	"fmt"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Checks of single ops do not mind if the descriptor does not offer theirs: then they are skipped.
var opChecks = []Check{
	{
		ID: "op-edit", Suite: Core, Section: 11, Level: Must,
		Sentence: "an edit of a message that was just sent succeeds",
		Quote:    "| `edit` | yes | `chat_id`, `message_id`, `content`, `metadata` |",
		needs:    needs{inject: true},
		run: func(t *trial) error {
			return t.onMessage("edit", `{"op":"edit","chat_id":%q,"message_id":%q,"content":"conform again",%s}`)
		},
	},
	{
		ID: "op-delete", Suite: Core, Section: 11, Level: Must,
		Sentence: "a delete of a message that was just sent succeeds",
		Quote:    "| `delete` | yes | `chat_id`, `message_id`, `metadata`. Not in the contract **[D]** |",
		needs:    needs{inject: true},
		run: func(t *trial) error {
			return t.onMessage("delete", `{"op":"delete","chat_id":%q,"message_id":%q,%s}`)
		},
	},
	{
		ID: "op-react", Suite: Core, Section: 11, Level: Must,
		Sentence: "a reaction is put on a message and taken off",
		Quote:    "| `react` | yes | `chat_id`, `message_id`, `emoji`, `remove` (bool), `metadata` |",
		needs:    needs{inject: true},
		run: func(t *trial) error {
			const form = `{"op":"react","chat_id":%q,"message_id":%q,"emoji":"👀","remove":`
			return t.onMessage("react", form+`false,%s}`, form+`true,%s}`)
		},
	},
	{
		ID: "op-typing", Suite: Core, Section: 11, Level: Must,
		Sentence: "typing succeeds",
		Quote:    "| `typing` | yes | `chat_id`, `metadata`, `content`?",
		needs:    needs{inject: true},
		run: func(t *trial) error {
			p, chat, err := t.offered("typing")
			if err != nil {
				return err
			}
			return p.does(fmt.Sprintf(`{"op":"typing","chat_id":%q,%s}`, chat, metadata()))
		},
	},
	{
		ID: "op-info", Suite: Core, Section: 11, Level: Must,
		Sentence: "get_chat_info of a chat that has just written gives name and type, in chat_info or in the result itself",
		Quote:    "the answer is in `result.chat_info` or in result itself, and needs `name` and `type`",
		needs:    needs{inject: true},
		run:      checkInfo,
	},
	{
		ID: "op-thread", Suite: Core, Section: 11, Level: Must,
		Sentence: "thread_create succeeds and names the thread, by thread_id or message_id",
		Quote:    "Answer: `thread_id`, else `message_id`",
		needs:    needs{inject: true},
		run:      func(t *trial) error { _, _, _, err := t.thread("thread_create"); return err },
	},
	{
		ID: "op-rename", Suite: Core, Section: 11, Level: Must,
		Sentence: "thread_rename of a thread that was just made succeeds",
		Quote:    "`chat_id` (parent, by default the thread), `message_id` (the thread), `thread_name`",
		needs:    needs{inject: true},
		run: func(t *trial) error {
			p, chat, thread, err := t.thread("thread_rename")
			if err != nil {
				return err
			}
			return p.does(fmt.Sprintf(`{"op":"thread_rename","chat_id":%q,"message_id":%q,"thread_name":"conform again",`+
				`"only_if_connector_created":true,%s}`, chat, thread, metadata()))
		},
	},
	{
		ID: "op-draft", Suite: Core, Section: 11, Level: Must,
		Sentence: "a draft is begun and made final",
		Quote:    "`draft_id` (int), `content`, `final` (bool)",
		needs:    needs{inject: true},
		run: func(t *trial) error {
			p, chat, err := t.offered("draft")
			const form = `{"op":"draft","chat_id":%q,"draft_id":1,"content":"conform","final":%v,%s}`
			for _, final := range []bool{false, true} {
				if err == nil {
					err = p.does(fmt.Sprintf(form, chat, final, metadata()))
				}
			}
			return err
		},
	},
	{
		ID: "op-media", Suite: Media, Section: 11, Level: Must,
		Sentence: "send_media of a file that was uploaded succeeds, and its result names the message",
		Quote:    "`media_kind` (image, voice, audio, video, document), `source_url`",
		needs:    needs{inject: true, secret: true},
		run:      checkSendMedia,
	},
	{
		ID: "action-many", Suite: Core, Section: 5, Level: Must,
		Sentence: "of several actions that are sent at once each is answered by the result of its requestId",
		Quote:    "ids that are unknown or already answered are ignored",
		run:      checkMany,
	},
	{
		ID: "action-again", Suite: Core, Section: 21, Level: Should,
		Sentence: "a requestId that comes again is answered as before, and the action is not done again",
		Quote:    "answer one that comes again as before, without doing the action again",
		needs:    needs{inject: true},
		run:      checkActionAgain,
	},
	{
		ID: "refusal-fields", Suite: Core, Section: 11, Level: Must,
		Sentence: "the members of a refusal have their types: error and code text, ambiguous and retryable bool, retry_after a number",
		Quote:    "Fields that say more, where there are any",
		run:      checkRefusalFields,
	},
}

// onMessage does actions with a message that was just sent. A form has the chat, the message and the metadata.
func (t *trial) onMessage(op string, forms ...string) error {
	p, chat, err := t.offered(op)
	if err != nil {
		return err
	}
	sent, err := p.result(sending(chat), "message_id")
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	for _, form := range forms {
		if err := p.does(fmt.Sprintf(form, chat, textOf(sent, "message_id"), metadata())); err != nil {
			return err
		}
	}
	return nil
}

func checkInfo(t *trial) error {
	p, chat, err := t.offered("get_chat_info")
	if err != nil {
		return err
	}
	result, err := p.result(fmt.Sprintf(`{"op":"get_chat_info","chat_id":%q}`, chat))
	if err != nil {
		return err
	}
	info, ok := result["chat_info"].(map[string]any)
	if !ok {
		info = result
	}
	if textOf(info, "name") == "" || textOf(info, "type") == "" {
		return fmt.Errorf("name %v, type %v", info["name"], info["type"])
	}
	return nil
}

// thread makes a thread in a chat that has just written, if an op for threads is offered.
func (t *trial) thread(op string) (p *peer, chat, thread string, err error) {
	if p, chat, err = t.offered(op); err != nil {
		return nil, "", "", err
	}
	result, err := p.result(fmt.Sprintf(`{"op":"thread_create","chat_id":%q,"thread_name":"conform",%s}`, chat, metadata()))
	if err != nil {
		return nil, "", "", err
	}
	if thread = textOf(result, "thread_id"); thread == "" {
		thread = textOf(result, "message_id")
	}
	if thread == "" {
		err = errors.New("neither thread_id nor message_id in the result")
	}
	return p, chat, thread, err
}

func checkSendMedia(t *trial) error {
	p, chat, err := t.offered("send_media")
	if err != nil {
		return err
	}
	id, _, err := t.uploaded([]byte("conform"), "conform.txt")
	if err != nil {
		return err
	}
	url := relay.NewBaseURL(t.cfg.URL).Media() + "/" + id
	return p.does(fmt.Sprintf(`{"op":"send_media","chat_id":%q,"media_kind":"document","source_url":%q,"content":"","reply_to":null,%s}`,
		chat, url, metadata()), "message_id")
}

func checkMany(t *trial) error {
	p, err := t.connect()
	if err != nil {
		return err
	}
	chat, waiting := t.chat(), map[string]bool{}
	for range 5 {
		id := requestID()
		waiting[id] = true
		p.send(`{"type":"outbound","requestId":%q,"action":{"op":"typing","chat_id":%q,%s}}`, id, chat, metadata())
	}
	for len(waiting) > 0 {
		f, ok := p.await(t.cfg.Wait, func(f frame) bool { return f.Type == relay.TypeResult && waiting[f.RequestID] })
		if !ok {
			return p.nothing(fmt.Sprintf("no outbound_result for %d of 5 requestIds", len(waiting)))
		}
		delete(waiting, f.RequestID)
	}
	return nil
}

func checkActionAgain(t *trial) error {
	p, chat, err := t.reachable()
	if err != nil {
		return err
	}
	id := requestID()
	var messages []string
	for range 2 {
		result, err := p.actAs(id, t.cfg.Platforms[0], sending(chat))
		if err != nil {
			return err
		}
		messages = append(messages, textOf(result, "message_id"))
	}
	t.facts.note("answers-again", messages[0] == messages[1])
	if messages[0] != messages[1] {
		return fmt.Errorf("it made the messages %s and %s", messages[0], messages[1])
	}
	return nil
}

func checkRefusalFields(t *trial) error {
	p, err := t.connect()
	if err != nil {
		return err
	}
	said := false
	for _, action := range []string{
		sending(t.chat()), `{"op":"send","metadata":{}}`, fmt.Sprintf(`{"op":"conform_no_such_op","chat_id":%q}`, t.chat()),
	} {
		result, err := p.act("", action)
		if err != nil || result["success"] == true {
			continue // other checks say so
		}
		said = said || result["retryable"] != nil
		for _, member := range []struct {
			name string
			is   func(any) bool
		}{{"error", isText}, {"code", isText}, {"ambiguous", isBool}, {"retryable", isBool}, {"retry_after", isNumber}, {"warning", isText}} {
			if value := result[member.name]; value != nil && !member.is(value) {
				return fmt.Errorf("%s is %v", member.name, value)
			}
		}
	}
	t.facts.note("says-retryable", said)
	return nil
}

// withdrawnChecks need an operator, whom the injector calls with "fault".
var withdrawnChecks = []Check{
	{
		ID: "expired-open", Suite: Identity, Section: 13, Level: Should,
		Sentence: "a socket whose token has aged is closed 4401 with the reason expired, and a dial with a fresh token is let in",
		Quote:    "the token aged",
		needs:    needs{inject: true},
		run: func(t *trial) error {
			end, err := t.withdrawn("expire")
			if err == nil && (end.code != 4401 || end.reason != "expired") {
				err = errors.New(end.String())
			}
			if err == nil {
				_, err = t.connect()
			}
			return err
		},
	},
	{
		ID: "revoked-open", Suite: Identity, Section: 13, Level: Must,
		Sentence: "a gateway that is revoked while it is connected is closed 4401, not as expired",
		Quote:    "the credentials are not accepted",
		needs:    needs{inject: true},
		run: func(t *trial) error {
			end, err := t.withdrawn("revoke")
			if err == nil {
				t.facts.note("revoked", end)
			}
			if err == nil && (end.code != 4401 || end.reason == "expired") {
				err = errors.New(end.String())
			}
			return err
		},
	},
	{
		ID: "revoked-dial", Suite: Identity, Section: 13, Level: Must,
		Sentence: "and its next dial is refused by close 4401, until it is restored",
		Quote:    "That connection accepted and then closed 4401 (not expired), or the dial itself failing with 4401: revoked, terminal.",
		needs:    needs{inject: true, secret: true},
		run: func(t *trial) error {
			if _, err := t.withdrawn("revoke"); err != nil {
				return err
			}
			end, err := t.refusal(t.token())
			if err == nil && (end.code != 4401 || end.reason == "expired") {
				err = errors.New(end.String())
			}
			return err
		},
	},
	{
		ID: "suspended", Suite: Identity, Section: 13, Level: Should,
		Sentence: "a gateway that is suspended is closed 1013, as are its dials until then",
		Quote:    "suspended, or too many failures from this address: back off",
		needs:    needs{inject: true},
		run: func(t *trial) error {
			end, err := t.withdrawn("suspend")
			if err == nil && end.code == 1013 {
				end, err = t.refusal(t.token())
			}
			if err == nil && end.code != 1013 {
				err = errors.New(end.String())
			}
			return err
		},
	},
}

// withdrawn connects, has the operator do something to the gateway, and says how the socket ends. The check's end restores it.
func (t *trial) withdrawn(what string) (ending, error) {
	p, err := t.calm()
	if err != nil {
		return ending{}, err
	}
	t.after = func() { _ = t.inject("fault", map[string]any{"name": "restore", "gateway": t.cfg.GatewayID}) }
	if err := t.inject("fault", map[string]any{"name": what, "gateway": t.cfg.GatewayID}); err != nil {
		return ending{}, err
	}
	end := p.closes()
	if end.code == 0 {
		return end, p.nothing("no close")
	}
	return end, nil
}
