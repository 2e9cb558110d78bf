package action

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dormouse-relay/dormouse/internal/texts"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Shaper makes the actions of one turn ready for the wire (section 11). Each action is checked, gets what an agent may
// leave out, is addressed to the turn's chat unless it names another, gets the routing facts of its chat (section 10), and
// is split if its text is long. Errors name the field that is wrong.
type Shaper struct {
	Event      *relay.Event     // the message that the turn answers
	Session    string           // the turn's session key
	Marker     string           // what the ids of this instance's prompts begin with
	Source     relay.Source     // of the turn's chat, with all that is known of the chat
	Descriptor relay.Descriptor // of the platform of the turn's chat
	Texts      texts.Texts      // our own sentences

	// Find returns what is known of a chat, and Describe a platform's descriptor. They are asked for chats other than
	// the turn's.
	Find     func(chat string) (relay.Source, bool)
	Describe func(platform string) relay.Descriptor
}

// ops are the ops that an agent may use. Each has the function that checks what it needs besides a chat, and that fills
// in what it may leave out.
var ops = map[string]func(Shaper, *Outgoing) error{
	"send":          Shaper.send,
	"edit":          Shaper.edit,
	"typing":        Shaper.typing,
	"follow_up":     Shaper.followUp,
	"get_chat_info": Shaper.getChatInfo,
	"send_media":    Shaper.sendMedia,
	"prompt":        Shaper.prompt,
	"react":         Shaper.react,
	"thread_create": Shaper.threadCreate,
	"thread_rename": Shaper.threadRename,
	"delete":        Shaper.delete,
}

// ShapeAll shapes actions of which none may be wrong.
func (s Shaper) ShapeAll(answer []relay.Action) ([]Outgoing, error) {
	var out []Outgoing
	for i, a := range answer {
		parts, err := s.Shape(i, a)
		if err != nil {
			return nil, err
		}
		out = append(out, parts...)
	}
	return out, nil
}

// Shape shapes a, which is the answer's action number i. It returns more than one action if a's text is split, none if a
// says nothing, and leaves a as it is.
func (s Shaper) Shape(i int, a relay.Action) ([]Outgoing, error) {
	parts, err := s.Fit(i, a)
	if len(parts) > 0 && parts[0].Op() == "edit" {
		s = s.at(parts[0].Chat())
		if !CanEdit(s.Descriptor) {
			return nil, notOffered(i, "edit", s.Descriptor)
		}
		parts = s.splitEdit(parts[0])
	}
	for i := range parts {
		parts[i].goesOn, parts[i].cut = false, false
	}
	return parts, err
}

func notOffered(i int, op string, d relay.Descriptor) error {
	return fmt.Errorf("agent: actions[%d].op: the connector does not offer %.40q for %s", i, op, d.Platform)
}

// CanEdit reports whether a platform's messages can be edited.
func CanEdit(d relay.Descriptor) bool {
	return d.Supports("edit") && (len(d.SupportedOps) > 0 || d.SupportsEdit) // without a list, SupportsEdit decides
}

// Fit is Shape, but an edit is whole: a Board makes of it what changes its message. It may be one that the platform does not
// offer: the board's user knows what to send instead.
func (s Shaper) Fit(i int, a relay.Action) ([]Outgoing, error) {
	if saysNothing(a) {
		return nil, nil
	}
	op := a.Op()
	o, err := s.read(i, a)
	s = s.at(o.Chat())
	check, known := ops[op]
	switch d := s.Descriptor; {
	case op == "":
		return nil, fmt.Errorf("agent: actions[%d].op: want one of %s", i, strings.Join(slices.Sorted(maps.Keys(ops)), ", "))
	case op == "edit" && d.Supports("send"):
	case !d.Supports(op):
		return nil, notOffered(i, op, d)
	case !known:
		return nil, fmt.Errorf("agent: actions[%d].op: %.40q cannot be used by agents; want one of %s",
			i, op, strings.Join(slices.Sorted(maps.Keys(ops)), ", "))
	}
	if err == nil {
		err = s.address(&o)
	}
	if err == nil {
		err = check(s, &o)
	}
	if err == nil {
		err = takeResult(&o)
	}
	if err != nil {
		return nil, fmt.Errorf("agent: actions[%d].%w", i, err)
	}
	delete(o.Action, journalRef) // a prompt's is in Ref now; other ops have none
	switch op {
	case "send", "follow_up":
		return s.split(o), nil
	case "send_media":
		return s.splitCaption(o), nil
	case "prompt":
		return s.splitPrompt(o), nil
	}
	return []Outgoing{o}, nil
}

// read returns the answer's action number i as JSON has it, without a chat where it names none.
func (s Shaper) read(i int, a relay.Action) (Outgoing, error) {
	plain, err := generic(a)
	thread, wrong := inThread(plain)
	if none(plain, "chat_id") || thread != "" {
		delete(plain, "chat_id")
	}
	if a.Op() == "thread_create" {
		thread = strconv.Itoa(i)
	}
	return Outgoing{Action: plain, InThread: thread}, cmp.Or(err, wrong)
}

// saysNothing says whether an action has a text and the text is blank.
func saysNothing(a relay.Action) bool {
	content, has := a["content"]
	switch a.Op() {
	case "send", "edit", "follow_up":
		text, isText := content.(string)
		return has && (content == nil || isText && strings.TrimSpace(text) == "")
	}
	return false
}

