package conform

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// What several checks do.

const author = "conform-user"

// owns says whether a chat is this trial's.
func (t *trial) owns(chat string) bool {
	return strings.HasPrefix(chat, t.prefix()) && t.check.ID == chatCheck(chat)
}

func (t *trial) prefix() string { return "conform." + t.check.ID + "." }

// chatCheck is the check that made a chat.
func chatCheck(chat string) string {
	parts := strings.Split(chat, ".")
	if len(parts) != 3 {
		return ""
	}
	return parts[1]
}

// chat is one that no other check uses, nor an earlier run.
func (t *trial) chat() string {
	t.chats++
	return fmt.Sprintf("%s%x-%d", t.prefix(), time.Now().UnixNano(), t.chats)
}

// connect dials, says hello and takes the descriptor. A seat that is still taken is waited for: a connector may take a moment to
// see that a socket has ended.
func (t *trial) connect() (*peer, error) {
	for deadline := time.Now().Add(t.cfg.Wait); ; {
		p, err := t.dial()
		if err != nil {
			return nil, err
		}
		p.hello(t.cfg.Platforms[0])
		_, err = p.expect(relay.TypeDescriptor)
		if err == nil {
			return p, nil
		}
		if p.open() || !takesSeat(p.end) || time.Now().After(deadline) {
			return nil, err
		}
		<-after(t.cfg.Quiet)
	}
}

// calm connects, and clears what is left over until nothing comes any more.
func (t *trial) calm() (*peer, error) {
	p, err := t.connect()
	if err != nil {
		return nil, err
	}
	for {
		f, ok := p.next(t.cfg.Quiet)
		if !ok {
			return p, nil
		}
		p.clear(f)
	}
}

// write has somebody write in a chat.
func (t *trial) write(chat, text string) error { return t.writeTo(t.cfg.GatewayID, chat, text) }

func (t *trial) writeTo(gateway, chat, text string) error {
	return t.deliver(gateway, t.event(chat, text))
}

// event is what somebody writes.
func (t *trial) event(chat, text string) map[string]any {
	return map[string]any{
		"text": text, "message_type": "text", "message_id": fmt.Sprintf("conform-%x", time.Now().UnixNano()),
		"source": map[string]any{
			"platform": t.cfg.Platforms[0], "chat_id": chat, "chat_type": "group", "chat_name": "Conformance", "user_id": author,
			"user_name": "Conformance", "thread_id": nil, "chat_topic": nil, "scope_id": "conform-scope",
		},
	}
}

func (t *trial) deliver(gateway string, event map[string]any) error {
	return t.inject("deliver", map[string]any{"gateway": gateway, "event": event})
}

// inject has something happen on the platform's side.
func (t *trial) inject(what string, body map[string]any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	t.trace("!", what+" "+string(raw))
	if err := t.cfg.Inject.Inject(t.ctx, what, raw); err != nil {
		return &skipped{what + " could not be done: " + err.Error()}
	}
	return nil
}

// inbound waits for a message of this trial.
func (p *peer) inbound() (frame, error) {
	f, ok := p.await(p.t.cfg.Wait, p.isOurs)
	if !ok {
		return frame{}, p.nothing("no inbound")
	}
	return f, nil
}

func (p *peer) isOurs(f frame) bool {
	_, chat := f.said()
	return f.Type == relay.TypeInbound && p.t.owns(chat)
}

// silent fails if a message of this trial comes while nothing has to.
func (p *peer) silent(when string) error {
	if f, ok := p.await(p.t.cfg.Quiet, p.isOurs); ok {
		text, _ := f.said()
		return fmt.Errorf("%s came %s", text, when)
	}
	return nil
}

// idle says going_idle and waits for the ack.
func (p *peer) idle() error {
	p.send(`{"type":"going_idle"}`)
	_, err := p.expect(relay.TypeGoingIdleAck)
	return err
}

// idler is a peer that has gone idle.
func (t *trial) idler() (*peer, error) {
	p, err := t.calm()
	if err == nil {
		err = p.idle()
	}
	return p, err
}

// asleep goes idle and leaves, so that what comes from now on is buffered.
func (t *trial) asleep() error {
	p, err := t.idler()
	if err != nil {
		return err
	}
	p.leave()
	return nil
}

// buffered has messages written in chats while nobody is connected, and connects again.
func (t *trial) buffered(chats ...string) (*peer, error) {
	if err := t.asleep(); err != nil {
		return nil, err
	}
	for n, chat := range chats {
		if err := t.write(chat, fmt.Sprint("message ", n+1)); err != nil {
			return nil, err
		}
	}
	return t.connect()
}

// takes waits for the buffered message of that number.
func (p *peer) takes(n int) (frame, error) {
	f, err := p.inbound()
	if err != nil {
		return frame{}, fmt.Errorf("message %d: %w", n, err)
	}
	if text, _ := f.said(); text != fmt.Sprint("message ", n) {
		return frame{}, fmt.Errorf("%s came, not message %d", text, n)
	}
	if f.bufferID() == "" {
		return frame{}, fmt.Errorf("message %d has no bufferId that is a string", n)
	}
	return f, nil
}

