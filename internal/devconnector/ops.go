package devconnector

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// generic is the platform of a gateway that names no front (section 4). Its socket may act on every platform.
const generic = "relay"

var (
	legacyOps = []string{"send", "edit", "typing", "follow_up"} // section 7

	// required lists the members that an op must have (section 11).
	required = map[string][]string{
		"send":           {"chat_id", "content"},
		"edit":           {"chat_id", "message_id", "content"},
		"typing":         {"chat_id"},
		"follow_up":      {"session_key", "kind", "content"},
		"get_chat_info":  {"chat_id"},
		"send_media":     {"chat_id", "media_kind", "source_url"},
		"prompt":         {"chat_id", "content", "prompt_kind", "prompt_id", "options"},
		"react":          {"chat_id", "message_id", "emoji"},
		"thread_create":  {"chat_id", "thread_name"},
		"thread_rename":  {"chat_id", "message_id", "thread_name"},
		"delete":         {"chat_id", "message_id"},
		"draft":          {"chat_id", "draft_id", "content"},
		"task_card":      {"chat_id", "card_id"},
		"task_card_stop": {"chat_id", "card_id"},
	}

	// silent ops make no message, so their results carry no message_id.
	silent = []string{"typing", "react", "delete", "get_chat_info", "thread_rename", "task_card_stop"}
)

// descriptor answers a hello (section 7). Limits are those of section 11.
func (p *Preset) descriptor(platform string) map[string]any {
	if len(p.Platforms) > 0 && !slices.Contains(p.Platforms, platform) {
		platform = p.Platforms[0]
	}
	d := map[string]any{
		"contract_version":         1,
		"platform":                 platform,
		"label":                    platform,
		"max_message_length":       4096,
		"supports_draft_streaming": false,
		"supports_edit":            len(p.SupportedOps) == 0 || slices.Contains(p.SupportedOps, "edit"),
		"supports_threads":         slices.Contains(p.SupportedOps, "thread_create"),
		"markdown_dialect":         "plain",
		"len_unit":                 "chars",
	}
	switch platform {
	case "discord":
		maps.Copy(d, map[string]any{"label": "Discord", "max_message_length": 2000, "markdown_dialect": "discord"})
	case "telegram":
		maps.Copy(d, map[string]any{"label": "Telegram", "markdown_dialect": "markdown_v2", "len_unit": "utf16"})
	case "slack":
		maps.Copy(d, map[string]any{"label": "Slack", "max_message_length": 39000, "markdown_dialect": "mrkdwn"})
	case "whatsapp":
		maps.Copy(d, map[string]any{"label": "WhatsApp", "markdown_dialect": "whatsapp"})
	}
	if p.SupportedOps != nil {
		d["supported_ops"] = p.SupportedOps
	}
	for name, value := range p.Descriptor {
		if d[name] = value; value == nil {
			delete(d, name)
		}
	}
	return d
}

// outbound records an action and answers it, unless a fault keeps the answer back.
func (s *socket) outbound(f frame) {
	c := s.c
	var action relay.Action
	if json.Unmarshal(f.Action, &action) != nil || action == nil {
		action = relay.Action{}
	}
	op := action.Op()
	before, repeated := c.requests[f.RequestID]
	record := Outbound{
		At: time.Now(), Gateway: s.gateway, Socket: s.id, RequestID: f.RequestID, Repeated: repeated,
		Platform: f.Platform, BotID: f.BotID, Op: op, ChatID: text(action["chat_id"]), Content: text(action["content"]),
		Action: action, Answered: !c.faults.unanswered.take(op),
	}
	record.Metadata, _ = action["metadata"].(map[string]any)
	refused := false
	if repeated && c.preset().AnswersAgain {
		record.Result = before
	} else {
		refused = s.decide(f, &record)
	}
	if untold := c.preset().ErrorsUntold && !record.Result.Success && !refused; untold {
		record.Answered = false
		s.send(map[string]string{"type": "error", "error": record.Result.Error})
	}
	c.requests[f.RequestID] = record.Result
	c.outbounds = append(c.outbounds, record)
	s.observe(Observation{What: ObsOutbound, Op: op, Platform: f.Platform, Chat: record.ChatID, RequestID: f.RequestID,
		MessageID: record.Result.MessageID, Size: len(record.Content)})
	if !isRequestID(f.RequestID) {
		s.breach("outbound whose requestId is not 32 hex digits")
	}
	if record.Applied {
		s.inst.endTurn(action)
	}
	if !record.Answered {
		return
	}
	s.after(s.inst.outboundTakes(op, record.Content), func() {
		s.send(map[string]any{"type": relay.TypeResult, "requestId": f.RequestID, "result": record.Result})
		o := Observation{What: ObsResult, Op: op, RequestID: f.RequestID, MessageID: record.Result.MessageID}
		if !record.Result.Success {
			o.Detail = record.Result.Error
		}
		s.observe(o)
	})
}

// decide carries an action out, or refuses it. refused says whether a fault did.
func (s *socket) decide(f frame, o *Outbound) (refused bool) {
	refusal, applied, refused := s.c.faults.takeRefusal(o.Op, o.ChatID)
	if !refused || applied {
		o.Result = s.apply(f, o)
		o.Applied, o.MessageID = o.Result.Success, o.Result.MessageID
	}
	if refused {
		o.Result = refusal
	}
	o.Progress = o.Applied && o.Op == "send" && s.c.preset().ReplyTo && text(o.Action["reply_to"]) == ""
	return refused
}