// at returns the shaper for actions in a chat of that id. A chat that is not known is taken for one of the platform of the
// turn's chat.
func (s Shaper) at(chat string) Shaper {
	if chat == "" || s.inTurnsChat(chat) {
		return s
	}
	other, ok := s.Find(chat)
	if !ok {
		other = relay.Source{Platform: s.Source.Platform, ChatID: chat}
	}
	if other.Platform != s.Source.Platform {
		s.Descriptor = s.Describe(other.Platform)
	}
	s.Source = other
	return s
}

// inTurnsChat says whether chat is the turn's chat, the chat's parent or its thread: all three have the turn's routing
// facts.
func (s Shaper) inTurnsChat(chat string) bool {
	source := s.Event.Source
	return chat == source.ChatID || chat == source.ParentChatID || chat == source.ThreadID
}

// generic returns a as JSON has it, whatever Go types an agent made it of. The copy shares nothing with a. An id that is a
// number is read as its digits.
func generic(a relay.Action) (relay.Action, error) {
	if clone, ok := copied(map[string]any(a), 0); ok {
		return clone.(map[string]any), nil
	}
	raw, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("op: %.40q cannot be encoded", a.Op()) // the cause quotes values
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var clone relay.Action
	if err := decoder.Decode(&clone); err != nil {
		return nil, fmt.Errorf("op: %.40q cannot be encoded", a.Op())
	}
	numbers("", map[string]any(clone))
	return clone, nil
}

// mostCopied is how deep copied goes: JSON knows what is endless.
const mostCopied = 20

// copied copies what JSON would leave as it is: texts, truths and nulls, and objects and lists of them. Most actions are that.
func copied(v any, depth int) (clone any, ok bool) {
	if depth > mostCopied {
		return nil, false
	}
	switch v := v.(type) {
	case nil, bool:
		return v, true
	case string:
		return v, utf8.ValidString(v)
	case map[string]any:
		if v == nil {
			return nil, false
		}
		members := make(map[string]any, len(v))
		for name, member := range v {
			if members[name], ok = copied(member, depth+1); !ok || !utf8.ValidString(name) {
				return nil, false
			}
		}
		return members, true
	case []any:
		if v == nil {
			return nil, false
		}
		elements := make([]any, len(v))
		for i, element := range v {
			if elements[i], ok = copied(element, depth+1); !ok {
				return nil, false
			}
		}
		return elements, true
	}
	return nil, false
}

// numbers returns v, the member of that name, with its numbers as Go has them, and those of ids as text.
func numbers(name string, v any) any {
	switch v := v.(type) {
	case json.Number:
		isID := name == "id" || name == "reply_to" || strings.HasSuffix(name, "_id")
		if isID && !strings.ContainsAny(v.String(), "eE") { // whose digits are those that were written
			return v.String()
		}
		number, _ := v.Float64() // one that is too large is infinite, and no field takes that
		return number
	case map[string]any:
		for name, member := range v {
			v[name] = numbers(name, member)
		}
	case []any:
		for i, element := range v {
			v[i] = numbers(name, element)
		}
	}
	return v
}

// address fills in chat_id and the metadata that an action in that chat needs.
func (s Shaper) address(o *Outgoing) error {
	a, turns := o.Action, s.Event.Source
	metadata, err := publicMetadata(a)
	if err != nil {
		return err
	}
	a["metadata"] = metadata
	delete(a, journalPlatform) // an agent's members of these names are not ours
	delete(a, journalResult)
	delete(a, journalThread)
	if a.Op() == "follow_up" {
		return nil // is routed by its session key (section 10)
	}
	if none(a, "chat_id") {
		a["chat_id"] = turns.ChatID
		if a.Op() == "thread_rename" && turns.ParentChatID != "" {
			a["chat_id"] = turns.ParentChatID // the chat whose scope is known
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
	_, facts := s.Source.Routing()
	for name, value := range facts {
		put(name, value)
	}
	if s.Source.Platform != turns.Platform {
		o.Platform = s.Source.Platform
	}
	// A thread inside its parent's chat is reached by its own id. Where the thread is the chat, chat_id is enough.
	if chat == turns.ChatID && turns.ThreadID != turns.ChatID {
		put("thread_id", turns.ThreadID)
	}
	return nil
}

const resultLimit = 64 // bytes of the name of a result

// takeResult takes the name out of an action under which its result is to come back. What is asked of a chat always does.
func takeResult(o *Outgoing) error {
	name, ok := o.Action["result"].(string)
	if !none(o.Action, "result") && (!ok || len(name) > resultLimit) {
		return fmt.Errorf("result: want a name of 1 to %d bytes", resultLimit)
	}
	delete(o.Action, "result")
	if o.Result = strings.TrimSpace(name); o.Result == "" && o.Op() == "get_chat_info" {
		o.Result = o.Op()
	}
	return nil
}

// publicMetadata returns a's metadata without internal markers, which do not go on the wire (section 10).
func publicMetadata(a relay.Action) (map[string]any, error) {
	given, ok := a["metadata"].(map[string]any)
	list, isList := a["metadata"].([]any) // PHP's empty object
	if !none(a, "metadata") && !ok && (!isList || len(list) > 0) {
		return nil, errors.New("metadata: want an object")
	}
	metadata := map[string]any{}
	for name, value := range given {
		if !strings.HasPrefix(name, "_") {
			metadata[name] = value
		}
	}
	return metadata, nil
}
