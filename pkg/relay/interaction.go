package relay

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// Types of a Discord interaction.
const (
	interactionPing         = "1"
	interactionCommand      = "2"
	interactionComponent    = "3"
	interactionAutocomplete = "4"
	interactionModal        = "5"
)

// ErrNoMessage means that a Discord interaction is a ping, or asks at a keystroke what to suggest. Nobody has said
// anything: ack it, and show it to nobody.
var ErrNoMessage = errors.New("relay: the interaction is no message; ack it")

// Interaction is the event that a forwarded Discord interaction stands for (section 9). What was chosen, filled in or aimed
// at is in its Metadata, and files are in its Media. It has no message id, only its source has one: interactions are not
// deduplicated by it. A ping and an autocomplete are ErrNoMessage. A forward of another platform, and a body that is not a
// JSON object, is another error: ack it if it was buffered, and set it aside.
func (f Forward) Interaction() (*Event, error) {
	if !strings.EqualFold(strings.TrimFunc(f.Platform, isSpace), "discord") {
		return nil, fmt.Errorf("relay: no handler for a forward from %.40q; ack it and set it aside", f.Platform)
	}
	v, ok := parse(unmarked(f.Body))
	if !ok || !v.isObject() {
		return nil, fmt.Errorf("relay: interaction of %d bytes is not a JSON object; ack it and set it aside", len(f.Body))
	}
	i := interaction{event: &Event{MessageType: "text", Source: interactionSource(v)}}
	i.event.Source.Profile = f.Profile
	data := v.member("data")
	i.resolved = data.member("resolved")
	switch v.member("type").text() {
	case interactionPing, interactionAutocomplete:
		return nil, ErrNoMessage
	case interactionCommand:
		i.command(data)
	case interactionComponent:
		i.component(data, v.member("message").member("id").text())
	case interactionModal:
		i.form(data)
	}
	return i.event, nil
}

// interactionSource is where an interaction comes from.
func interactionSource(v value) Source {
	user := v.member("member").member("user")
	if !user.isObject() {
		user = v.member("user")
	}
	s := Source{
		Platform:  "discord",
		ChatID:    cmp.Or(v.member("channel_id").text(), v.member("channel").member("id").text()),
		ChatType:  "dm",
		UserID:    user.member("id").text(),
		UserName:  cmp.Or(v.member("member").member("nick").text(), shownName(user)),
		ScopeID:   cmp.Or(v.member("guild_id").text(), v.member("guild").member("id").text()),
		MessageID: v.member("id").text(),
	}
	channel := v.member("channel")
	kind := channel.member("type").text()
	switch {
	case s.ScopeID == "" && (kind == "3" || kind == "" && v.member("context").text() == "2"):
		s.ChatType = "group" // a group DM; context 2 is one, or a DM of two users
	case s.ScopeID == "":
	case kind == "10", kind == "11", kind == "12": // threads have the session key of the messages in them
		s.ChatType = "thread"
		s.ThreadID = s.ChatID
		s.ParentChatID = channel.member("parent_id").text()
	default:
		s.ChatType = "group"
	}
	return s
}

// shownName is the name that Discord shows for a user, outside of guilds where he has another.
func shownName(user value) string {
	return cmp.Or(user.member("global_name").text(), user.member("username").text())
}

// These bound the work for a hostile body. Both are more than Discord allows.
const (
	maxNesting = 8   // of options or components
	maxLookUps = 200 // of ids
)

// interaction makes the event of a Discord interaction.
type interaction struct {
	event    *Event
	resolved value // what the ids in it stand for: users, members, roles, channels, messages, attachments
	lookUps  int
	values   int // of all fields
}

// command is a slash command, or an entry of a user's or a message's menu.
func (i *interaction) command(data value) {
	name := strings.TrimRight(data.member("name").text(), "/")
	if name == "" {
		return
	}
	words := i.options([]string{"/" + name}, data.member("options"), 0)
	i.event.Text, i.event.MessageType = strings.Join(words, " "), "command"
	id := data.member("target_id").text()
	switch {
	case id == "":
	case data.member("type").text() == "2":
		target, _ := i.find(id)
		i.metadata().Target = &Entity{Kind: "user", ID: id, Text: target.Text}
	case data.member("type").text() == "3":
		i.metadata().Target = &Entity{Kind: "message", ID: id, Text: i.messageText(i.lookUp("messages", id))}
	}
}

