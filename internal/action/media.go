package action

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// FileLimit is the most bytes that a file may have (section 15).
const FileLimit = 25 << 20

// sendMedia names its file by a link, or brings it along as data, which becomes the Outgoing's File.
func (Shaper) sendMedia(o *Outgoing) error {
	a := o.Action
	if a["content"] == nil {
		a["content"] = ""
	}
	if _, ok := a["content"].(string); !ok {
		return errors.New("content: want a string, or nothing")
	}
	var err error
	if a["data"] != nil && (a["data"] != "" || none(a, "source_url")) {
		o.File, err = takeFile(a)
	} else {
		delete(a, "data")
		delete(a, "mime")
		err = checkLink(o.text("source_url"))
	}
	err = cmp.Or(err, oneOf(a, "media_kind", "image", "voice", "audio", "video", "document"), optional(a, "filename"),
		nullable(a, "reply_to"))
	if err == nil && o.File != nil {
		o.File.Name = o.text("filename") // which stays in the action, too
	}
	return err
}

func checkLink(link string) error {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("source_url: want an http or https URL, or the file itself as data")
	}
	return nil
}

// plainBase64 makes the alphabet for URLs the usual one.
var plainBase64 = strings.NewReplacer("-", "+", "_", "/", " ", "")

// takeFile takes out of a the file that it brings along.
func takeFile(a relay.Action) (*File, error) {
	if !none(a, "source_url") {
		return nil, errors.New("source_url: want either that or data")
	}
	delete(a, "source_url")
	text, _ := a["data"].(string)
	if head, body, cut := strings.Cut(text, ","); cut && strings.HasPrefix(head, "data:") { // a data URL
		text = body
		if kind, isBase64 := strings.CutSuffix(head[len("data:"):], ";base64"); isBase64 && none(a, "mime") {
			a["mime"] = kind
		}
	}
	data, err := base64.RawStdEncoding.DecodeString(plainBase64.Replace(strings.TrimRight(text, "= \r\n")))
	switch {
	case err != nil || len(data) == 0:
		return nil, errors.New("data: want base64 of a file that is not empty")
	case len(data) > FileLimit:
		return nil, fmt.Errorf("data: has %d bytes, a file may have %d", len(data), FileLimit)
	}
	given, _ := a["mime"].(string)
	kind, params, err := mime.ParseMediaType(given)
	clean := mime.FormatMediaType(kind, params)
	if err != nil || clean == "" || !strings.Contains(kind, "/") {
		return nil, errors.New("mime: want a media type, such as image/png")
	}
	delete(a, "data")
	delete(a, "mime")
	return &File{Data: data, MIME: clean}, nil
}

// Uploaded returns the action of an Outgoing with a File, once the file can be had at link.
func (o Outgoing) Uploaded(link string) Outgoing {
	o = o.Clone()
	o.File = nil
	o.Action["source_url"] = link
	return o
}

// TextInstead returns the text for a send_media that could not be sent, with a link for those who can follow it; an empty
// link means that there is none. It returns nothing where no text can be sent.
func (s Shaper) TextInstead(o Outgoing, link string) []Outgoing {
	text := link
	if text == "" {
		text = s.Texts.FileNotSent(cmp.Or(o.text("filename"), o.text("media_kind")))
	}
	if caption := o.text("content"); caption != "" {
		text = caption + "\n" + text
	}
	parts, err := s.Fit(0, relay.Action{
		"op": "send", "chat_id": o.Action["chat_id"], "content": text, "reply_to": o.Action["reply_to"],
		"metadata": o.Action["metadata"],
	})
	if err != nil {
		return nil
	}
	for i := range parts {
		if o.Platform != "" { // after a restart the chat is not known any more
			parts[i].Platform = o.Platform
		}
	}
	return parts
}
