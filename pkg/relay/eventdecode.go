package relay

import (
	"cmp"
	"errors"
)

var (
	errNotJSON         = errors.New("relay: not a JSON value")
	errEventNotObject  = errors.New("relay: event is not a JSON object; set it aside")
	errSourceNotObject = errors.New("relay: event's source is not a JSON object; set the event aside")
)

// How many elements of a list are read, far more than a person sends at once. An element of two bytes takes up to fifty times as
// much in memory.
const (
	MostMedia   = 256  // of Event.MediaURLs and Event.Media: the first ones
	MostContext = 1000 // of Event.Context: the newest ones
	mostFields  = 2000 // of Metadata.Fields, of the values of all together, and of a Forward's headers
)

// DecodeEvent reads the event of an inbound frame (section 6). It fails only if raw is not a JSON object, or if its
// source is neither an object nor null nor missing. Whatever else is odd takes its default. Slack's /hermes command is
// resolved.
func DecodeEvent(raw []byte) (*Event, error) {
	in := scanner{json: raw}
	e, err := decodeEvent(&in)
	if !in.ended() {
		return nil, errEventNotObject
	}
	return e, err
}

// UnmarshalJSON reads raw into e as DecodeEvent does.
func (e *Event) UnmarshalJSON(raw []byte) error {
	decoded, err := DecodeEvent(raw)
	if err != nil {
		return err
	}
	*e = *decoded
	return nil
}

// decodeEvent is DecodeEvent for a part of what is scanned.
func decodeEvent(in *scanner) (*Event, error) {
	if in.peek() != '{' {
		in.skip()
		return nil, errEventNotObject
	}
	e := &Event{MessageType: "text", Source: defaultSource}
	fine := true // so is the source
	for name := range in.members() {
		switch string(name) {
		case "text":
			e.Text = in.text()
		case "message_type":
			e.MessageType = messageType(in.value())
		case "message_id":
			e.MessageID = in.text()
		case "reply_to_message_id":
			e.ReplyToMessageID = in.text()
		case "reply_to":
			e.ReplyTo = decodeReplyTo(in.value())
		case "media_urls":
			e.MediaURLs = nil
			for v := range in.value().elements() {
				if len(e.MediaURLs) < MostMedia {
					e.MediaURLs = append(e.MediaURLs, v.text())
				}
			}
		case "media":
			e.Media = decodeMedia(in.value())
		case "context":
			e.Context = decodeContext(in.value())
		case "context_error":
			v := in.value()
			e.ContextError = v.isTrue() || v.isString() && v.text() != ""
		case "prompt_response":
			e.PromptResponse = decodePromptResponse(in.value())
		case "metadata":
			e.Metadata = decodeMetadata(in.value())
		case "source":
			e.Source, fine = decodeSource(in)
		}
	}
	if !fine {
		return nil, errSourceNotObject
	}
	e.resolveSlackCommand()
	return e, nil
}

// messageTypes are those that section 6 knows. Any other becomes text: an image arrives as text with a MIME type.
var messageTypes = names("text", "location", "photo", "video", "audio", "voice", "document", "sticker", "command")

// names maps each name to itself, so that a look-up by bytes costs no copy.
func names(list ...string) map[string]string {
	m := make(map[string]string, len(list))
	for _, name := range list {
		m[name] = name
	}
	return m
}

// name is the text of a string that is among names and written without escapes, else "".
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

// decodeMetadata reads what a Metadata marshals to. Connectors send none; an event that was kept may have one.
func decodeMetadata(v value) *Metadata {
	fields, target := v.member("fields"), v.member("target")
	if !fields.isArray() && !target.isObject() {
		return nil
	}
	m := &Metadata{CustomID: v.member("custom_id").text()}
	if fields.isArray() {
		m.Fields = []Field{}
	}
	values, resolved := 0, 0
	for v := range fields.elements() {
		if len(m.Fields) == mostFields {
			continue
		}
		f := Field{CustomID: v.member("custom_id").text(), Value: v.member("value").text()}
		for v := range v.member("values").elements() {
			if values++; values <= mostFields {
				f.Values = append(f.Values, v.text())
			}
		}
		for v := range v.member("resolved").elements() {
			if resolved++; resolved <= mostFields {
				f.Resolved = append(f.Resolved, decodeEntity(v))
			}
		}
		m.Fields = append(m.Fields, f)
	}
	if target.isObject() {
		m.Target = new(decodeEntity(target))
	}
	return m
}

func decodeEntity(v value) Entity {
	return Entity{Kind: v.member("kind").text(), ID: v.member("id").text(), Text: v.member("text").text()}
}

func decodeMedia(v value) []Media {
	var list []Media
	for v := range v.elements() {
		if !v.isObject() || len(list) == MostMedia {
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
		if c.Text == "" {
			continue
		}
		if list = append(list, c); len(list) == 2*MostContext {
			list = append(list[:0], list[MostContext:]...)
		}
	}
	return list[max(0, len(list)-MostContext):]
}
