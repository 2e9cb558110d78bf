package relay

import (
	"cmp"
	"errors"
	"maps"
	"strings"
)

// Event is an inbound message with the defaults of section 6 filled in. It marshals to the wire names again, and what
// it marshals to decodes as an equal Event. A number where text belongs becomes its decimal text, null the empty string.
type Event struct {
	Text             string          `json:"text"`
	MessageType      string          `json:"message_type"` // one of those that section 6 lists; text for any other
	MessageID        string          `json:"message_id"`
	ReplyToMessageID string          `json:"reply_to_message_id,omitempty"`
	ReplyTo          *ReplyTo        `json:"reply_to,omitempty"`
	MediaURLs        []string        `json:"media_urls,omitempty"` // unusable entries are empty, so that places stay
	Media            []Media         `json:"media,omitempty"`      // to be looked up by URL, not by place
	Context          []ContextEntry  `json:"context,omitempty"`    // oldest first; for reference only
	ContextError     bool            `json:"context_error,omitempty"`
	PromptResponse   *PromptResponse `json:"prompt_response,omitempty"`
	Metadata         *Modal          `json:"metadata,omitempty"` // of a submitted form
	Source           Source          `json:"source"`
}

// ReplyTo is the message that an event answers, as far as the connector quotes it.
type ReplyTo struct {
	Text   string `json:"text,omitempty"`
	Author string `json:"author,omitempty"`
	IsOwn  bool   `json:"is_own,omitempty"` // the bot's own
}

// Media is one attachment.
type Media struct {
	URL      string `json:"url"`
	Kind     string `json:"kind,omitempty"` // image, audio, document; opaque
	MIME     string `json:"mime,omitempty"`
	Size     int64  `json:"size,omitempty"` // bytes; 0 when unknown
	Filename string `json:"filename,omitempty"`
	Caption  string `json:"caption,omitempty"`
}

// ContextEntry is a recent message of the channel, not addressed to the bot.
type ContextEntry struct {
	Text   string        `json:"text"`
	Source ContextSource `json:"source"`
}

// ContextSource is who wrote a ContextEntry.
type ContextSource struct {
	UserID   string `json:"user_id,omitempty"`
	UserName string `json:"user_name,omitempty"`
}

// PromptResponse is the option that a user chose (section 11).
type PromptResponse struct {
	PromptID        string `json:"prompt_id"`
	OptionID        string `json:"option_id"`
	Label           string `json:"label,omitempty"`
	PromptMessageID string `json:"prompt_message_id,omitempty"`
}

// Modal is a form that a user has filled in, under the names that Discord gives its parts (section 9).
type Modal struct {
	CustomID string  `json:"custom_id"`
	Fields   []Field `json:"fields"` // in the form's order
}

// Field is one answer in a Modal.
type Field struct {
	CustomID string   `json:"custom_id"`
	Value    string   `json:"value"`            // several chosen values are joined by commas
	Values   []string `json:"values,omitempty"` // the chosen ones, of a field that is chosen from
}

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
}

var (
	errNotJSON         = errors.New("relay: not a JSON value")
	errEventNotObject  = errors.New("relay: event is not a JSON object; set it aside")
	errSourceNotObject = errors.New("relay: event's source is not a JSON object; set the event aside")
)

// DecodeEvent reads the event of an inbound frame (section 6). It fails only if raw is not a JSON object or its source
// is there and neither an object nor null; whatever else is odd takes its default. Slack's /hermes command is resolved.
func DecodeEvent(raw []byte) (*Event, error) {
	v, ok := parse(raw)
	if !ok {
		return nil, errEventNotObject
	}
	return decodeEvent(v)
}

// UnmarshalJSON is DecodeEvent into e.
func (e *Event) UnmarshalJSON(raw []byte) error {
	decoded, err := DecodeEvent(raw)
	if err != nil {
		return err
	}
	*e = *decoded
	return nil
}

// decodeEvent is DecodeEvent for a value that has been checked already.
func decodeEvent(v value) (*Event, error) {
	if !v.isObject() {
		return nil, errEventNotObject
	}
	e := &Event{MessageType: "text"}
	var source value
	for name, v := range v.members() {
		switch string(name) {
		case "text":
			e.Text = v.text()
		case "message_type":
			e.MessageType = messageType(v)
		case "message_id":
			e.MessageID = v.text()
		case "reply_to_message_id":
			e.ReplyToMessageID = v.text()
		case "reply_to":
			e.ReplyTo = decodeReplyTo(v)
		case "media_urls":
			e.MediaURLs = nil
			for v := range v.elements() {
				e.MediaURLs = append(e.MediaURLs, v.text())
			}
		case "media":
			e.Media = decodeMedia(v)
		case "context":
			e.Context = decodeContext(v)
		case "context_error":
			e.ContextError = v.isTrue() || v.isString() && v.text() != ""
		case "prompt_response":
			e.PromptResponse = decodePromptResponse(v)
		case "metadata":
			e.Metadata = decodeModal(v)
		case "source":
			source = v
		}
	}
	if len(source) > 0 && !source.isObject() && !source.isNull() {
		return nil, errSourceNotObject
	}
	e.Source = decodeSource(source)
	e.resolveSlackCommand()
	return e, nil
}

