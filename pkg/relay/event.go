package relay

import (
	"cmp"
	"strings"
)

// Event is an inbound message with the defaults of section 6 filled in. It marshals to the wire names, and what it
// marshals to decodes as an equal Event. Where text belongs, a number becomes its decimal text and null the empty string.
type Event struct {
	Text             string          `json:"text"`
	MessageType      string          `json:"message_type"` // one of those that section 6 lists; text for any other
	MessageID        string          `json:"message_id"`
	ReplyToMessageID string          `json:"reply_to_message_id,omitempty"`
	ReplyTo          *ReplyTo        `json:"reply_to,omitempty"`
	MediaURLs        []string        `json:"media_urls,omitempty"` // an unusable entry is empty: the others keep their index
	Media            []Media         `json:"media,omitempty"`      // look them up by URL, not by index
	Context          []ContextEntry  `json:"context,omitempty"`    // oldest first; for reference only
	ContextError     bool            `json:"context_error,omitempty"`
	PromptResponse   *PromptResponse `json:"prompt_response,omitempty"`
	Metadata         *Metadata       `json:"metadata,omitempty"` // of a form, a choice, or a command with a target
	Source           Source          `json:"source"`
}

// ReplyTo is the message that an event answers, as far as the connector quotes it.
type ReplyTo struct {
	Text   string `json:"text,omitempty"`
	Author string `json:"author,omitempty"`
	IsOwn  bool   `json:"is_own,omitempty"` // the bot's own
}

// Media describes one attachment; Event.MediaURLs says which attachments there are.
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

// Metadata is what a user filled in, chose or aimed at, under the names that Discord gives the parts (section 9).
type Metadata struct {
	CustomID string  `json:"custom_id,omitempty"` // of the form or the menu
	Fields   []Field `json:"fields,omitzero"`     // in the form's order; a choice is one field
	Target   *Entity `json:"target,omitempty"`    // of a command from a user's or a message's menu
}

// Field is one answer in a form, one choice, or one option of a command that stands for an Entity.
type Field struct {
	CustomID string   `json:"custom_id"`          // of an option its name
	Value    string   `json:"value"`              // several chosen values are joined by commas; a checkbox is True or False
	Values   []string `json:"values,omitempty"`   // the chosen ones, of a field that is chosen from
	Resolved []Entity `json:"resolved,omitempty"` // the users, roles and channels among the values
}

// Entity is what an id stands for.
type Entity struct {
	Kind string `json:"kind"` // user, role, channel or message
	ID   string `json:"id"`
	Text string `json:"text"` // the name that is shown; of a message its text
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
// Each name and text becomes one line, so that a quoted message cannot forge further entries or instructions.
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
