package page

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Cast are the chats that a page begins with: several people on each platform.
func Cast() []Chat {
	guild, team := "1101100110011001100", "T06DORMOUSE"
	ann, ben := User{"175928847299117063", "Ann"}, User{"80351110224678912", "Ben"}
	ada, edsger, barbara := User{"551823190", "Ada"}, User{"660011223", "Edsger"}, User{"660044556", "Barbara"}
	margaret, ken := User{"U06MARGARET", "Margaret"}, User{"U06KEN", "Ken"}
	joan, grace := User{"491511111111@s.whatsapp.net", "Joan"}, User{"491522222222@s.whatsapp.net", "Grace"}
	return []Chat{
		{Platform: "discord", Chat: "1180023456789012345", Type: "group", Name: "#agents", Topic: "where the bot lives", Scope: guild, Users: []User{ann, ben}},
		{Platform: "discord", Chat: "1180099999999999999", Type: "dm", Name: "Ann", Users: []User{ann}},
		{Platform: "telegram", Chat: "551823190", Type: "dm", Name: "Ada", Users: []User{ada}},
		{Platform: "telegram", Chat: "-1001700100200", Type: "group", Name: "Proofs", Users: []User{edsger, barbara, ada}},
		{Platform: "slack", Chat: "C06OPS", Type: "group", Name: "#ops", Topic: "what is on fire", Scope: team, Users: []User{margaret, ken}},
		{Platform: "slack", Chat: "D06MARGARET", Type: "dm", Name: "Margaret", Scope: team, Users: []User{margaret}},
		{Platform: "whatsapp", Chat: "491511111111@s.whatsapp.net", Type: "dm", Name: "Joan", Users: []User{joan}},
		{Platform: "whatsapp", Chat: "120363000000000001@g.us", Type: "group", Name: "Friday", Users: []User{joan, grace}},
	}
}

var ids atomic.Int64

// newMID is a message id as the platform makes them: Discord's and Slack's hold the time.
func newMID(platform string, now time.Time) string {
	n := ids.Add(1)
	switch platform {
	case "discord":
		return strconv.FormatInt((now.UnixMilli()-1420070400000)<<22|n&0x3fffff, 10)
	case "slack":
		return fmt.Sprintf("%d.%06d", now.Unix(), (int64(now.Nanosecond())/1000+n)%1_000_000)
	case "telegram":
		return strconv.FormatInt(20_000+now.Unix()%100_000*100+n, 10)
	}
	var b [8]byte
	rand.Read(b[:])
	return "3EB0" + strings.ToUpper(hex.EncodeToString(b[:]))
}

// words are what somebody says in a chat.
type words struct {
	MID    string
	User   User
	Text   string
	Kind   string // of the message; empty: what the text and the files say
	Reply  *Message
	Thread string
	Files  []Attachment
	URLs   []string // of the files
	Edit   bool
}

// event is what the connector makes of it.
func (c *Chat) event(w words) relay.Event {
	e := relay.Event{Text: w.Text, MessageType: w.Kind, MessageID: w.MID, Source: c.source(w.User, w.MID)}
	e.Source.MessageIsEdit = w.Edit
	if e.MessageType == "" {
		e.MessageType = kindOf(w)
	}
	if w.Thread != "" {
		e.Source.ThreadID = w.Thread
	}
	if w.Reply != nil {
		e.ReplyToMessageID = w.Reply.MID
		e.ReplyTo = &relay.ReplyTo{Text: w.Reply.Text, Author: w.Reply.Name, IsOwn: w.Reply.Bot}
	}
	for i, f := range w.Files {
		e.MediaURLs = append(e.MediaURLs, w.URLs[i])
		e.Media = append(e.Media, relay.Media{URL: w.URLs[i], Kind: mediaKind(f.MIME), MIME: f.MIME, Size: int64(f.Size), Filename: f.Name})
	}
	return e
}

func (c *Chat) source(u User, mid string) relay.Source {
	s := relay.Source{
		Platform: c.Platform, ChatID: c.Chat, ChatType: c.Type, ChatName: c.Name, ChatTopic: c.Topic, UserID: u.ID, UserName: u.Name,
		ScopeID: c.Scope, MessageID: mid,
	}
	if c.Type == "thread" {
		s.ThreadID = c.Chat
		_, s.ParentChatID, _ = strings.Cut(c.Parent, "/")
	}
	return s
}

func kindOf(w words) string {
	switch {
	case strings.HasPrefix(w.Text, "/") && len(w.Files) == 0:
		return "command"
	case len(w.Files) == 0:
		return "text"
	}
	switch mediaKind(w.Files[0].MIME) {
	case "image":
		return "photo"
	case "audio":
		return "audio"
	case "video":
		return "video"
	}
	return "document"
}

func mediaKind(mime string) string {
	kind, _, _ := strings.Cut(mime, "/")
	switch kind {
	case "image", "audio", "video":
		return kind
	}
	return "document"
}

// Kinds of Discord's interactions.
const (
	interactionCommand = 2
	interactionButton  = 3
	interactionForm    = 5
)

// interaction is the body of Discord's request for one.
func (c *Chat) interaction(kind int, id string, u User, more map[string]any) json.RawMessage {
	body := map[string]any{
		"id": id, "type": kind, "token": "interaction-token", "channel_id": c.Chat,
		"channel": map[string]any{"id": c.Chat, "type": map[string]int{"dm": 1, "thread": 11}[c.Type]},
	}
	user := map[string]any{"id": u.ID, "username": strings.ToLower(u.Name), "global_name": u.Name}
	if c.Scope == "" || c.Type == "dm" {
		body["user"] = user
	} else {
		body["guild_id"], body["member"] = c.Scope, map[string]any{"user": user, "nick": u.Name}
	}
	if c.Type == "thread" {
		_, parent, _ := strings.Cut(c.Parent, "/")
		body["channel"] = map[string]any{"id": c.Chat, "type": 11, "parent_id": parent}
	}
	for name, value := range more {
		body[name] = value
	}
	raw, err := json.Marshal(body)
	if err != nil {
		panic("page: an interaction always marshals: " + err.Error())
	}
	return raw
}

// renamed is an event or an interaction under another id.
func renamed(raw json.RawMessage, forward bool, mid string) (json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, fmt.Errorf("want a JSON object: %w", err)
	}
	id, err := json.Marshal(mid)
	if err != nil {
		return nil, err
	}
	if forward {
		members["id"] = id
		return json.Marshal(members)
	}
	members["message_id"] = id
	var source map[string]json.RawMessage
	if json.Unmarshal(members["source"], &source) == nil && source != nil {
		if source["message_id"] != nil {
			source["message_id"] = id
		}
		if members["source"], err = json.Marshal(source); err != nil {
			return nil, err
		}
	}
	return json.Marshal(members)
}