var defaultSource = Source{Platform: "relay", ChatType: "dm"}

// UnmarshalJSON is as lenient as DecodeEvent; null is a source with all defaults.
func (s *Source) UnmarshalJSON(raw []byte) error {
	v, ok := parse(raw)
	if !ok || !v.isObject() && !v.isNull() {
		return errSourceNotObject
	}
	*s = decodeSource(v)
	return nil
}

func decodeSource(v value) Source {
	s := defaultSource
	var displayName, handle string
	for name, v := range v.members() {
		switch string(name) {
		case "platform":
			s.Platform = platformName(v)
		case "chat_id":
			s.ChatID = v.text()
		case "chat_type":
			s.ChatType = chatType(v)
		case "chat_name":
			s.ChatName = v.text()
		case "user_id":
			s.UserID = v.text()
		case "user_name":
			s.UserName = v.text()
		case "user_display_name":
			displayName = v.text()
		case "user_handle":
			handle = v.text()
		case "thread_id":
			s.ThreadID = v.text()
		case "chat_topic":
			s.ChatTopic = v.text()
		case "user_id_alt":
			s.UserIDAlt = v.text()
		case "chat_id_alt":
			s.ChatIDAlt = v.text()
		case "scope_id": // its legacy mirror guild_id is not read
			s.ScopeID = v.text()
		case "parent_chat_id":
			s.ParentChatID = v.text()
		case "message_id":
			s.MessageID = v.text()
		case "profile":
			s.Profile = v.text()
		case "auto_thread_created":
			s.AutoThreadCreated = v.isTrue()
		case "auto_thread_initial_name":
			s.AutoThreadInitialName = v.text()
		case "prospective_thread_id":
			s.ProspectiveThreadID = v.text()
		}
	}
	s.UserName = cmp.Or(displayName, s.UserName, handle)
	return s
}

// messageTypes are the ones that count (section 6): an image, for one, arrives as text, and its MIME type tells.
var messageTypes = names("text", "location", "photo", "video", "audio", "voice", "document", "sticker", "command")

// platforms are those that the reference knows, with its known plugins. Any other name becomes relay, as it does there:
// keeping it would give its chats other session keys than every other gateway.
var platforms = names("local", "telegram", "discord", "whatsapp", "whatsapp_cloud", "slack", "signal", "mattermost",
	"matrix", "homeassistant", "email", "sms", "dingtalk", "api_server", "webhook", "msgraph_webhook", "feishu", "wecom",
	"wecom_callback", "weixin", "bluebubbles", "qqbot", "yuanbao", "relay",
	"irc", "line", "teams", "google_chat", "simplex", "ntfy", "photon", "raft")

// names maps each name to itself, so that looking one up by its bytes costs no copy.
func names(list ...string) map[string]string {
	m := make(map[string]string, len(list))
	for _, name := range list {
		m[name] = name
	}
	return m
}

// name is a string's text if it is among names and written without escapes, else empty.
func (v value) name(names map[string]string) string { return names[string(v[1:len(v)-1])] }

func messageType(v value) string {
	if !v.isString() {
		return "text"
	}
	if known := v.name(messageTypes); known != "" {
		return known
	}
	return cmp.Or(messageTypes[v.text()], "text")
}

func platformName(v value) string {
	if !v.isString() {
		return "relay"
	}
	if known := v.name(platforms); known != "" {
		return known
	}
	return cmp.Or(platforms[strings.ToLower(strings.TrimFunc(v.text(), isSpace))], "relay")
}

// chatTypes are common ones; any other is kept as well.
var chatTypes = names("dm", "group", "channel", "thread", "forum")

// chatType keeps an explicit null apart from dm: a group without its type must not share one session.
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

func decodeReplyTo(v value) *ReplyTo {
	if !v.isObject() {
		return nil
	}
	r := new(ReplyTo)
	for name, v := range v.members() {
		switch string(name) {
		case "text":
			r.Text = v.text()
		case "author":
			r.Author = v.text()
		case "is_own":
			r.IsOwn = v.isTrue()
		}
	}
	return r
}

func decodePromptResponse(v value) *PromptResponse {
	if !v.isObject() {
		return nil
	}
	r := new(PromptResponse)
	for name, v := range v.members() {
		switch string(name) {
		case "prompt_id":
			r.PromptID = v.text()
		case "option_id":
			r.OptionID = v.text()
		case "label":
			r.Label = v.text()
		case "prompt_message_id":
			r.PromptMessageID = v.text()
		}
	}
	return r
}

