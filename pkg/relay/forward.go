package relay

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Forward is a raw request of a platform (section 9). It marshals to the wire form. Nothing in it has been verified.
type Forward struct {
	Platform string      `json:"platform"`
	BotID    string      `json:"botId"`
	Method   string      `json:"method"`
	Path     string      `json:"path"`
	Headers  [][2]string `json:"headers,omitempty"`
	Body     []byte      `json:"bodyB64,omitempty"` // decoded
	Profile  string      `json:"profile,omitempty"`
}

// UnmarshalJSON fails only if raw is not a JSON object. Values of other types become strings where they can. Header
// entries that are no pairs are dropped. In the body, characters outside the base64 alphabet are skipped; a body that
// still does not decode is empty.
func (f *Forward) UnmarshalJSON(raw []byte) error {
	v, ok := parse(raw)
	if !ok || !v.isObject() {
		return errForwardNotObject
	}
	*f = decodeForward(v)
	return nil
}

var errForwardNotObject = errors.New("relay: forward is not a JSON object; set it aside")

func decodeForward(v value) Forward {
	var f Forward
	for name, v := range v.members() {
		switch string(name) {
		case "platform":
			f.Platform = v.text()
		case "botId":
			f.BotID = v.text()
		case "method":
			f.Method = v.text()
		case "path":
			f.Path = v.text()
		case "headers":
			f.Headers = decodeHeaders(v)
		case "bodyB64":
			f.Body = decodeBase64(v.text())
		case "profile":
			f.Profile = v.text()
		}
	}
	return f
}

func decodeHeaders(v value) [][2]string {
	var list [][2]string
	for v := range v.elements() {
		var pair []string
		for v := range v.elements() {
			pair = append(pair, v.printed())
		}
		if len(pair) == 2 {
			list = append(list, [2]string(pair))
		}
	}
	return list
}

// decodeBase64 is as lenient as the reference: it skips foreign characters, and stops at the padding, which must be there.
func decodeBase64(s string) []byte {
	var kept []byte
	padded := false
	for i := 0; i < len(s) && !padded; i++ {
		switch c := s[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '+', c == '/':
			kept = append(kept, c)
		case c == '=':
			padded = len(kept)%4 >= 2
		}
	}
	body, err := base64.RawStdEncoding.AppendDecode(nil, kept)
	if err != nil || len(body) == 0 {
		return nil
	}
	return body
}

// printed is text for any scalar, null, true and false in the words that agents of the reference are used to.
func (v value) printed() string {
	switch {
	case v.isNull():
		return "None"
	case string(v) == "true":
		return "True"
	case string(v) == "false":
		return "False"
	}
	return v.text()
}

// Types of a Discord interaction.
const (
	interactionCommand   = "2"
	interactionComponent = "3"
	interactionModal     = "5"
)

// Interaction is the event that a forwarded Discord interaction amounts to (section 9). The event has no message id,
// only its source has: interactions are not deduplicated by it. Any other platform, and a body that is not a JSON
// object, is an error: acked if buffered, and set aside.
func (f Forward) Interaction() (*Event, error) {
	if !strings.EqualFold(strings.TrimFunc(f.Platform, isSpace), "discord") {
		return nil, fmt.Errorf("relay: no handler for a forward from %.40q; ack it and set it aside", f.Platform)
	}
	v, ok := parse(f.Body)
	if !ok || !v.isObject() {
		return nil, fmt.Errorf("relay: interaction of %d bytes is not a JSON object; ack it and set it aside", len(f.Body))
	}

	user := v.member("member").member("user")
	if !user.isObject() {
		user = v.member("user")
	}
	nick := v.member("member").member("nick").text()
	e := &Event{MessageType: "text", Source: Source{
		Platform:  "discord",
		ChatID:    v.member("channel_id").text(),
		ChatType:  "dm",
		UserID:    user.member("id").text(),
		UserName:  cmp.Or(nick, user.member("global_name").text(), user.member("username").text()),
		ScopeID:   v.member("guild_id").text(),
		MessageID: v.member("id").text(),
		Profile:   f.Profile,
	}}
	if e.Source.ScopeID != "" {
		e.Source.ChatType = "group"
		switch channel := v.member("channel"); channel.member("type").text() {
		case "10", "11", "12": // threads: keyed as the messages in them are
			e.Source.ChatType = "thread"
			e.Source.ThreadID = e.Source.ChatID
			e.Source.ParentChatID = channel.member("parent_id").text()
		}
	}

	data := v.member("data")
	switch v.member("type").text() {
	case interactionCommand:
		if name := strings.TrimRight(data.member("name").text(), "/"); name != "" {
			words := commandWords([]string{"/" + name}, data.member("options"), 0)
			e.Text, e.MessageType = strings.Join(words, " "), "command"
		}
	case interactionComponent:
		e.Text = data.member("custom_id").text()
		if token, ok := ParsePromptToken(e.Text); ok {
			e.Text, e.MessageType = "/"+token.OptionID, "command"
			e.PromptResponse = &PromptResponse{
				PromptID:        token.PromptID,
				OptionID:        token.OptionID,
				PromptMessageID: v.member("message").member("id").text(),
			}
		}
	case interactionModal:
		e.Metadata = &Modal{CustomID: data.member("custom_id").text(), Fields: modalFields([]Field{}, data, 0)}
		var lines []string
		for _, f := range e.Metadata.Fields {
			lines = append(lines, f.CustomID+"="+f.Value)
		}
		e.Text = strings.Join(lines, "\n")
	}
	return e, nil
}

// maxNesting is deeper than Discord nests options or components; it bounds the work for a hostile body.
const maxNesting = 8

// commandWords appends the values of options, and the names of sub-commands and their groups before their own options.
func commandWords(words []string, options value, depth int) []string {
	for option := range options.elements() {
		switch option.member("type").text() {
		case "1", "2":
			if name := option.member("name").text(); name != "" {
				words = append(words, name)
			}
			if depth < maxNesting {
				words = commandWords(words, option.member("options"), depth+1)
			}
		default:
			v := option.member("value")
			if word := strings.TrimFunc(v.printed(), isSpace); word != "" && !v.isNull() {
				words = append(words, word)
			}
		}
	}
	return words
}

// modalFields appends each field within v.
func modalFields(fields []Field, v value, depth int) []Field {
	f := Field{CustomID: v.member("custom_id").text()}
	switch given, chosen := v.member("value"), v.member("values"); {
	case len(given) > 0:
		f.Value = given.text()
		fields = append(fields, f)
	case len(chosen) > 0:
		for v := range chosen.elements() {
			f.Values = append(f.Values, v.text())
		}
		f.Value = strings.Join(f.Values, ",")
		fields = append(fields, f)
	}
	if depth == maxNesting {
		return fields
	}
	for v := range v.member("components").elements() {
		fields = modalFields(fields, v, depth+1)
	}
	if v := v.member("component"); v.isObject() {
		fields = modalFields(fields, v, depth+1)
	}
	return fields
}
