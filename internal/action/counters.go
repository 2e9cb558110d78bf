package action

import (
	"strings"

	"github.com/dormouse-relay/dormouse/internal/texts"
)

// IsOver says whether an edit takes the words out of a part that is over and cannot be deleted. Platforms take no empty one.
func IsOver(o Outgoing, own texts.Texts) bool {
	text := o.text("content")
	return text == own.Above() || text == "…" // the version before has kept that
}

// Counters returns the edits of parts whose counter alone is wrong, because there are more parts now, or fewer. They are for
// the end of an answer, once: as long as it grows each further part would cost an edit of all that are there.
func (b *Board) Counters() (edits []Outgoing) {
	for _, p := range b.posts {
		for _, part := range p.parts {
			if part.count != nil {
				edits = append(edits, *part.count)
			}
		}
	}
	return edits
}

// SameButCounter says whether two texts of parts differ in their counters alone.
func SameButCounter(a, b string) bool {
	a, isPart := uncounted(a)
	b, isPartToo := uncounted(b)
	return isPart && isPartToo && a == b
}

// uncounted is the text of a part without its counter, as " (2/3)".
func uncounted(text string) (body string, isPart bool) {
	rest, closed := strings.CutSuffix(text, ")")
	open := strings.LastIndexByte(rest, '(')
	if !closed || open < 0 {
		return text, false
	}
	k, n, slash := strings.Cut(rest[open+1:], "/")
	if !slash || !isNumber(k) || !isNumber(n) {
		return text, false
	}
	return strings.TrimRight(rest[:open], " \n"), true
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