// decodeModal reads what a Modal marshals to: connectors send none, the journal keeps them.
func decodeModal(v value) *Modal {
	fields := v.member("fields")
	if !fields.isArray() {
		return nil
	}
	m := &Modal{CustomID: v.member("custom_id").text(), Fields: []Field{}}
	for v := range fields.elements() {
		f := Field{CustomID: v.member("custom_id").text(), Value: v.member("value").text()}
		for v := range v.member("values").elements() {
			f.Values = append(f.Values, v.text())
		}
		m.Fields = append(m.Fields, f)
	}
	return m
}

func decodeMedia(v value) []Media {
	var list []Media
	for v := range v.elements() {
		if !v.isObject() {
			continue
		}
		var m Media
		for name, v := range v.members() {
			switch string(name) {
			case "url":
				m.URL = v.text()
			case "kind":
				m.Kind = v.text()
			case "mime":
				m.MIME = v.text()
			case "size":
				size, _ := v.integer()
				m.Size = max(size, 0)
			case "filename":
				m.Filename = v.text()
			case "caption":
				m.Caption = v.text()
			}
		}
		list = append(list, m)
	}
	return list
}

func decodeContext(v value) []ContextEntry {
	var list []ContextEntry
	for v := range v.elements() {
		var c ContextEntry
		for name, v := range v.members() {
			switch string(name) {
			case "text":
				c.Text = v.text()
			case "source":
				c.Source = ContextSource{UserID: v.member("user_id").text(), UserName: v.member("user_name").text()}
			}
		}
		if c.Text != "" {
			list = append(list, c)
		}
	}
	return list
}

// MediaTypes is the MIME type of each of MediaURLs, "" where Media does not say (section 6).
func (e Event) MediaTypes() []string {
	byURL := make(map[string]string, len(e.Media))
	for _, m := range e.Media {
		byURL[m.URL] = m.MIME
	}
	types := make([]string, len(e.MediaURLs))
	for i, url := range e.MediaURLs {
		types[i] = byURL[url]
	}
	return types
}

// ContextText renders Context for an agent: a heading, then "name: text" for each entry, "" if there is none (section 6).
// Names and texts are flattened to one line each, lest a quoted message forge further entries or instructions.
func (e Event) ContextText() string {
	var b strings.Builder
	for _, c := range e.Context {
		text := oneLine(c.Text)
		if text == "" {
			continue
		}
		if name := cmp.Or(oneLine(c.Source.UserName), oneLine(c.Source.UserID)); name != "" {
			text = name + ": " + text
		}
		b.WriteString("\n" + text)
	}
	if b.Len() == 0 {
		return ""
	}
	return "[Recent channel messages]" + b.String()
}

func oneLine(s string) string { return strings.Join(strings.FieldsFunc(s, isSpace), " ") }

// Routing is what a reply to s needs to find its way (section 10): the platform that its frame is tagged with, "" for
// relay, and the metadata scope_id, user_id and profile, as far as known. Without a chat there is neither.
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

// slackCommands are the sub-commands that Slack's single /hermes command may name: those of section 4.
var slackCommands = names("new", "reset", "model", "reasoning", "personality", "retry", "undo", "status", "sethome",
	"stop", "steer", "compress", "title", "resume", "usage", "help", "insights", "reload-mcp", "reload-skills", "voice",
	"update", "restart", "approve", "deny", "thread", "queue", "background", "bg", "disk-cleanup", "clear")

// resolveSlackCommand turns "/hermes status now" into the command "/status now" and "/hermes what is up" into the text
// "what is up" (section 6), until another word comes first: what it leaves decodes as itself.
func (e *Event) resolveSlackCommand() {
	if e.Source.Platform != "slack" {
		return
	}
	for {
		word, rest := firstWord(e.Text)
		if word != "/hermes" {
			return
		}
		sub, args := firstWord(rest)
		if sub == "compact" {
			sub = "compress"
		}
		switch {
		case rest == "":
			e.Text = "/help"
		case slackCommands[sub] != "":
			e.Text = strings.TrimFunc("/"+sub+" "+args, isSpace)
		default:
			e.Text = rest
		}
		e.MessageType = "text"
		if strings.HasPrefix(e.Text, "/") {
			e.MessageType = "command"
		}
	}
}

// firstWord cuts s, trimmed, after its first word; rest is trimmed as well.
func firstWord(s string) (word, rest string) {
	s = strings.TrimFunc(s, isSpace)
	if i := strings.IndexFunc(s, isSpace); i >= 0 {
		return s[:i], strings.TrimLeftFunc(s[i:], isSpace)
	}
	return s, ""
}
