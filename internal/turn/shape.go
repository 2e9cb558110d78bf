package turn

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/url"
	"slices"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	nameLimit    = 100 // characters of a thread's name (section 11)
	tokenLimit   = 64  // bytes of a prompt's button (section 11)
	optionsLimit = 25  // of one prompt; no platform has more buttons
)

// shaper makes an agent's actions ready for the wire (section 11): each is checked, gets what it may leave out, is
// addressed to the turn's chat unless it names another, gets back the routing facts of its chat (section 10), and is
// split if it is long. Errors name the field.
type shaper struct {
	event      *relay.Event
	session    string
	marker     string           // of this instance's prompts
	source     relay.Source     // of the turn's chat, with what is known of it from elsewhere
	descriptor relay.Descriptor // of the chat's platform

	find     func(chat string) (relay.Source, bool)
	describe func(platform string) relay.Descriptor
}

// platformKey is where a shaped action has its chat's platform, if that is not the turn's, until it leaves: a successor
// that sends it would not know it.
const platformKey = "_platform"

// checks has the ops that an agent may use and what each needs besides its chat.
var checks = map[string]func(shaper, relay.Action) error{
	"send":          shaper.send,
	"edit":          shaper.edit,
	"typing":        shaper.typing,
	"follow_up":     shaper.followUp,
	"get_chat_info": func(shaper, relay.Action) error { return nil },
	"send_media":    shaper.sendMedia,
	"prompt":        shaper.prompt,
	"react":         shaper.react,
	"thread_create": shaper.threadCreate,
	"thread_rename": shaper.threadRename,
	"delete":        shaper.delete,
}

// whole shapes an answer.
func (s shaper) whole(answer []relay.Action) ([]relay.Action, error) {
	var out []relay.Action
	for i, a := range answer {
		parts, err := s.one(i, a)
		if err != nil {
			return nil, err
		}
		out = append(out, parts...)
	}
	return out, nil
}

// encode makes shaped actions what the journal keeps.
func encode(actions []relay.Action) ([]json.RawMessage, error) {
	var out []json.RawMessage
	for _, a := range actions {
		raw, err := json.Marshal(a)
		if err != nil {
			return nil, fmt.Errorf("agent: an action cannot be encoded: %w", err)
		}
		out = append(out, raw)
	}
	return out, nil
}

// one shapes the answer's action number i.
func (s shaper) one(i int, a relay.Action) ([]relay.Action, error) {
	op := a.Op()
	chat, _ := a["chat_id"].(string)
	s = s.at(chat)
	check, known := checks[op]
	switch d := s.descriptor; {
	case !d.Supports(op), op == "edit" && len(d.SupportedOps) == 0 && !d.SupportsEdit: // no list says otherwise
		return nil, fmt.Errorf("agent: actions[%d].op: the connector does not offer %q for %s", i, op, s.descriptor.Platform)
	case !known:
		return nil, fmt.Errorf("agent: actions[%d].op: %.40q cannot be used by agents; want one of %s",
			i, op, strings.Join(slices.Sorted(maps.Keys(checks)), ", "))
	}
	a, err := generic(a)
	if err == nil {
		err = s.address(a)
	}
	if err == nil {
		err = check(s, a)
	}
	if err != nil {
		return nil, fmt.Errorf("agent: actions[%d].%w", i, err)
	}
	switch op {
	case "get_chat_info":
		delete(a, "metadata")
	case "send", "follow_up":
		return s.split(a), nil
	case "edit":
		return s.splitEdit(a), nil
	}
	return []relay.Action{a}, nil
}

// at is the shaper for actions in a chat of that id. A chat that is not known is taken for one of the turn's platform.
func (s shaper) at(chat string) shaper {
	if chat == "" || s.own(chat) {
		return s
	}
	other, ok := s.find(chat)
	if !ok {
		other = relay.Source{Platform: s.source.Platform, ChatID: chat}
	}
	if other.Platform != s.source.Platform {
		s.descriptor = s.describe(other.Platform)
	}
	s.source = other
	return s
}

// own says whether it is the turn's chat, the chat's parent or its thread: all have the turn's routing facts.
func (s shaper) own(chat string) bool {
	e := s.event.Source
	return chat == e.ChatID || chat == e.ParentChatID || chat == e.ThreadID
}

// generic is a as JSON has it, whatever Go types an agent made it of, and shares nothing with it.
func generic(a relay.Action) (relay.Action, error) {
	raw, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("op: %q cannot be encoded", a.Op()) // the cause quotes values
	}
	var clone relay.Action
	err = json.Unmarshal(raw, &clone)
	return clone, err
}

