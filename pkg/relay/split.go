package relay

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// splitter cuts a text into parts for one platform (section 11). It takes one part after another from the front of the
// text and looks no further than that part is long, so that the time grows with the length of the text and not with its
// square.
type splitter struct {
	limit     int
	unit      string
	ownLine   bool // the counter leaves the line of a fence or of a table's row: CommonMark reads it as part of them
	marked    bool // the platform has Markdown of some kind: block quotes, lists
	maxFence  int  // bytes; a longer fence, with the quote and the indentation before it, is none
	fenceRoom int  // kept free for the line that closes a block
}

// split is Descriptor.Split.
func (s splitter) split(text string) []string {
	if text == "" || textLen(text, s.unit) <= s.limit {
		return []string{text}
	}
	text = strings.ReplaceAll(text, "\r\n", "\n") // no counter behind a carriage return
	s.maxFence = max(s.limit/8, 3)
	s.fenceRoom = 1 + s.longestFence(text)
	reserve := 10 // units for the counter
	for {
		parts := s.parts(text, s.limit-reserve)
		widest := len(s.counter(len(parts), len(parts)))
		if s.ownLine {
			widest++ // it may have a blank line before it
		}
		if widest <= reserve {
			return s.count(parts)
		}
		reserve = widest
	}
}

// counter is what part k of n ends in.
func (s splitter) counter(k, n int) string { return fmt.Sprintf(" (%d/%d)", k, n) }

// count gives each part its counter.
func (s splitter) count(parts []string) []string {
	if len(parts) == 1 {
		return parts
	}
	for i, part := range parts {
		counter := s.counter(i+1, len(parts))
		if s.ownLine {
			switch m := s.scan(markup{}, part); {
			case !m.isFence && m.loose():
				counter = "\n\n" + counter[1:]
			case m.isFence:
				counter = "\n" + counter[1:]
			}
		}
		parts[i] += counter
	}
	return parts
}

// parts cuts text into parts of at most room units, without counters.
func (s splitter) parts(text string, room int) (parts []string) {
	blankEnd := len(text) - len(strings.TrimRightFunc(text, isSpace))
	var m markup // where the part begins
	for text != "" {
		prefix := m.resume(room/2, s.unit)
		budget := room - textLen(prefix, s.unit)
		if fit(text, budget, s.unit) == len(text) {
			last := prefix + text
			if end := s.scan(m, text); end.open {
				last += "\n" + end.closing()
			}
			if textLen(last, s.unit) <= room {
				return append(parts, last)
			}
		}
		budget -= s.fenceRoom
		if budget < 1 {
			budget = s.limit / 2
		}
		at := max(fit(text, budget, s.unit), firstRune(text)) // always some progress
		if at < len(text) {
			at = s.cut(text, at, m)
		}
		body, rest := text[:at], text[at:]
		m = s.scan(m, body)
		m.within = !strings.HasPrefix(rest, "\n")
		if m.open {
			rest = strings.TrimPrefix(rest, "\n") // and nothing else: blanks are code
			if len(rest) <= blankEnd {
				rest = ""
			}
			body += "\n" + m.closing()
			if after, closed := s.closedBy(m, rest); closed { // by the line that has just been added
				m, rest = markup{list: m.list, depth: m.depth, outer: m.outer}, after
			}
		}
		rest = s.freed(&m, rest)
		if !m.open {
			rest = s.trim(&m, rest)
		}
		parts = append(parts, prefix+body)
		text = rest
	}
	return parts
}

// trim takes the white space off what follows a cut, but not the indentation that says what its first line is: code, or an
// item of a list.
func (s splitter) trim(m *markup, rest string) string {
	trimmed := strings.TrimLeftFunc(rest, isSpace)
	gap := rest[:len(rest)-len(trimmed)]
	at := strings.LastIndexByte(gap, '\n')
	m.within = m.within && at < 0
	if next, _, _ := strings.Cut(trimmed, "\n"); !m.within && (strings.Count(gap, "\n") > 1 || !strings.Contains(next, "|")) {
		m.header = false // no row of the table follows
	}
	if at >= 0 || !m.within {
		indent := gap[at+1:]
		after := *m
		after.words = after.words && strings.Count(gap, "\n") < 2
		line, _, _ := strings.Cut(trimmed[:min(len(trimmed), 1<<10)], "\n")
		after.prose(indent + line)
		if s.marked && (after.indented || itemText(line) > 0 && indentOf(indent) < 4) {
			return rest[at+1:]
		}
	}
	return trimmed
}

// cut returns where to end a part whose text may be most bytes long: at the last line end in the second half, else at the
// last blank behind the first quarter, else anywhere, but not within what a reader sees as one character. m is the markup
// at the start of text.
func (s splitter) cut(text string, most int, m markup) int {
	window := text[:most]
	runes := utf8.RuneCountInString(window)
	behind := func(at, share int) bool {
		return at > 0 && utf8.RuneCountInString(window[:at]) >= (runes+share-1)/share
	}
	at := strings.LastIndexByte(window, '\n')
	if at < 0 || utf8.RuneCountInString(window[:at]) < runes/2 {
		at = strings.LastIndexByte(window, ' ')
		if !behind(at, 4) {
			at = s.characterEnd(text, most)
		}
	}
	end := s.scan(m, window[:at])
	switch start := s.emptyStart(end, text[at:]); {
	case behind(start, 4):
		return start - 1 // the line end before it
	case end.open:
		return at
	}
	if start, after := linkAround(text, at); start < at {
		fits := textLen(text[start:after], s.unit) <= textLen(window, s.unit)
		switch before := len(strings.TrimRight(text[:start], " ")); {
		case before > 0 && (fits || behind(start, 4)):
			at = before
		case before == 0 && after <= most:
			return after
		}
	}
	if start := inlineCodeStart(text[:at]); start >= 0 && utf8.RuneCountInString(text[:start]) > runes/4 {
		at = start
	}
	return at
}

// characterEnd is graphemeEnd, but not between a backslash and what it escapes.
func (s splitter) characterEnd(text string, most int) int {
	at := graphemeEnd(text, most)
	before := text[:at]
	if slashes := len(before) - len(strings.TrimRight(before, `\`)); s.marked && slashes%2 == 1 && slashes < at {
		return at - 1
	}
	return at
}

// graphemeEnd is the last place up to at where a character ends for its reader.
func graphemeEnd(text string, at int) int {
	if at >= len(text) || text[at-1] < utf8.RuneSelf && text[at] < utf8.RuneSelf {
		return at
	}
	end, state := 0, -1
	for rest := text[:min(at+utf8.UTFMax, len(text))]; rest != ""; { // what comes after the next rune does not matter
		var character string
		character, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if end+len(character) > at {
			break
		}
		end += len(character)
	}
	if end == 0 { // a single character that is longer than a part
		return at
	}
	return end
}

// inlineCodeStart is the last blank before inline code that text ends in, or -1 if it does not end in one.
func inlineCodeStart(text string) int {
	if (strings.Count(text, "`")-strings.Count(text, "\\`"))%2 == 0 {
		return -1
	}
	tick := strings.LastIndexByte(text, '`')
	for tick > 0 && text[tick-1] == '\\' {
		tick = strings.LastIndexByte(text[:tick], '`')
	}
	if tick < 1 {
		return -1
	}
	return strings.LastIndexAny(text[:tick], " \n")
}
