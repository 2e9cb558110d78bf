package page

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

// User is somebody who writes.
type User struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Chat is a conversation on a platform.
type Chat struct {
	ID       string  `json:"id"` // platform and chat id
	Platform string  `json:"platform"`
	Chat     string  `json:"chat"`
	Type     string  `json:"type"`
	Name     string  `json:"name"`
	Topic    string  `json:"topic,omitempty"`
	Scope    string  `json:"scope,omitempty"`
	Parent   string  `json:"parent,omitempty"` // the chat that a thread belongs to
	Users    []User  `json:"users"`
	Typing   float64 `json:"typing,omitempty"` // shown until then
	Status   string  `json:"status,omitempty"` // words beside it
	Made     bool    `json:"made,omitempty"`   // by the agent
}

// Quote is the message that another one answers.
type Quote struct {
	MID  string `json:"mid"`
	Name string `json:"name,omitempty"`
	Text string `json:"text,omitempty"`
}

// Attachment is a file of a message.
type Attachment struct {
	File string `json:"file,omitempty"` // its id at the connector; empty: a link elsewhere
	URL  string `json:"url,omitempty"`
	Name string `json:"name,omitempty"`
	MIME string `json:"mime,omitempty"`
	Kind string `json:"kind,omitempty"`
	Size int    `json:"size,omitempty"`
}

// Button is an option of a question.
type Button struct {
	ID    string `json:"id"`
	Label string `json:"label"`
	Style string `json:"style,omitempty"`
}

// Message is one in a chat, as it is shown there now.
type Message struct {
	ID        string       `json:"id"` // chat's and message's
	Chat      string       `json:"chat"`
	MID       string       `json:"mid"`
	N         int          `json:"n"` // in the order in which they came
	At        float64      `json:"at"`
	User      string       `json:"user,omitempty"`
	Name      string       `json:"name"`
	Bot       bool         `json:"bot,omitempty"`
	Text      string       `json:"text"`
	Edits     int          `json:"edits,omitempty"`
	Deleted   bool         `json:"deleted,omitempty"`
	Reply     *Quote       `json:"reply,omitempty"`
	Thread    string       `json:"thread,omitempty"` // Slack: the message whose thread it is in
	Files     []Attachment `json:"files,omitempty"`
	Buttons   []Button     `json:"buttons,omitempty"`
	Prompt    string       `json:"prompt,omitempty"`
	Pressed   string       `json:"pressed,omitempty"` // the button
	PressedBy string       `json:"pressed_by,omitempty"`
	Reactions []string     `json:"reactions,omitempty"` // of the bot
	Part      int          `json:"part,omitempty"`
	Of        int          `json:"of,omitempty"`
	Key       string       `json:"key,omitempty"`   // of the delivery that it is, or that it answers
	State     string       `json:"state,omitempty"` // of a user's: what became of it
	Note      string       `json:"note,omitempty"`  // what kind of thing was sent, if no text was
	Progress  bool         `json:"progress,omitempty"`
}

func chatID(platform, chat string) string { return platform + "/" + chat }

// AddChat shows a chat.
func (m *Model) AddChat(c Chat) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addChat(&c)
}

func (m *Model) addChat(c *Chat) {
	c.ID = chatID(c.Platform, c.Chat)
	if c.Users == nil {
		c.Users = []User{}
	}
	m.chats[c.ID] = c
	m.entries.put(KindChat, c.ID, c)
}

// chat returns a copy of a chat.
func (m *Model) chat(id string) (c Chat, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.chats[id]
	if found == nil {
		return c, false
	}
	c = *found
	c.Users = slices.Clone(c.Users)
	return c, true
}

// message returns a copy of a message.
func (m *Model) message(id string) (msg Message, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.messages[id]
	if found == nil {
		return msg, false
	}
	return *found, true
}

// AddMessage shows a message, or changes it.
func (m *Model) AddMessage(msg Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addMessage(&msg)
}

func (m *Model) addMessage(msg *Message) {
	msg.ID = msg.Chat + "/" + msg.MID
	if before := m.messages[msg.ID]; before != nil {
		msg.N = before.N
	} else {
		m.order++
		msg.N = m.order
		m.forgetOldest()
	}
	m.messages[msg.ID] = msg
	m.entries.put(KindMessage, msg.ID, msg)
}

// forgetOldest keeps the messages in step with their entries.
func (m *Model) forgetOldest() {
	if len(m.messages) < most[KindMessage] {
		return
	}
	oldest := m.order
	var id string
	for other, msg := range m.messages {
		if msg.N < oldest {
			oldest, id = msg.N, other
		}
	}
	delete(m.messages, id)
}

// change changes a message that is there.
func (m *Model) change(id string, change func(*Message)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changeLocked(id, change)
}

func (m *Model) changeLocked(id string, change func(*Message)) bool {
	found := m.messages[id]
	if found == nil {
		return false
	}
	next := *found
	change(&next)
	m.messages[id] = &next
	m.entries.put(KindMessage, id, &next)
	return true
}

// typingTime is how long a platform shows typing.
const typingTime = 8 * time.Second