// address fills in chat_id and the metadata that an action there needs.
func (s shaper) address(a relay.Action) error {
	own := s.event.Source
	given, ok := a["metadata"].(map[string]any)
	if a["metadata"] != nil && !ok {
		return errors.New("metadata: want an object")
	}
	metadata := map[string]any{}
	for name, value := range given {
		if !strings.HasPrefix(name, "_") { // internal markers stay here (section 10)
			metadata[name] = value
		}
	}
	a["metadata"] = metadata
	delete(a, platformKey)
	if a.Op() == "follow_up" {
		return nil // goes by its session (section 10)
	}
	if a["chat_id"] == nil {
		a["chat_id"] = own.ChatID
		if a.Op() == "thread_rename" && own.ParentChatID != "" {
			a["chat_id"] = own.ParentChatID // whose scope is known
		}
	}
	chat, ok := a["chat_id"].(string)
	if !ok || chat == "" {
		return errors.New("chat_id: want a string that is not empty")
	}
	put := func(name, value string) {
		if _, ok := metadata[name]; !ok && value != "" {
			metadata[name] = value
		}
	}
	_, facts := s.source.Routing()
	for name, value := range facts {
		put(name, value)
	}
	if s.source.Platform != own.Platform {
		a[platformKey] = s.source.Platform
	}
	// A thread inside its parent's chat is reached by its own id; where the thread is the chat, chat_id says it all.
	if chat == own.ChatID && own.ThreadID != own.ChatID {
		put("thread_id", own.ThreadID)
	}
	return nil
}

func (shaper) send(a relay.Action) error {
	return cmp.Or(needed(a, "content"), nullable(a, "reply_to"))
}

// edit may leave out message_id: then it is the newest message that this turn has put into the chat.
func (shaper) edit(a relay.Action) error {
	return cmp.Or(needed(a, "content"), optional(a, "message_id"))
}

// delete may leave out message_id as edit may.
func (shaper) delete(a relay.Action) error { return optional(a, "message_id") }

func (shaper) typing(a relay.Action) error {
	if _, ok := a["content"].(string); a["content"] != nil && !ok {
		return errors.New("content: want a string, or nothing")
	}
	return nil
}

// followUp goes to the session's interaction, whose token the connector has.
func (s shaper) followUp(a relay.Action) error {
	delete(a, "chat_id")
	if a["session_key"] == nil {
		a["session_key"] = s.session
	}
	if a["kind"] == nil && s.event.Source.Platform == "discord" {
		a["kind"] = "discord.interaction_token"
	}
	key, _ := a["session_key"].(string)
	metadata := a["metadata"].(map[string]any)
	if profile := relay.KeyProfile(key); profile != "" && metadata["profile"] == nil {
		metadata["profile"] = profile // the one fact that a follow_up goes by (section 10)
	}
	return cmp.Or(needed(a, "content"), needed(a, "session_key"), needed(a, "kind"))
}

func (s shaper) sendMedia(a relay.Action) error {
	kinds := []string{"image", "voice", "audio", "video", "document"}
	if a["content"] == nil {
		a["content"] = ""
	}
	caption, ok := a["content"].(string)
	if !ok || s.descriptor.Len(caption) > s.descriptor.MaxMessageLength {
		return fmt.Errorf("content: want a string of at most %d characters", s.descriptor.MaxMessageLength)
	}
	var err error
	if a["data"] != nil {
		err = inline(a)
	} else {
		delete(a, "data")
		link, _ := a["source_url"].(string)
		if u, e := url.Parse(link); e != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			err = errors.New("source_url: want an http or https URL, or the file itself as data")
		}
	}
	return cmp.Or(err, oneOf(a, "media_kind", kinds...), optional(a, "filename"), nullable(a, "reply_to"))
}

// inline makes bytes of a file that an action brings along.
func inline(a relay.Action) error {
	if a["source_url"] != nil {
		return errors.New("source_url: want either that or data")
	}
	delete(a, "source_url")
	text, _ := a["data"].(string)
	data, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil || len(data) == 0:
		return errors.New("data: want base64 of a file that is not empty")
	case len(data) > uploadLimit:
		return fmt.Errorf("data: has %d bytes, a file may have %d", len(data), uploadLimit)
	}
	given, _ := a["mime"].(string)
	kind, params, err := mime.ParseMediaType(given)
	clean := mime.FormatMediaType(kind, params)
	if err != nil || clean == "" || !strings.Contains(kind, "/") {
		return errors.New("mime: want a media type, such as image/png")
	}
	a["data"], a["mime"] = data, clean
	return nil
}