// acks waits for the buffered message of that number, and acks it.
func (p *peer) acks(n int) (frame, error) {
	f, err := p.takes(n)
	if err == nil {
		p.ack(f.bufferID())
	}
	return f, err
}

// refusal says how the connector refuses a token: by a close, or by HTTP.
func (t *trial) refusal(token string) (ending, error) {
	p, err := t.dialWith(token, "")
	if err != nil {
		return ending{}, err
	}
	p.hello(t.cfg.Platforms[0])
	end := p.closes()
	if end.code == 0 {
		if _, described := p.await(0, func(f frame) bool { return f.Type == relay.TypeDescriptor }); described {
			return end, errors.New("it was let in: a descriptor came")
		}
		return end, errors.New("neither a close nor a descriptor")
	}
	return end, nil
}

// refused4401 fails unless a token is refused by a close 4401.
func (t *trial) refused4401(token string) error {
	if !t.cfg.Secret.Usable() {
		return &skipped{"the kit has no secret: it dials without a token"}
	}
	end, err := t.refusal(token)
	t.noteRefusal(end, err)
	if err == nil && end.code != 4401 {
		err = errors.New(end.String())
	}
	return err
}

// answersHello fails unless the socket is alive: a hello is answered.
func (p *peer) answersHello(after string) error {
	p.hello(p.t.cfg.Platforms[0])
	if _, err := p.expect(relay.TypeDescriptor); err != nil {
		return fmt.Errorf("after %s: %w", after, err)
	}
	return nil
}

// described connects and returns the descriptor.
func (t *trial) described() (*peer, map[string]any, error) {
	p, err := t.dial()
	if err != nil {
		return nil, nil, err
	}
	p.hello(t.cfg.Platforms[0])
	f, err := p.expect(relay.TypeDescriptor)
	if err != nil {
		return nil, nil, err
	}
	var d map[string]any
	if json.Unmarshal(f.Desc, &d) != nil || d == nil {
		return nil, nil, errors.New("the descriptor is no object")
	}
	return p, d, nil
}

// offered connects as reachable does, if the descriptor offers an op.
func (t *trial) offered(op string) (*peer, string, error) {
	p, d, err := t.described()
	if err != nil {
		return nil, "", err
	}
	if !slices.Contains(opsOf(d), op) {
		return nil, "", &skipped{op + " is not offered"}
	}
	p.leave()
	return t.reachable()
}

// does sends an action that has to succeed, with a result that has the members.
func (p *peer) does(action string, members ...string) error {
	_, err := p.result(action, members...)
	return err
}

// result is does, with the result.
func (p *peer) result(action string, members ...string) (map[string]any, error) {
	result, err := p.act(p.t.cfg.Platforms[0], action)
	if err != nil {
		return nil, err
	}
	if result["success"] != true {
		return nil, fmt.Errorf("refused: %s", cmp.Or(textOf(result, "error"), textOf(result, "code"), "without a reason"))
	}
	for _, name := range members {
		if textOf(result, name) == "" {
			return nil, fmt.Errorf("the result has no %s", name)
		}
	}
	return result, nil
}

// opsOf are the ops that a descriptor offers (section 7).
func opsOf(d map[string]any) []string {
	ops := []string{"send", "edit", "typing", "follow_up"} // the legacy set
	if listed, _ := d["supported_ops"].([]any); len(listed) > 0 {
		ops = nil
		for _, op := range listed {
			if name, ok := op.(string); ok {
				ops = append(ops, name)
			}
		}
	}
	return ops
}

// reachable connects and has somebody write, so that actions for that chat are routed.
func (t *trial) reachable() (*peer, string, error) {
	p, err := t.calm()
	if err != nil {
		return nil, "", err
	}
	chat := t.chat()
	if err := t.write(chat, "message 1"); err != nil {
		return nil, "", err
	}
	f, err := p.inbound()
	if err != nil {
		return nil, "", err
	}
	if id := f.bufferID(); id != "" {
		p.ack(id)
	}
	return p, chat, nil
}

// metadata is what routes an action to a chat of this kit.
func metadata() string {
	return fmt.Sprintf(`"metadata":{"user_id":%q,"scope_id":"conform-scope"}`, author)
}

// textOf is a member's text.
func textOf(object map[string]any, name string) string {
	text, _ := object[name].(string)
	return text
}

// mustFail fails unless a result says that the action failed, and why.
func mustFail(result map[string]any) error {
	if success, told := result["success"].(bool); !told || success {
		return fmt.Errorf("the result's success is %v", result["success"])
	}
	if strings.TrimSpace(cmp.Or(textOf(result, "error"), textOf(result, "code"))) == "" {
		return errors.New("the result has success false and no error")
	}
	return nil
}