// options appends to words the values of options, and the names of sub-commands and their groups before their own options.
func (i *interaction) options(words []string, options value, depth int) []string {
	for option := range options.elements() {
		name, v := option.member("name").text(), option.member("value")
		switch option.member("type").text() {
		case "1", "2": // a sub-command, or a group of them
			if name != "" {
				words = append(words, name)
			}
			if depth < maxNesting {
				words = i.options(words, option.member("options"), depth+1)
			}
			continue
		case "6", "7", "8", "9": // a user, a channel, a role, or one of those
			if entity, ok := i.find(v.text()); ok {
				m := i.metadata()
				m.Fields = append(m.Fields, Field{CustomID: name, Value: v.text(), Resolved: []Entity{entity}})
			}
		case "11":
			i.attach(i.lookUp("attachments", v.text()))
		}
		if word := strings.TrimFunc(v.printed(), isSpace); word != "" && !v.isNull() {
			words = append(words, word)
		}
	}
	return words
}

// component is a button that was pressed, or a menu that was chosen from. A choice is told as a form of one field.
func (i *interaction) component(data value, messageID string) {
	e := i.event
	e.Text = data.member("custom_id").text()
	if values := data.member("values"); values.isArray() {
		m := i.metadata()
		m.CustomID = e.Text
		m.Fields = append(m.Fields, i.chosen(e.Text, values))
	}
	if token, ok := ParsePromptToken(e.Text); ok {
		e.Text, e.MessageType = "/"+token.OptionID, "command"
		e.PromptResponse = &PromptResponse{PromptID: token.PromptID, OptionID: token.OptionID, PromptMessageID: messageID}
	}
}

// form is a modal that was filled in. Its text has a line for each field.
func (i *interaction) form(data value) {
	m := i.metadata()
	m.CustomID = data.member("custom_id").text()
	m.Fields = i.fields([]Field{}, data, 0)
	var lines []string
	for _, f := range m.Fields {
		lines = append(lines, f.CustomID+"="+f.Value)
	}
	i.event.Text = strings.Join(lines, "\n")
}

// fields appends each field within v, which is a form or a part of one.
func (i *interaction) fields(fields []Field, v value, depth int) []Field {
	if len(fields) == mostFields {
		return fields
	}
	id := v.member("custom_id").text()
	switch given, values := v.member("value"), v.member("values"); {
	case given.isNull():
		fields = append(fields, Field{CustomID: id})
	case len(given) > 0:
		fields = append(fields, Field{CustomID: id, Value: given.printed()}) // a checkbox is True or False
	case len(values) > 0:
		fields = append(fields, i.chosen(id, values))
	}
	if depth == maxNesting {
		return fields
	}
	for v := range v.member("components").elements() {
		fields = i.fields(fields, v, depth+1)
	}
	if v := v.member("component"); v.isObject() {
		fields = i.fields(fields, v, depth+1)
	}
	return fields
}

// chosen is the field of what was chosen from a menu, or uploaded.
func (i *interaction) chosen(customID string, values value) Field {
	f := Field{CustomID: customID}
	for v := range values.elements() {
		if i.values++; i.values > mostFields {
			continue
		}
		id := v.text()
		f.Values = append(f.Values, id)
		if entity, ok := i.find(id); ok {
			f.Resolved = append(f.Resolved, entity)
		}
		i.attach(i.lookUp("attachments", id))
	}
	f.Value = strings.Join(f.Values, ",")
	return f
}

// find looks up which user, role or channel an id stands for.
func (i *interaction) find(id string) (Entity, bool) {
	if user := i.lookUp("users", id); user.isObject() {
		nick := i.lookUp("members", id).member("nick").text()
		return Entity{Kind: "user", ID: id, Text: cmp.Or(nick, shownName(user))}, true
	}
	for _, place := range []struct{ list, kind string }{{"roles", "role"}, {"channels", "channel"}} {
		if v := i.lookUp(place.list, id); v.isObject() {
			return Entity{Kind: place.kind, ID: id, Text: v.member("name").text()}, true
		}
	}
	return Entity{}, false
}

// lookUp finds what an id stands for in one of the lists of resolved.
func (i *interaction) lookUp(list, id string) value {
	if i.lookUps++; i.lookUps > maxLookUps {
		return nil
	}
	return i.resolved.member(list).member(id)
}

// attach adds a file to the event's media, if there is one to fetch.
func (i *interaction) attach(attachment value) {
	url := attachment.member("url").text()
	if url == "" || len(i.event.MediaURLs) == MostMedia {
		return
	}
	m := Media{URL: url, Kind: "document", MIME: attachment.member("content_type").text(), Filename: attachment.member("filename").text()}
	size, _ := attachment.member("size").integer()
	m.Size = max(0, size)
	switch kind, _, _ := strings.Cut(strings.ToLower(m.MIME), "/"); kind {
	case "image", "audio", "video":
		m.Kind = kind
	}
	i.event.MediaURLs = append(i.event.MediaURLs, url)
	i.event.Media = append(i.event.Media, m)
}

// metadata is the event's, which it makes if there is none.
func (i *interaction) metadata() *Metadata {
	if i.event.Metadata == nil {
		i.event.Metadata = new(Metadata)
	}
	return i.event.Metadata
}
