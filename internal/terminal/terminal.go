// Package terminal makes texts from elsewhere fit to be printed on a terminal. What people, agents and connectors say may
// hold characters that clear the screen, set the window's title, write to the clipboard or turn the direction of writing.
// The command line and the chat for development print through it. It blocks on nothing but the
// writer that is given to it.
package terminal

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Text returns s with U+FFFD in the place of each character that a terminal would obey. Line feeds and tabs stay.
func Text(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !obeyed(r) {
			return r
		}
		return utf8.RuneError
	}, strings.ReplaceAll(s, "\r\n", "\n"))
}

// Line is Text in one line: blanks stand for line feeds and tabs.
func Line(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		return r
	}, Text(s))
}

// JSON returns JSON of the same value that a terminal obeys in nothing. raw is valid JSON: there such characters are in
// strings, where they can be escaped.
func JSON(raw []byte) []byte {
	var b bytes.Buffer
	for _, r := range string(raw) {
		if r == '\n' || r == '\t' || r == '\r' || !obeyed(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// obeyed says whether a character is an order: a control character, or one that turns the direction of writing.
func obeyed(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// Writer writes Text to w, whatever is written to it: also a character that comes in two parts. It may be used
// from several goroutines.
func Writer(w io.Writer) io.Writer { return &writer{w: w} }

type writer struct {
	mu   sync.Mutex
	w    io.Writer
	rest []byte // the beginning of a character
}

func (t *writer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := append(t.rest, p...)
	whole := len(all)
	for back := 1; back < utf8.UTFMax && back <= len(all); back++ {
		if b := all[len(all)-back]; utf8.RuneStart(b) {
			if !utf8.FullRune(all[len(all)-back:]) {
				whole = len(all) - back
			}
			break
		}
	}
	text := Text(string(all[:whole]))
	t.rest = append([]byte(nil), all[whole:]...)
	if _, err := io.WriteString(t.w, text); err != nil {
		return 0, err
	}
	return len(p), nil
}
