package conform

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

var promptChecks = []Check{
	{
		ID: "prompt-kinds", Suite: Prompts, Section: 11, Level: Must,
		Sentence: "a prompt of each kind (approval, clarify, choice) succeeds in a chat that has just written, and its result names the message",
		Quote:    "`prompt_kind` (approval, clarify, choice)",
		needs:    needs{inject: true},
		run:      checkPrompts,
	},
	{
		ID: "prompt-ids", Suite: Prompts, Section: 11, Level: Must,
		Sentence: "a prompt whose tokens have all the 64 bytes that they may have succeeds",
		Quote:    "each id has 1 to 32 of `[A-Za-z0-9_.-]`, and the whole has at most 64 bytes",
		needs:    needs{inject: true},
		run: func(t *trial) error {
			p, chat, err := t.offered("prompt")
			if err != nil {
				return err
			}
			return p.prompts(chat, "choice", "c0f0a1."+strings.Repeat("1", 20), strings.Repeat("o", 32)) // hp1: and a colon are five
		},
	},
	{
		ID: "prompt-response", Suite: Prompts, Section: 6, Level: Must,
		Sentence: "a user's choice comes as an event's prompt_response, an object with prompt_id and option_id",
		Quote:    "| `prompt_response` | yes | object: the option that a user chose (section 11) |",
		needs:    needs{inject: true},
		run:      checkPromptResponse,
	},
	{
		ID: "forward-live", Suite: Prompts, Section: 9, Level: Must,
		Sentence: "a platform's request comes as passthrough_forward, with its platform and method as texts, its headers as pairs, and its body in base64",
		Quote:    "| `headers` | yes | `[[k,v],...]` |",
		needs:    needs{inject: true},
		run:      checkForward,
	},
	{
		ID: "forward-buffered", Suite: Prompts, Section: 9, Level: Must,
		Sentence: "a request that comes while an idle gateway is away comes at its next dial with a bufferId, and not again after its ack",
		Quote:    "The contract says that a buffered forward is acked after durable handoff.",
		needs:    needs{inject: true},
		run:      checkForwardBuffered,
	},
	{
		ID: "forward-passes", Suite: Prompts, Section: 9, Level: Should,
		Sentence: "a buffered request that is never acked holds up no message behind it",
		Quote:    "passes `bufferId` to a handler that ignores it, and never acks",
		needs:    needs{inject: true},
		run:      checkForwardPasses,
	},
	{
		ID: "interrupt-inbound", Suite: Prompts, Section: 5, Level: Should,
		Sentence: "a user's interrupt comes as interrupt_inbound, with session_key and chat_id as texts",
		Quote:    "missing ones read as `\"\"`; it cancels exactly that session's turn",
		needs:    needs{inject: true},
		run:      checkInterruptInbound,
	},
}

// prompts sends a prompt that has to succeed.
func (p *peer) prompts(chat, kind, id, option string) error {
	return p.does(fmt.Sprintf(`{"op":"prompt","chat_id":%q,"content":"conform","prompt_kind":%q,"prompt_id":%q,`+
		`"options":[{"id":%q,"label":"A","style":"primary"},{"id":"b","label":"B"}],"reply_to":null,"timeout_s":60,%s}`,
		chat, kind, id, option, metadata()), "message_id")
}