// showOutbound shows what an action does to its chat.
func (m *Model) showOutbound(o devconnector.Outbound) {
	if !o.Applied {
		return
	}
	c := m.chatOf(o)
	if c == nil {
		return
	}
	text := func(name string) string { s, _ := o.Action[name].(string); return s }
	id := c.ID + "/" + text("message_id")
	switch o.Op {
	case "typing":
		content, said := o.Action["content"].(string)
		c.Typing, c.Status = ms(o.At.Add(typingTime)), content
		if said && content == "" {
			c.Typing = 0
		}
		m.entries.put(KindChat, c.ID, c)
	case "edit":
		m.changeLocked(id, func(msg *Message) {
			msg.Text, msg.Edits = o.Content, msg.Edits+1
			msg.Part, msg.Of = partOf(o.Content)
		})
	case "delete":
		m.changeLocked(id, func(msg *Message) { msg.Deleted = true })
	case "react":
		emoji, off := text("emoji"), o.Action["remove"] == true
		m.changeLocked(id, func(msg *Message) {
			msg.Reactions = slices.DeleteFunc(slices.Clone(msg.Reactions), func(r string) bool { return r == emoji })
			if !off {
				msg.Reactions = append(msg.Reactions, emoji)
			}
		})
	case "thread_create":
		m.addChat(&Chat{Platform: c.Platform, Chat: o.Result.ThreadID, Type: "thread", Name: cmp.Or(text("thread_name"), "thread"),
			Scope: c.Scope, Parent: c.ID, Users: c.Users, Made: true})
	case "thread_rename":
		if thread := m.chats[chatID(c.Platform, text("message_id"))]; thread != nil {
			thread.Name = text("thread_name")
			m.entries.put(KindChat, thread.ID, thread)
		}
	default:
		m.showSaid(c, o)
	}
}

// showSaid shows an action that makes a message.
func (m *Model) showSaid(c *Chat, o devconnector.Outbound) {
	if o.MessageID == "" {
		return
	}
	text := func(name string) string { s, _ := o.Action[name].(string); return s }
	msg := &Message{Chat: c.ID, MID: o.MessageID, At: ms(o.At), Name: botName, Bot: true, Text: o.Content, Progress: o.Progress}
	msg.Part, msg.Of = partOf(o.Content)
	if to := text("reply_to"); to != "" {
		msg.Reply = m.quote(c.ID, to)
	}
	if thread, _ := o.Metadata["thread_id"].(string); thread != "" && thread != c.Chat {
		msg.Thread = thread
	}
	if o.Op == "prompt" {
		msg.Prompt, msg.Buttons = text("prompt_id"), buttonsOf(o.Action["options"])
	}
	if o.Op == "send_media" {
		msg.Files = []Attachment{attachmentOf(text("source_url"), text("filename"), text("media_kind"))}
	}
	if o.Op == "follow_up" {
		msg.Note = "answers the interaction"
	}
	m.addMessage(msg)
	if c.Typing != 0 {
		c.Typing, c.Status = 0, ""
		m.entries.put(KindChat, c.ID, c)
	}
}

const botName = "dormouse"

// chatOf finds the chat of an action. A follow_up names its session, whose key has the chat's id.
func (m *Model) chatOf(o devconnector.Outbound) *Chat {
	if o.Op == "follow_up" && o.ChatID == "" {
		session, _ := o.Action["session_key"].(string)
		parts := strings.Split(session, ":")
		for _, part := range parts {
			if c := m.chats[chatID("discord", part)]; c != nil {
				return c
			}
		}
	}
	if c := m.chats[chatID(o.Platform, o.ChatID)]; c != nil {
		return c
	}
	for _, c := range m.chats { // a frame that names no platform
		if c.Chat == o.ChatID {
			return c
		}
	}
	if o.ChatID == "" {
		return nil
	}
	c := &Chat{Platform: cmp.Or(o.Platform, "relay"), Chat: o.ChatID, Type: "dm", Name: o.ChatID}
	m.addChat(c)
	return c
}

func (m *Model) quote(chat, mid string) *Quote {
	q := &Quote{MID: mid}
	if msg := m.messages[chat+"/"+mid]; msg != nil {
		q.Name, q.Text = msg.Name, shorten(msg.Text, 140)
	}
	return q
}

var counter = regexp.MustCompile(`\((\d{1,3})/(\d{1,3})\)\s*$`)

// partOf reads the counter at the end of a text that was split.
func partOf(text string) (part, of int) {
	found := counter.FindStringSubmatch(text)
	if found == nil {
		return 0, 0
	}
	part, _ = strconv.Atoi(found[1])
	of, _ = strconv.Atoi(found[2])
	if part < 1 || part > of || of < 2 {
		return 0, 0
	}
	return part, of
}

func buttonsOf(options any) (list []Button) {
	raw, _ := json.Marshal(options)
	_ = json.Unmarshal(raw, &list)
	return list
}

// attachmentOf describes a file of an answer. The connector's own files have their id at the end of their path.
func attachmentOf(url, name, kind string) Attachment {
	a := Attachment{URL: url, Name: name, Kind: kind}
	if before, id, found := strings.Cut(url, "/relay/media/"); found && (before == "" || strings.Contains(before, "://")) {
		a.File, a.URL = id, ""
	}
	return a
}

func shorten(s string, most int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
