// Package say reads what somebody has this gateway say by itself, with no message that asked for it (design 4, Saying): a text
// or actions for a chat, a question to the agent whose answer goes to a chat, or a part of an answer that was announced as
// late. docs/agent/say.schema.json is the same as a schema.
//
// The command line checks with Parse what it sends, drain what it is invoked with, and package turn reads again what the ledger
// has kept. Everything here is pure, and may be called from any goroutine. An error names the member that is wrong, and quotes
// no text.
package say

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Reason is the reason of the invocation that carries a say.
const Reason = "say"

const (
	mostKey     = 256 // bytes of a key
	mostParts   = 999 // of a late answer
	mostActions = 100 // as of an answer: what is more is not sent
)

// Say is what is to be said. Either Actions or Ask says what, and either Chat or ReplyTo where.
type Say struct {
	Key     string // the same key is said once
	Chat    Chat
	Actions []relay.Action // at least one
	Ask     *Ask           // a turn of the agent in that chat, in place of actions
	ReplyTo string         // key of the delivery that this answers late; empty: it answers none
	N       int            // which part of that answer it is, from 1
	Last    bool           // no other part follows
}

// Chat is where to say it. What is left out besides the first two is as the chat's last message had it.
type Chat struct {
	Platform     string `json:"platform"`
	ChatID       string `json:"chat_id"`
	ChatType     string `json:"chat_type"`
	ThreadID     string `json:"thread_id"`
	ScopeID      string `json:"scope_id"`
	UserID       string `json:"user_id"`
	Profile      string `json:"profile"`
	ParentChatID string `json:"parent_chat_id"`
}

// HasRoute reports whether the say itself tells how the chat is reached: then it need not have written before.
func (c Chat) HasRoute() bool {
	return c.ChatType != "" || c.ScopeID != "" || c.UserID != "" || c.Profile != "" || c.ParentChatID != ""
}

// Ask is a question to the agent.
type Ask struct {
	Text   string `json:"text"`
	UserID string `json:"user_id"` // whose session it is; empty: one of its own
}

// payload is the JSON of a say. Other members are an error: their author means something by them.
type payload struct {
	Reason  string         `json:"reason"`
	Key     string         `json:"key"`
	Chat    *Chat          `json:"chat"`
	Actions []relay.Action `json:"actions"`
	Text    *string        `json:"text"`
	Ask     *Ask           `json:"ask"`
	ReplyTo string         `json:"reply_to_delivery"`
	N       *int           `json:"n"`
	Last    *bool          `json:"last"`
}

// reading is as lenient as with an agent's answer: an id may be a number, broken UTF-8 becomes U+FFFD.
var reading = jsonv2.JoinOptions(
	jsontext.AllowInvalidUTF8(true),
	jsontext.AllowDuplicateNames(true),
	jsonv2.RejectUnknownMembers(true),
	jsonv2.WithUnmarshalers(jsonv2.JoinUnmarshalers(
		jsonv2.UnmarshalFromFunc(func(d *jsontext.Decoder, v *string) error {
			if !isNumberedID(d) {
				return errors.ErrUnsupported
			}
			number, err := d.ReadValue()
			*v = string(number)
			return err
		}),
		jsonv2.UnmarshalFromFunc(func(d *jsontext.Decoder, v *any) error {
			if !isNumberedID(d) {
				return errors.ErrUnsupported
			}
			number, err := d.ReadValue()
			*v = string(number)
			return err
		}),
	)),
)

// isNumberedID reports whether what comes next is a number in the place of an id.
func isNumberedID(d *jsontext.Decoder) bool {
	name := d.StackPointer().LastToken()
	return d.PeekKind() == '0' && (name == "id" || name == "reply_to" || strings.HasSuffix(name, "_id"))
}

// Parse reads a say, and checks it.
func Parse(raw []byte) (Say, error) {
	var p payload
	if err := jsonv2.Unmarshal(raw, &p, reading); err != nil {
		return Say{}, fmt.Errorf("say: %w", fault(err))
	}
	s, err := p.say()
	if err != nil {
		return Say{}, fmt.Errorf("say: %w", err)
	}
	return s, nil
}