func checkPrompts(t *trial) error {
	p, chat, err := t.offered("prompt")
	if err != nil {
		return err
	}
	for n, kind := range []string{"approval", "clarify", "choice"} {
		if err := p.prompts(chat, kind, fmt.Sprintf("c0f0a1.%08d", n), "a"); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func checkPromptResponse(t *trial) error {
	p, err := t.calm()
	if err != nil {
		return err
	}
	chosen := map[string]any{"prompt_id": "c0f0a1.00000001", "option_id": "a", "label": "A", "prompt_message_id": "conform-none"}
	event := t.event(t.chat(), "/a")
	event["message_type"], event["prompt_response"] = "command", chosen
	if err := t.deliver(t.cfg.GatewayID, event); err != nil {
		return err
	}
	f, err := p.inbound()
	if err != nil {
		return err
	}
	if id := f.bufferID(); id != "" {
		p.ack(id)
	}
	var came struct {
		Chosen map[string]any `json:"prompt_response"`
	}
	if json.Unmarshal(f.Event, &came) != nil || came.Chosen["prompt_id"] != chosen["prompt_id"] || came.Chosen["option_id"] != chosen["option_id"] {
		return fmt.Errorf("prompt_response is %v", came.Chosen)
	}
	return nil
}

// request has somebody use a command of Discord's. The path tells it from others.
func (t *trial) request() (path string, err error) {
	if t.cfg.Platforms[0] != "discord" {
		return "", &skipped{"only Discord has forwards"}
	}
	path = "/" + t.chat()
	body := fmt.Sprintf(`{"id":"i-%s","type":2,"channel_id":%q,"guild_id":"conform-scope","member":{"user":{"id":%q,"username":"c"}},`+
		`"data":{"name":"help"}}`, path, path, author)
	return path, t.inject("forward", map[string]any{"gateway": t.cfg.GatewayID, "forward": map[string]any{
		"platform": "discord", "botId": t.cfg.BotID, "method": "POST", "path": path, "headers": [][2]string{{"X-Conform", "yes"}},
		"bodyB64": base64.StdEncoding.EncodeToString([]byte(body)),
	}})
}

// forwarded waits for the request of that path.
func (p *peer) forwarded(path string) (frame, error) {
	f, ok := p.await(p.t.cfg.Wait, func(f frame) bool { return f.Type == relay.TypePassthrough && f.path() == path })
	if !ok {
		return frame{}, p.nothing("no passthrough_forward")
	}
	return f, nil
}

func checkForward(t *trial) error {
	p, err := t.calm()
	if err != nil {
		return err
	}
	path, err := t.request()
	if err != nil {
		return err
	}
	f, err := p.forwarded(path)
	if err != nil {
		return err
	}
	if id := f.bufferID(); id != "" {
		p.ack(id)
	}
	var came struct {
		Platform, Method string
		Headers          [][2]string
		BodyB64          string
	}
	if err := json.Unmarshal(f.Forward, &came); err != nil {
		return fmt.Errorf("a forward of other types: %w", err)
	}
	body, err := base64.StdEncoding.DecodeString(came.BodyB64)
	switch {
	case err != nil || !json.Valid(body):
		return errors.New("bodyB64 is not the request's body in base64")
	case came.Platform != "discord" || came.Method != "POST":
		return fmt.Errorf("platform %q, method %q", came.Platform, came.Method)
	case len(came.Headers) == 0:
		return errors.New("no headers")
	}
	return nil
}

// bufferedRequest goes to sleep, has a command used, and more happen, and connects again.
func (t *trial) bufferedRequest(more func() error) (*peer, string, error) {
	if err := t.asleep(); err != nil {
		return nil, "", err
	}
	path, err := t.request()
	if err != nil {
		return nil, "", err
	}
	if err := more(); err != nil {
		return nil, "", err
	}
	p, err := t.connect()
	return p, path, err
}

func checkForwardBuffered(t *trial) error {
	p, path, err := t.bufferedRequest(func() error { return nil })
	if err != nil {
		return err
	}
	f, err := p.forwarded(path)
	if err != nil {
		return err
	}
	if f.bufferID() == "" {
		return errors.New("it has no bufferId that is a string")
	}
	p.ack(f.bufferID())
	p.await(t.cfg.Quiet, func(frame) bool { return false })
	p.leave()
	if p, err = t.connect(); err != nil {
		return err
	}
	if _, again := p.await(t.cfg.Quiet, func(f frame) bool { return f.Type == relay.TypePassthrough && f.path() == path }); again {
		return errors.New("it came again after its ack")
	}
	return nil
}

func checkForwardPasses(t *trial) error {
	chat := t.chat()
	p, path, err := t.bufferedRequest(func() error { return t.write(chat, "message 1") })
	if err != nil {
		return err
	}
	forward, err := p.forwarded(path)
	if err != nil {
		return err
	}
	_, err = p.acks(1)
	t.facts.note("forwards-pass", err == nil)
	if id := forward.bufferID(); id != "" {
		p.ack(id)
	}
	if err != nil {
		return fmt.Errorf("behind a forward without an ack: %w", err)
	}
	return nil
}

func checkInterruptInbound(t *trial) error {
	p, err := t.calm()
	if err != nil {
		return err
	}
	chat := t.chat()
	key := fmt.Sprintf("agent:main:%s:group:%s", t.cfg.Platforms[0], chat)
	if err := t.inject("interrupt", map[string]any{"gateway": t.cfg.GatewayID, "session_key": key, "chat_id": chat}); err != nil {
		return err
	}
	f, ok := p.await(t.cfg.Wait, func(f frame) bool { return f.Type == relay.TypeInterruptIn })
	t.facts.note("interrupts", ok)
	switch {
	case !ok:
		return p.nothing("no interrupt_inbound")
	case f.Key != key || f.Chat != chat:
		return fmt.Errorf("another session: %s", f.line)
	}
	return nil
}
