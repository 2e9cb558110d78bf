package devconnector

import (
	"bytes"
	"encoding/json"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// inbound makes an event's delivery. It also notes who writes in which chat: actions are routed by that later (section 10).
func (i *instance) inbound(event []byte) delivery {
	d := delivery{what: ObsInbound, member: "event", body: event}
	var seen struct {
		MessageID any `json:"message_id"`
		Source    struct {
			Platform any `json:"platform"`
			ChatID   any `json:"chat_id"`
			ChatType any `json:"chat_type"`
			ChatName any `json:"chat_name"`
			ScopeID  any `json:"scope_id"`
			UserID   any `json:"user_id"`
		} `json:"source"`
	}
	dec := json.NewDecoder(bytes.NewReader(event))
	dec.UseNumber()
	if dec.Decode(&seen) != nil {
		return d
	}
	src := seen.Source
	d.chat, d.message = text(src.ChatID), text(seen.MessageID)
	i.learn(text(src.Platform), d.chat, text(src.ChatType), text(src.ChatName), text(src.ScopeID), text(src.UserID))
	return d
}

// learnInteraction notes the same for a Discord interaction (section 9).
func (i *instance) learnInteraction(f relay.Forward) (chatID string) {
	type user struct {
		ID any `json:"id"`
	}
	var seen struct {
		ChannelID any  `json:"channel_id"`
		GuildID   any  `json:"guild_id"`
		User      user `json:"user"`
		Member    struct {
			User user `json:"user"`
		} `json:"member"`
	}
	if f.Platform != "discord" || json.Unmarshal(f.Body, &seen) != nil {
		return ""
	}
	kind := "dm"
	if text(seen.GuildID) != "" {
		kind = "group"
	}
	author := text(seen.Member.User.ID)
	if author == "" {
		author = text(seen.User.ID)
	}
	i.learn("discord", text(seen.ChannelID), kind, "", text(seen.GuildID), author)
	return text(seen.ChannelID)
}

func (i *instance) learn(platform, id, kind, name, scope, user string) {
	if id == "" {
		return
	}
	known := i.chats[id]
	if known == nil {
		known = &chat{scopes: make(map[string]bool), users: make(map[string]bool)}
		i.chats[id] = known
	}
	for _, fact := range []struct {
		into *string
		now  string
	}{{&known.platform, platform}, {&known.kind, kind}, {&known.name, name}} {
		if fact.now != "" {
			*fact.into = fact.now
		}
	}
	if scope != "" {
		known.scopes[scope] = true
	}
	if user != "" {
		known.users[user] = true
	}
}

// text is a string, or a number's decimal text; anything else is "".
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		return ""
	}
}
