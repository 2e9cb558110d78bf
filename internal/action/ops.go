package action

import (
	"cmp"
	"errors"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const nameLimit = 100 // characters of a thread's name (section 11)

func (s Shaper) send(o *Outgoing) error {
	s.finalText(o)
	return cmp.Or(needed(o.Action, "content"), nullable(o.Action, "reply_to"))
}

// edit may leave out message_id, which means the newest message that this turn has put into the chat.
func (Shaper) edit(o *Outgoing) error {
	return cmp.Or(needed(o.Action, "content"), optional(o.Action, "message_id"))
}

// delete may leave out message_id as edit may.
func (Shaper) delete(o *Outgoing) error { return optional(o.Action, "message_id") }

func (Shaper) typing(o *Outgoing) error {
	if _, ok := o.Action["content"].(string); o.Action["content"] != nil && !ok {
		return errors.New("content: want a string, or nothing")
	}
	return nil
}

func (Shaper) getChatInfo(o *Outgoing) error {
	delete(o.Action, "metadata")
	return nil
}

// followUp goes to the session's interaction, whose token the connector has.
func (s Shaper) followUp(o *Outgoing) error {
	a := o.Action
	delete(a, "chat_id")
	if none(a, "session_key") {
		a["session_key"] = s.Session
	}
	if none(a, "kind") && s.Event.Source.Platform == "discord" {
		a["kind"] = "discord.interaction_token"
	}
	metadata := a["metadata"].(map[string]any)
	if profile := relay.KeyProfile(o.text("session_key")); profile != "" && metadata["profile"] == nil {
		metadata["profile"] = profile // the only fact that routes a follow_up (section 10)
	}
	return cmp.Or(needed(a, "content"), needed(a, "session_key"), needed(a, "kind"))
}

// react may leave out message_id in the turn's chat, which means the message that the turn answers.
func (s Shaper) react(o *Outgoing) error {
	a := o.Action
	if none(a, "message_id") && a["chat_id"] == s.Event.Source.ChatID {
		a["message_id"] = s.Event.MessageID
	}
	return cmp.Or(needed(a, "message_id"), needed(a, "emoji"), boolean(a, "remove"))
}

func (Shaper) threadCreate(o *Outgoing) error {
	name, ok := o.Action["thread_name"].(string)
	if o.Action["thread_name"] != nil && !ok {
		return errors.New("thread_name: want a string")
	}
	o.Action["thread_name"] = cmp.Or(shorten(strings.TrimSpace(name), nameLimit), "handoff")
	return nil
}

// threadRename may leave out message_id, which names the thread, inside that thread.
func (s Shaper) threadRename(o *Outgoing) error {
	a := o.Action
	if none(a, "message_id") {
		a["message_id"] = s.Event.Source.ThreadID
	}
	if name, ok := a["thread_name"].(string); ok {
		a["thread_name"] = shorten(strings.Join(strings.Fields(name), " "), nameLimit)
	}
	return cmp.Or(needed(a, "message_id"), needed(a, "thread_name"), optional(a, "only_if_current_name"))
}
