package relay

import (
	"regexp"
	"strings"
	"sync"
)

// markup is what a splitter knows about the Markdown at some point of a text: an open fenced block, or a table.
type markup struct {
	open    bool
	fence   string // the backticks or tildes that opened the block
	lang    string // the first word after them
	lines   int    // of code since then
	isFence bool   // the line before this point opened or closed a block

	header bool   // the lines before this point are a table
	head   string // its two first lines
	rows   int    // that follow them
	line   string // the line before this point, which may become a table's first

	start     int // where the block or the table begins in what was scanned last; 0 if it began before that
	lineStart int // where line does
}

// scan returns the markup behind text, with m in front of it.
func (s splitter) scan(m markup, text string) markup {
	m.start, m.lineStart, m.line, m.isFence = 0, 0, "", false
	for at := 0; ; {
		line, _, more := strings.Cut(text[at:], "\n")
		s.next(&m, line, at)
		if at += len(line) + 1; !more {
			return m
		}
	}
}

// next takes one line, which begins at an offset of what is scanned.
func (s splitter) next(m *markup, line string, at int) {
	m.isFence = false
	fence, info := s.parseFence(line)
	switch {
	case m.open && closes(fence, info, m.fence):
		*m = markup{isFence: true}
	case m.open:
		m.lines++
	case fence != "":
		lang, _ := firstWord(info)
		*m = markup{open: true, fence: fence, lang: lang, start: at, isFence: true}
	case m.header && strings.Contains(line, "|"):
		m.rows++
	case m.line != "" && isTableRule(line):
		*m = markup{header: true, head: m.line + "\n" + line, start: m.lineStart}
	default:
		*m = markup{lineStart: at}
		if strings.Contains(line, "|") {
			m.line = line
		}
	}
}

// isTableRule reports whether a line may be the second one of a table.
func isTableRule(line string) bool {
	return strings.Contains(line, "|") && tableRule().MatchString(line)
}

// tableRule is the second line of a table. It is compiled when it is first needed, like link: most runs split nothing, and
// every start would pay for it.
var tableRule = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^ {0,3}\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$`)
})

// parseFence reads the line that opens or closes a block by CommonMark: up to three blanks, at least three backticks or
// tildes, and then a text, which has no backtick after backticks. The fence is "" for any other line.
func (s splitter) parseFence(line string) (fence, info string) {
	trimmed := strings.TrimLeft(line, " ")
	if len(line)-len(trimmed) > 3 || trimmed == "" || trimmed[0] != '`' && trimmed[0] != '~' {
		return "", ""
	}
	info = strings.TrimLeft(trimmed, trimmed[:1])
	fence = trimmed[:len(trimmed)-len(info)]
	if len(fence) < 3 || len(fence) > s.maxFence || fence[0] == '`' && strings.Contains(info, "`") {
		return "", ""
	}
	return fence, info
}

// closes reports whether a line with that fence and info closes a block that open has opened.
func closes(fence, info, open string) bool {
	return len(fence) >= len(open) && fence != "" && fence[0] == open[0] && strings.Trim(info, " \t\r") == ""
}

// longestFence is how long the longest fence in text is, at least 3.
func (s splitter) longestFence(text string) int {
	longest := 3
	for line := range strings.SplitSeq(text, "\n") {
		fence, _ := s.parseFence(line)
		longest = max(longest, len(fence))
	}
	return longest
}

// resume is what a part begins with if it is cut from the one before at m: the line that opens the block again, or the head
// of the table. A language, or a head, that would take more than most units is left out.
func (m markup) resume(most int, unit string) string {
	switch {
	case m.open:
		line := m.fence + m.lang + "\n"
		if textLen(line, unit) > most {
			return m.fence + "\n"
		}
		return line
	case m.header:
		if head := m.head + "\n"; textLen(head, unit) <= most {
			return head
		}
	}
	return ""
}

// emptyStart is where the block or the table begins of which nothing comes before a cut but its opening line or its head,
// or 0. rest is what follows the cut.
func (m markup) emptyStart(rest string) int {
	next, _, _ := strings.Cut(strings.TrimPrefix(rest[:min(len(rest), 1<<10)], "\n"), "\n")
	switch {
	case m.open && m.lines == 0, m.header && m.rows == 0:
		return m.start
	case m.line != "" && strings.HasPrefix(rest, "\n") && isTableRule(next): // between the two lines of a head
		return m.lineStart
	}
	return 0
}

// closing is the line that closes the open block.
func (m markup) closing() string { return m.fence }

// closedBy reports whether the block closes before any more code, and returns what follows then.
func (m markup) closedBy(rest string) (after string, closed bool) {
	if start := rest[:min(3+len(m.fence), len(rest))]; !strings.HasPrefix(strings.TrimLeft(start, " "), m.fence) {
		return "", false
	}
	line, after, _ := strings.Cut(rest, "\n")
	fence, info := splitter{maxFence: len(m.fence)}.parseFence(line)
	return after, closes(fence, info, m.fence)
}

// link is a Markdown link or image, or a bare address.
var link = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`!?\[[^\[\]\n]*\]\((?:[^()\s]|\([^()\s]*\))*(?:[ \t]+"[^"\n]*")?\)|https?://[^\s<>"]+`)
})

// linkStart is where the link begins that a cut at would cut in two, or at.
func linkStart(text string, at int) int {
	longest := min(at, 2<<10) // bytes; a link that is longer than a part is cut anyway
	from, to := at-longest, min(at+longest, len(text))
	if before := text[from:at]; !strings.ContainsRune(before, '[') && !strings.Contains(before, "http") {
		return at
	}
	for _, found := range link().FindAllStringIndex(text[from:to], -1) {
		if start, end := from+found[0], from+found[1]; start < at && at < end {
			return start
		}
	}
	return at
}
