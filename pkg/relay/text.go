package relay

import (
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

// isSpace is white space as the reference trims it: Unicode's, and U+001C to U+001F.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }
