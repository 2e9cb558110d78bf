package action

import (
	"maps"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// anchor is the id of the message that an answer replies to; empty: none. The topics of a Telegram group are reached by their
// thread alone (section 20).
func (s Shaper) anchor() string {
	source := s.Event.Source
	if source.Platform == "telegram" && source.ThreadID != "" && source.ChatType != "dm" {
		return ""
	}
	return s.Event.MessageID
}

// AsReply makes a send to the turn's chat a reply to its message, if the agent leaves that member out: null and an empty text
// are a no. is reports whether it did.
func (s Shaper) AsReply(said relay.Action) (reply relay.Action, is bool) {
	if _, given := said["reply_to"]; given || said.Op() != "send" || saysNothing(said) || s.anchor() == "" {
		return said, false
	}
	if chat := said["chat_id"]; !none(said, "chat_id") && chat != s.Event.Source.ChatID {
		return said, false
	}
	reply = maps.Clone(said)
	reply["reply_to"] = s.anchor()
	return reply, true
}

// finalText fills in what the reference puts into the metadata of an answer's text (section 20). A text that the agent has said
// is no reply is progress, which need not ring. What the agent has put there stays.
func (s Shaper) finalText(o *Outgoing) {
	a, source := o.Action, s.Event.Source
	metadata := a["metadata"].(map[string]any)
	put := func(name string, value any) {
		if _, there := metadata[name]; !there {
			metadata[name] = value
		}
	}
	if a["chat_id"] != source.ChatID {
		return
	}
	if _, given := a["reply_to"]; !given || !none(a, "reply_to") {
		put("notify", true)
	}
	switch {
	case source.Platform == "slack" && s.Source.ScopeID != "":
		put("slack_team_id", s.Source.ScopeID)
	case source.Platform == "telegram" && source.ChatType == "dm" && source.ThreadID != "":
		put("telegram_dm_topic_reply_fallback", true)
		if source.ThreadID != "1" { // which is no topic
			put("direct_messages_topic_id", source.ThreadID)
		}
		if anchor := s.anchor(); anchor != "" {
			put("telegram_reply_to_message_id", anchor)
		}
	}
}