// prompt gets its id here; ref stays with it until it leaves.
func (s shaper) prompt(a relay.Action) error {
	if a["prompt_id"] != nil {
		return errors.New("prompt_id: is made by the gateway; want ref to know the answer by")
	}
	id := s.marker + "." + hex.EncodeToString(random(4))
	a["prompt_id"] = id
	if content, _ := a["content"].(string); s.descriptor.Len(content) > s.descriptor.MaxMessageLength {
		return fmt.Errorf("content: is longer than the %d characters that the platform takes", s.descriptor.MaxMessageLength)
	}
	if seconds, ok := a["timeout_s"].(float64); a["timeout_s"] != nil && (!ok || seconds < 1 || seconds > 90*24*3600) {
		return errors.New("timeout_s: want seconds, from 1 to 7776000")
	}
	if ref, ok := a["ref"].(string); a["ref"] != nil && (!ok || len(ref) > 1024) {
		return errors.New("ref: want a string of at most 1024 bytes")
	}
	options, ok := a["options"].([]any)
	if !ok || len(options) == 0 || len(options) > optionsLimit {
		return fmt.Errorf("options: want a list of 1 to %d", optionsLimit)
	}
	seen := map[string]bool{}
	for i, o := range options {
		option, _ := o.(map[string]any)
		optionID, _ := option["id"].(string)
		label, _ := option["label"].(string)
		token := relay.PromptToken{PromptID: id, OptionID: optionID}.String()
		switch _, ok := relay.ParsePromptToken(token); {
		case !ok:
			return fmt.Errorf("options[%d].id: want 1 to 32 of A-Z a-z 0-9 _ . -", i)
		case len(token) > tokenLimit:
			return fmt.Errorf("options[%d].id: makes a token of %d bytes, the platform takes %d", i, len(token), tokenLimit)
		case seen[optionID]:
			return fmt.Errorf("options[%d].id: is there twice", i)
		case label == "":
			return fmt.Errorf("options[%d].label: want a string that is not empty", i)
		}
		if _, ok := option["style"].(string); option["style"] != nil && !ok {
			return fmt.Errorf("options[%d].style: want a string", i)
		}
		seen[optionID] = true
	}
	return cmp.Or(needed(a, "content"), oneOf(a, "prompt_kind", "approval", "clarify", "choice"), nullable(a, "reply_to"))
}

// react may leave out message_id in the turn's chat: then it is the message that the turn is about.
func (s shaper) react(a relay.Action) error {
	if a["message_id"] == nil && a["chat_id"] == s.event.Source.ChatID {
		a["message_id"] = s.event.MessageID
	}
	return cmp.Or(needed(a, "message_id"), needed(a, "emoji"), boolean(a, "remove"))
}

func (shaper) threadCreate(a relay.Action) error {
	name, ok := a["thread_name"].(string)
	if a["thread_name"] != nil && !ok {
		return errors.New("thread_name: want a string")
	}
	a["thread_name"] = cmp.Or(cut(strings.TrimSpace(name), nameLimit), "handoff")
	return nil
}

// threadRename may leave out message_id, which is the thread, inside that thread.
func (s shaper) threadRename(a relay.Action) error {
	if a["message_id"] == nil {
		a["message_id"] = s.event.Source.ThreadID
	}
	if name, ok := a["thread_name"].(string); ok {
		a["thread_name"] = cut(strings.Join(strings.Fields(name), " "), nameLimit)
	}
	return cmp.Or(needed(a, "message_id"), needed(a, "thread_name"), optional(a, "only_if_current_name"))
}

func needed(a relay.Action, name string) error {
	if text, ok := a[name].(string); !ok || text == "" {
		return fmt.Errorf("%s: want a string that is not empty", name)
	}
	return nil
}

func optional(a relay.Action, name string) error {
	if a[name] == nil {
		delete(a, name)
		return nil
	}
	return needed(a, name)
}

// nullable is for what the wire has as null when there is none.
func nullable(a relay.Action, name string) error {
	if a[name] == nil {
		a[name] = nil
		return nil
	}
	return needed(a, name)
}

func boolean(a relay.Action, name string) error {
	if a[name] == nil {
		a[name] = false
	}
	if _, ok := a[name].(bool); !ok {
		return fmt.Errorf("%s: want true or false", name)
	}
	return nil
}

func oneOf(a relay.Action, name string, words ...string) error {
	if text, ok := a[name].(string); !ok || !slices.Contains(words, text) {
		return fmt.Errorf("%s: want one of %s", name, strings.Join(words, ", "))
	}
	return nil
}

// cut shortens text to so many characters.
func cut(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return strings.TrimSpace(string(runes[:most]))
	}
	return text
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// split repeats a send for each part of its text; only the first is a reply.
func (s shaper) split(a relay.Action) []relay.Action {
	texts := s.descriptor.Split(a["content"].(string))
	parts := make([]relay.Action, len(texts))
	for i, text := range texts {
		part := maps.Clone(a)
		part["content"] = text
		if i > 0 && a.Op() == "send" {
			part["reply_to"] = nil
		}
		parts[i] = part
	}
	return parts
}

// splitEdit edits the first part in and sends the others behind it.
func (s shaper) splitEdit(a relay.Action) []relay.Action {
	parts := s.split(a)
	for _, p := range parts[1:] {
		p["op"], p["reply_to"] = "send", nil
		delete(p, "message_id")
	}
	return parts
}

// marker is what the ids of an instance's prompts begin with, from process to process: 6 hex digits (section 11).
func marker(instance string) string { return hash("prompts", instance)[:6] }
