package relay

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Units of length: the values of Descriptor.LenUnit (section 7). Neither counts bytes, nor what a reader sees as one
// character.
const (
	UnitChars = "chars" // code points; also what an unknown unit counts as
	UnitUTF16 = "utf16" // UTF-16 code units: two for a code point beyond U+FFFF
)

// textLen is text's length in unit (section 7).
func textLen(text, unit string) int {
	n := utf8.RuneCountInString(text)
	if unit == UnitUTF16 {
		for _, r := range text {
			if r > 0xFFFF {
				n++
			}
		}
	}
	return n
}

// splitText is Descriptor.Split for a limit and its unit.
func splitText(text string, limit int, unit string) []string {
	if text == "" || textLen(text, unit) <= limit {
		return []string{text}
	}
	var parts []string
	for reserve := 10; ; { // units for the counter
		parts = split(text, limit, reserve, unit)
		widest := len(counter(len(parts), len(parts)))
		if widest <= reserve {
			break
		}
		reserve = widest
	}
	if len(parts) > 1 {
		for i := range parts {
			parts[i] += counter(i+1, len(parts))
		}
	}
	return parts
}

func counter(i, n int) string { return fmt.Sprintf(" (%d/%d)", i, n) }

const fence, fenceEnd = "```", "\n```"

// split does one round of splitText with reserve units of each part left free. Each step looks at one window only, so
// that the time grows with the length of the text and not with its square.
func split(text string, limit, reserve int, unit string) (parts []string) {
	room := limit - reserve
	code := block{}
	for text != "" {
		prefix := code.reopen(room/2, unit)
		budget := room - textLen(prefix, unit)
		if fit(text, budget, unit) == len(text) {
			last := prefix + text
			if code.after(text).open {
				last += fenceEnd
			}
			if textLen(last, unit) <= room {
				return append(parts, last)
			}
		}
		budget -= len(fenceEnd)
		if budget < 1 {
			budget = limit / 2
		}
		at := max(fit(text, budget, unit), firstRune(text)) // always some progress
		if at < len(text) {
			at = cutAt(text[:at])
		}
		body := text[:at]
		text = strings.TrimLeftFunc(text[at:], isSpace)
		if code = code.after(body); code.open {
			body += fenceEnd
		}
		parts = append(parts, prefix+body)
	}
	return parts
}

// fit returns how many bytes of text take at most budget units.
func fit(text string, budget int, unit string) int {
	for i, r := range text {
		budget--
		if unit == UnitUTF16 && r > 0xFFFF {
			budget--
		}
		if budget < 0 {
			return i
		}
	}
	return len(text)
}

func firstRune(text string) int {
	_, size := utf8.DecodeRuneInString(text)
	return size
}

// cutAt returns where to end a part: at window's last newline if that is in its second half, else at its last blank,
// else at its end; and not within inline code if there is a blank before it past the first quarter.
func cutAt(window string) int {
	runes := utf8.RuneCountInString(window)
	at := strings.LastIndexByte(window, '\n')
	if at < 0 || utf8.RuneCountInString(window[:at]) < runes/2 {
		at = strings.LastIndexByte(window, ' ')
	}
	if at < 1 {
		at = len(window)
	}
	part := window[:at]
	if (strings.Count(part, "`")-strings.Count(part, "\\`"))%2 == 0 {
		return at
	}
	tick := strings.LastIndexByte(part, '`')
	for tick > 0 && part[tick-1] == '\\' {
		tick = strings.LastIndexByte(part[:tick], '`')
	}
	if tick > 0 {
		blank := strings.LastIndexAny(part[:tick], " \n")
		if blank > 0 && utf8.RuneCountInString(part[:blank]) > runes/4 {
			return blank
		}
	}
	return at
}

// block is the state of fenced code at some point of a text.
type block struct {
	open bool
	lang string // first word after the opening fence
}

// after is the state behind text.
func (b block) after(text string) block {
	for line := range strings.SplitSeq(text, "\n") {
		info, ok := strings.CutPrefix(strings.TrimFunc(line, isSpace), fence)
		if !ok {
			continue
		}
		b.open, b.lang = !b.open, ""
		if b.open {
			b.lang, _ = firstWord(info)
		}
	}
	return b
}

// reopen is the line that continues the block in the next part; a language that would take more than most units goes.
func (b block) reopen(most int, unit string) string {
	if !b.open {
		return ""
	}
	line := fence + b.lang + "\n"
	if textLen(line, unit) > most {
		return fence + "\n"
	}
	return line
}

// isSpace is white space as the reference trims it: Unicode's, and U+001C to U+001F.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }
