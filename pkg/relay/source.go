package relay

import (
	"cmp"
	"maps"
	"strings"
)

// Source is where an event comes from (section 6). Ids are opaque; numbers on the wire become their decimal text.
type Source struct {
	Platform              string `json:"platform"` // a known name in lower case, else relay
	ChatID                string `json:"chat_id"`
	ChatType              string `json:"chat_type"` // dm when absent
	ChatName              string `json:"chat_name"`
	UserID                string `json:"user_id"`
	UserName              string `json:"user_name"` // display name, else user name, else handle
	ThreadID              string `json:"thread_id"`
	ChatTopic             string `json:"chat_topic"`
	UserIDAlt             string `json:"user_id_alt,omitempty"`
	ChatIDAlt             string `json:"chat_id_alt,omitempty"`
	ScopeID               string `json:"scope_id,omitempty"` // guild, workspace or server
	ParentChatID          string `json:"parent_chat_id,omitempty"`
	MessageID             string `json:"message_id,omitempty"`
	Profile               string `json:"profile,omitempty"`
	AutoThreadCreated     bool   `json:"auto_thread_created,omitempty"`
	AutoThreadInitialName string `json:"auto_thread_initial_name,omitempty"`
	ProspectiveThreadID   string `json:"prospective_thread_id,omitempty"`
	IsBot                 bool   `json:"is_bot,omitempty"`          // a bot wrote it; not every connector says so
	MessageIsEdit         bool   `json:"message_is_edit,omitempty"` // it replaces an earlier text; likewise
	OneToOneVerified      bool   `json:"one_to_one_verified,omitempty"`
}

var defaultSource = Source{Platform: "relay", ChatType: "dm"}

// IsZero reports whether a source says nothing: the event had none, or an empty one.
func (s Source) IsZero() bool { return s == defaultSource || s == Source{} }

// UnmarshalJSON is as lenient as DecodeEvent. null is a source with all defaults.
func (s *Source) UnmarshalJSON(raw []byte) error {
	in := scanner{json: raw}
	decoded, ok := decodeSource(&in)
	if !in.ended() || !ok {
		return errSourceNotObject
	}
	*s = decoded
	return nil
}

// decodeSource reads a source. It is false if that is neither an object nor null.
func decodeSource(in *scanner) (Source, bool) {
	s := defaultSource
	if in.peek() != '{' {
		return s, in.value().isNull()
	}
	var displayName, handle string
	for name := range in.members() {
		switch string(name) {
		case "platform":
			s.Platform = platformName(in.value())
		case "chat_id":
			s.ChatID = in.text()
		case "chat_type":
			s.ChatType = chatType(in.value())
		case "chat_name":
			s.ChatName = in.text()
		case "user_id":
			s.UserID = in.text()
		case "user_name":
			s.UserName = in.text()
		case "user_display_name":
			displayName = in.text()
		case "user_handle":
			handle = in.text()
		case "thread_id":
			s.ThreadID = in.text()
		case "chat_topic":
			s.ChatTopic = in.text()
		case "user_id_alt":
			s.UserIDAlt = in.text()
		case "chat_id_alt":
			s.ChatIDAlt = in.text()
		case "scope_id": // its legacy mirror guild_id is not read
			s.ScopeID = in.text()
		case "parent_chat_id":
			s.ParentChatID = in.text()
		case "message_id":
			s.MessageID = in.text()
		case "profile":
			s.Profile = in.text()
		case "auto_thread_created":
			s.AutoThreadCreated = in.value().isTrue()
		case "auto_thread_initial_name":
			s.AutoThreadInitialName = in.text()
		case "prospective_thread_id":
			s.ProspectiveThreadID = in.text()
		case "is_bot":
			s.IsBot = in.value().isTrue()
		case "message_is_edit":
			s.MessageIsEdit = in.value().isTrue()
		case "one_to_one_verified":
			s.OneToOneVerified = in.value().isTrue()
		}
	}
	s.UserName = cmp.Or(displayName, s.UserName, handle)
	return s, true
}

// platforms are those that the reference knows, with its known plugins. Any other name becomes relay, as in the
// reference: otherwise its chats would have other session keys here than with every other gateway.
var platforms = names("local", "telegram", "discord", "whatsapp", "whatsapp_cloud", "slack", "signal", "mattermost",
	"matrix", "homeassistant", "email", "sms", "dingtalk", "api_server", "webhook", "msgraph_webhook", "feishu", "wecom",
	"wecom_callback", "weixin", "bluebubbles", "qqbot", "yuanbao", "relay",
	"irc", "line", "teams", "google_chat", "simplex", "ntfy", "photon", "raft")

// KnownPlatform reports whether a platform's name is one that the contract knows, as it is spelled there.
func KnownPlatform(name string) bool { return platforms[name] == name && name != "" }

func platformName(v value) string {
	if !v.isString() {
		return "relay"
	}
	if known := v.name(platforms); known != "" {
		return known
	}
	return cmp.Or(platforms[strings.ToLower(strings.TrimFunc(v.text(), isSpace))], "relay")
}

// chatTypes are the common ones, which are read without a copy; any other is kept, too.
var chatTypes = names("dm", "group", "channel", "thread", "forum")

// chatType reads null as "", not as the default dm: the users of a group without a type must not share one session.
func chatType(v value) string {
	switch {
	case v.isNull():
		return ""
	case !v.isString():
		return "dm"
	}
	if known := v.name(chatTypes); known != "" {
		return known
	}
	return v.text()
}

// Routing returns what the connector needs to route a reply to s (section 10): the platform for its frame, "" for relay,
// and the metadata scope_id, user_id and profile, as far as known. Without a chat there is neither.
func (s Source) Routing() (platform string, metadata map[string]string) {
	if s.ChatID == "" {
		return "", map[string]string{}
	}
	metadata = map[string]string{"scope_id": s.ScopeID, "user_id": s.UserID, "profile": s.Profile}
	maps.DeleteFunc(metadata, func(_, id string) bool { return id == "" })
	if s.Platform != "relay" {
		platform = s.Platform
	}
	return platform, metadata
}