func (p payload) say() (Say, error) {
	s := Say{Key: p.Key, Ask: p.Ask, ReplyTo: p.ReplyTo}
	if p.Chat != nil {
		s.Chat = *p.Chat
		s.Chat.Platform = strings.ToLower(strings.TrimSpace(s.Chat.Platform))
	}
	err := errors.Join(p.where(&s), checkKey(&s), p.what(&s))
	if p.Reason != Reason {
		err = errors.Join(fmt.Errorf("reason: want %q, got %.40q", Reason, p.Reason), err)
	}
	return s, err
}

// where checks the chat, or the delivery that is answered.
func (p payload) where(s *Say) error {
	if s.ReplyTo != "" {
		return p.late(s)
	}
	if p.N != nil || p.Last != nil {
		return errors.New("n, last: are for reply_to_delivery, which is missing")
	}
	var err error
	if s.Chat.Platform == "" {
		err = errors.New("chat.platform: want a platform's name, such as discord")
	} else if !relay.KnownPlatform(s.Chat.Platform) {
		err = fmt.Errorf("chat.platform: %.40q is no platform that the contract knows", s.Chat.Platform)
	}
	if strings.TrimSpace(s.Chat.ChatID) == "" {
		err = errors.Join(err, errors.New("chat.chat_id: want the chat's id"))
	}
	return err
}

// late checks which part of which answer it is. Without both numbers it is the whole answer.
func (p payload) late(s *Say) error {
	s.N, s.Last = 1, p.N == nil
	if p.N != nil {
		s.N = *p.N
	}
	if p.Last != nil {
		s.Last = *p.Last
	}
	switch own := s.ReplyTo + "/" + strconv.Itoa(s.N); {
	case p.Chat != nil:
		return errors.New("chat: is where the message of reply_to_delivery came from; leave it out")
	case p.Ask != nil:
		return errors.New("ask: no question can answer reply_to_delivery; want actions or text")
	case s.N < 1 || s.N > mostParts:
		return fmt.Errorf("n: want a part's number from 1 to %d, got %d", mostParts, s.N)
	case s.Key != "" && s.Key != own:
		return errors.New("key: of a late answer it is reply_to_delivery/n; leave it out")
	default:
		s.Key = own
	}
	return checkText("reply_to_delivery", s.ReplyTo)
}

func checkKey(s *Say) error {
	if strings.TrimSpace(s.Key) == "" && s.ReplyTo == "" {
		return errors.New("key: want a text that is another one for each thing that is to be said: the same key is said once")
	}
	return checkText("key", s.Key)
}

func checkText(member, value string) error {
	switch {
	case len(value) > mostKey:
		return fmt.Errorf("%s: %d bytes are too many; want at most %d", member, len(value), mostKey)
	case strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("%s: want printable characters only", member)
	}
	return nil
}

// what checks what is to be said.
func (p payload) what(s *Say) error {
	said := 0
	for _, there := range []bool{p.Text != nil, p.Actions != nil, p.Ask != nil} {
		if there {
			said++
		}
	}
	switch {
	case said != 1:
		return errors.New("actions, text, ask: want one of them")
	case p.Ask != nil && strings.TrimSpace(p.Ask.Text) == "":
		return errors.New("ask.text: want the question to the agent")
	case p.Ask != nil:
		return nil
	case p.Text != nil && strings.TrimSpace(*p.Text) == "":
		return errors.New("text: is blank")
	case p.Text != nil:
		s.Actions = []relay.Action{{"op": "send", "content": *p.Text}}
		return nil
	case len(p.Actions) == 0:
		return errors.New("actions: want at least one")
	case len(p.Actions) > mostActions:
		return fmt.Errorf("actions: %d are too many; want at most %d", len(p.Actions), mostActions)
	}
	if i := slices.IndexFunc(p.Actions, func(a relay.Action) bool { return a.Op() == "" }); i >= 0 {
		return fmt.Errorf(`actions[%d].op: want what is to be done, such as "send"`, i)
	}
	s.Actions = p.Actions
	return nil
}

// fault says where JSON is not as it should be, without quoting it.
func fault(err error) error {
	if e, ok := errors.AsType[*jsonv2.SemanticError](err); ok {
		member := strings.ReplaceAll(strings.TrimPrefix(string(e.JSONPointer), "/"), "/", ".")
		if errors.Is(e.Err, jsonv2.ErrUnknownName) {
			return fmt.Errorf("%.80s: there is no such member", member)
		}
		if member == "" {
			return errors.New("want a JSON object")
		}
		return fmt.Errorf("%.80s: is of the wrong kind", member)
	}
	return errors.New("want a JSON object, got something that is no JSON")
}