// outboundTakes says after which time an action's result is sent. In a serial queue each waits for the one before it.
func (i *instance) outboundTakes(op, content string) time.Duration {
	p := i.c.preset()
	takes := p.OutboundDelay
	if p.OutboundChunk > 0 {
		takes *= time.Duration(max(1, (len(utf16.Encode([]rune(content)))+p.OutboundChunk-1)/p.OutboundChunk))
	}
	if of := i.c.faults.delayOp; of == "" || of == op {
		takes += i.c.faults.delayResults
	}
	if !p.OutboundSerial {
		return takes
	}
	now := time.Now()
	if i.outboundAt.Before(now) {
		i.outboundAt = now
	}
	i.outboundAt = i.outboundAt.Add(takes)
	return i.outboundAt.Sub(now)
}

func isRequestID(id string) bool {
	return len(id) == 32 && strings.Trim(id, "0123456789abcdefABCDEF") == ""
}

// apply carries out an action or refuses it (sections 10, 11 and 19).
func (s *socket) apply(f frame, o *Outbound) relay.Result {
	known := s.inst.chats[o.ChatID]
	for _, check := range []func() (relay.Result, bool){
		func() (relay.Result, bool) { return s.c.preset().offers(o.Op) },
		func() (relay.Result, bool) { return s.fronts(f) },
		o.complete,
		func() (relay.Result, bool) { return s.c.preset().route(o, known) },
	} {
		if refusal, refused := check(); refused {
			if s.c.preset().SaysRetryable {
				refusal.Retryable = &no
			}
			return refusal
		}
	}
	result := relay.Result{Success: true}
	switch {
	case o.Op == "get_chat_info":
		result.ChatInfo = chatInfo(o.ChatID, known)
	case o.Op == "thread_create":
		result.ThreadID = s.c.messageID()
		if known != nil { // the thread is answered in by the same people
			thread := *known
			thread.kind = "thread"
			s.inst.chats[result.ThreadID] = &thread
		}
	case o.Op == "edit":
		result.MessageID = text(o.Action["message_id"])
	case !slices.Contains(silent, o.Op):
		result.MessageID = s.c.messageID()
	}
	return result
}

// offers refuses an op that the descriptor does not name.
func (p *Preset) offers(op string) (refusal relay.Result, refused bool) {
	ops := p.SupportedOps
	if len(ops) == 0 {
		ops = legacyOps
	}
	return relay.Result{Error: "unsupported op: " + op}, !slices.Contains(ops, op)
}

// fronts refuses a platform or a bot that no hello of this socket named.
func (s *socket) fronts(f frame) (refusal relay.Result, refused bool) {
	if f.Platform == "" {
		return relay.Result{}, false
	}
	p := s.c.preset()
	bot, said := s.bots[f.Platform]
	_, any := s.bots[generic]
	if any && !said {
		bot, said = s.bots[generic], true
	}
	if p.Platforms != nil {
		said = slices.Contains(p.Platforms, f.Platform)
	}
	switch {
	case !said:
		return relay.Result{Error: "platform not fronted"}, true
	case p.RequireBotID && bot == "" && !any:
		return relay.Result{Error: "no bot id for platform " + f.Platform, Code: "bot_id_missing"}, true
	case f.BotID != "" && f.BotID != bot:
		return relay.Result{Error: "bot not fronted", Code: "bot_id_unknown"}, true
	}
	return relay.Result{}, false
}

// complete refuses an action that lacks what its op needs.
func (o *Outbound) complete() (refusal relay.Result, refused bool) {
	for _, name := range required[o.Op] {
		if o.Action[name] == nil || (name == "chat_id" && o.ChatID == "") {
			return relay.Result{Error: "missing " + name}, true
		}
	}
	return relay.Result{}, false
}

// route refuses a chat that the gateway may not write to. follow_up names a session instead of a chat, and get_chat_info
// carries no metadata.
func (p *Preset) route(o *Outbound, known *chat) (relay.Result, bool) {
	routed := p.Routing == RouteAny || o.Op == "follow_up"
	if !routed && known != nil {
		routed = p.Routing == RouteChat || o.Op == "get_chat_info" ||
			known.scopes[text(o.Metadata["scope_id"])] || known.users[text(o.Metadata["user_id"])]
	}
	switch {
	case routed:
		return relay.Result{}, false
	case p.Routing == RouteChat:
		return relay.Result{Error: "chat not routed to this profile"}, true
	}
	platform := o.Platform
	if platform == "" {
		platform = generic
	}
	return relay.Result{
		Error: platform + " egress declined: target not routed to an onboarded tenant",
		Code:  "egress_declined",
	}, true
}

func chatInfo(id string, known *chat) json.RawMessage {
	info := map[string]string{"name": id, "type": "dm"}
	if known != nil && known.name != "" {
		info["name"] = known.name
	}
	if known != nil && known.kind != "" {
		info["type"] = known.kind
	}
	raw, _ := json.Marshal(info)
	return raw
}

// messageID makes the platform's id of a new message. Call with c.mu held.
func (c *Connector) messageID() string {
	c.messages++
	return fmt.Sprintf("m-%d", c.messages)
}
