package action

import (
	"fmt"
	"strings"
)

const (
	partsLimit = 30  // of one text (design 6, "an answer is too much")
	shortText  = 200 // units that stay with a file or a question whose text is too long
)

// split repeats a send or follow_up for each part of its text. Only the first part is a reply.
func (s Shaper) split(o Outgoing) []Outgoing {
	texts, cut := s.parts(o.text("content"))
	parts := make([]Outgoing, len(texts))
	for i, text := range texts {
		part := o.Clone()
		part.Action["content"], part.goesOn = text, i > 0
		if i > 0 {
			part.Result = ""
		}
		if i > 0 && o.Op() == "send" {
			part.Action["reply_to"] = nil
		}
		parts[i] = part
	}
	parts[len(parts)-1].cut = cut
	return parts
}

// parts cuts a text into parts that fit the platform, partsLimit of them at most. If there would be more, the last one ends
// with a line that says how much is left out, and cut is true.
func (s Shaper) parts(text string) (list []string, cut bool) {
	list = s.Descriptor.Split(text)
	if len(list) <= partsLimit {
		return list, false
	}
	left := s.Descriptor.Len(text)
	for i, part := range list[:partsLimit] {
		left -= s.Descriptor.Len(withoutCounter(part, i, len(list)))
	}
	left = max(left, 1) // fences that were closed and opened again are counted as text
	last := withoutCounter(list[partsLimit-1], partsLimit-1, len(list))
	list = list[:partsLimit]
	list[partsLimit-1] = s.endWith(last, func(more int) string {
		return s.Texts.MoreCharacters(left + more)
	})
	return list, true
}

// withoutCounter is part number i, from 0, of n parts without the counter that Split has put at its end.
func withoutCounter(part string, i, n int) string {
	return strings.TrimRight(strings.TrimSuffix(part, fmt.Sprintf("(%d/%d)", i+1, n)), " \n")
}

// endWith is a text with a line at its end that says how much is left out. As much of the text goes as the line needs; line
// is told how much that is.
func (s Shaper) endWith(text string, line func(more int) string) string {
	whole := strings.TrimSpace(text + "\n" + line(0))
	if s.Descriptor.Len(whole) <= s.Descriptor.MaxMessageLength {
		return whole
	}
	narrow := s.Descriptor
	narrow.MaxMessageLength -= s.Descriptor.Len("\n" + line(narrow.MaxMessageLength))
	if narrow.MaxMessageLength < 1 {
		return text // no room for it
	}
	kept := text
	if pieces := narrow.Split(text); len(pieces) > 1 { // fences are closed there
		kept = withoutCounter(pieces[0], 0, len(pieces))
	}
	return kept + "\n" + line(max(s.Descriptor.Len(text)-s.Descriptor.Len(kept), 0))
}

// splitEdit makes the first part of a long text the edit, and sends the other parts as messages behind it.
func (s Shaper) splitEdit(o Outgoing) []Outgoing {
	parts := s.split(o)
	for _, p := range parts[1:] {
		p.Action["op"], p.Action["reply_to"] = "send", nil
		delete(p.Action, "message_id")
	}
	return parts
}

// splitCaption leaves the first line of a caption that is too long with its file, if the line is short. The other words
// follow as messages.
func (s Shaper) splitCaption(o Outgoing) []Outgoing {
	caption := strings.TrimSpace(o.text("content"))
	if s.fits(o) {
		return []Outgoing{o}
	}
	first, rest, _ := strings.Cut(caption, "\n")
	if s.Descriptor.Len(first) > s.short() || fenced(first) {
		first, rest = "", caption
	}
	o.Action["content"] = strings.TrimRight(first, " \t\r")
	return append([]Outgoing{o}, s.textOf(o, strings.TrimLeft(rest, "\r\n"), nil)...)
}

// splitPrompt sends the text of a question that is too long ahead of it. The last words stay with its buttons.
func (s Shaper) splitPrompt(o Outgoing) []Outgoing {
	if s.fits(o) {
		return []Outgoing{o}
	}
	ahead, last := s.lastWords(strings.TrimSpace(o.text("content")))
	texts := s.textOf(o, ahead, o.Action["reply_to"])
	o.Action["content"], o.Action["reply_to"] = last, nil
	return append(texts, o)
}

func (s Shaper) fits(o Outgoing) bool {
	return s.Descriptor.Len(o.text("content")) <= s.Descriptor.MaxMessageLength
}

func (s Shaper) short() int { return min(shortText, s.Descriptor.MaxMessageLength) }

// fenced says whether a text may begin or end a block of code.
func fenced(text string) bool { return strings.Contains(text, "```") || strings.Contains(text, "~~~") }

// textOf is a text as messages to the chat of o.
func (s Shaper) textOf(o Outgoing, text string, replyTo any) []Outgoing {
	message := asMessage(o, text)
	message.Action["reply_to"] = replyTo
	return s.split(message)
}

// lastWords cuts a text that is too long for one message before its last line, its last sentence, or else its last words:
// whatever is short.
func (s Shaper) lastWords(text string) (ahead, last string) {
	if !fenced(text) {
		for _, end := range []string{"\n", ". ", "! ", "? "} {
			if at := strings.LastIndex(text, end) + len(end); at >= len(end) && s.Descriptor.Len(text[at:]) <= s.short() {
				return strings.TrimSpace(text[:at]), strings.TrimSpace(text[at:])
			}
		}
		at := len(text)
		for blank := strings.LastIndexByte(text, ' '); blank > 0 && s.Descriptor.Len(text[blank+1:]) <= s.short(); {
			at = blank
			blank = strings.LastIndexByte(text[:blank], ' ')
		}
		if ahead, last = strings.TrimSpace(text[:at]), strings.TrimSpace(text[at:]); last != "" {
			return ahead, last
		}
	}
	parts := s.Descriptor.Split(text)
	n := len(parts)
	last = withoutCounter(parts[n-1], n-1, n)
	for i := range parts[:n-1] {
		parts[i] = withoutCounter(parts[i], i, n)
	}
	return strings.Join(parts[:n-1], "\n"), last
}
