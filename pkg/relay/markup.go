package relay

import (
	"regexp"
	"strings"
	"sync"
)

// markup is what a splitter knows about the Markdown at some point of a text: an open fenced block, a table, a list.
type markup struct {
	open    bool
	quote   string // of the line that opened the block: "> "
	depth   int    // how many quotes that is
	outer   int    // where the text of the list item begins that these are in; 0: in none that indents them by four columns
	indent  string // of that line within its quotes
	fence   string // the backticks or tildes that opened the block
	lang    string // the first word after them
	lines   int    // of code since then
	isFence bool   // the line before this point opened or closed a block

	header  bool   // the lines before this point are a table
	head    string // its two first lines
	hasRows bool   // rows follow them
	line    string // the line before this point, which may become a table's first

	start     int // where the block or the table begins in what was scanned last; 0 if it began before that
	lineStart int // where line does

	inside   string // the quote that the last line is in
	within   bool   // this point is within a line
	list     int    // where the text of the last list item begins; 0: there is no list
	words    bool   // the line before this point is a paragraph's
	indented bool   // the line before this point is code by its indentation
	last     string // the line before this point
}

// scan returns the markup behind text, with m in front of it.
func (s splitter) scan(m markup, text string) markup {
	m.start, m.lineStart, m.line, m.isFence = 0, 0, "", false
	for at := 0; ; {
		line, _, more := strings.Cut(text[at:], "\n")
		if m.within { // as the reader of the next part sees it
			s.next(&m, m.inside+line, at)
		} else {
			s.next(&m, line, at)
		}
		if at += len(line) + 1; !more {
			return m
		}
	}
}

// around is by how much the first marker of a quote may be indented by a list.
func (m *markup) around() int {
	if m.depth > 0 {
		return m.outer
	}
	return m.list
}

// next takes one line, which begins at an offset of what is scanned.
func (s splitter) next(m *markup, line string, at int) {
	m.isFence, m.within = false, false
	if m.open {
		if quote, text, depth := s.quoted(line, m.depth, m.outer); depth == m.depth {
			m.inside = quote
			if m.lines++; s.closes(m, text) {
				*m = markup{isFence: true, list: m.list, inside: quote, depth: m.depth, outer: m.outer}
			}
			return
		}
		*m = markup{list: m.list, depth: m.depth, outer: m.outer} // the quote is over, and the block with it
	}
	quote, text, depth := s.quoted(line, anyDepth, m.around())
	m.last, m.inside, m.indented = line, quote, false
	if depth != m.depth {
		m.change(depth, quote)
	}
	indent, fence, info := s.opens(m.list, quote, text)
	switch {
	case fence != "":
		lang, _ := firstWord(info)
		if indent == "" {
			m.list = 0 // it is over
		}
		*m = markup{
			open: true, quote: quote, depth: depth, indent: indent, fence: fence, lang: lang, start: at, isFence: true,
			list: max(m.list, columnsOf(text[:itemText(text)])), inside: quote, outer: m.outer,
		}
	case m.header && strings.Contains(text, "|"):
		m.hasRows = true
	case m.line != "" && isTableRule(outdent(text, m.list)):
		*m = markup{header: true, head: m.line + "\n" + line, start: m.lineStart, depth: depth, inside: quote, list: m.list, outer: m.outer}
	default:
		m.header, m.head, m.hasRows, m.start, m.line, m.lineStart = false, "", false, 0, "", at
		if strings.Contains(text, "|") {
			m.line = line
		}
		m.prose(text)
	}
}

// change is for a line that is in more or fewer quotes than the one before.
func (m *markup) change(depth int, quote string) {
	list, outer := 0, m.outer
	switch {
	case m.depth == 0 && indentOf(quote) > 3:
		outer = m.list
	case depth == 0:
		list, outer = m.outer, 0
	}
	m.list, m.outer, m.depth, m.header, m.line, m.words = list, outer, depth, false, "", false
}

// prose takes a line that is no part of a block or of a table.
func (m *markup) prose(text string) {
	blank := strings.TrimSpace(text) == ""
	indent := indentOf(text)
	switch item := itemText(text); {
	case item > 0 && (indent < 4 || m.list > 0):
		m.list = columnsOf(text[:item])
	case !blank && indent == 0 && !m.words:
		m.list = 0
	}
	m.indented = m.list == 0 && indent >= 4 && !m.words && !blank
	m.words = !blank && !m.indented
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

// resume is what a part begins with if it is cut from the one before at m: the line that opens the block again, the head of
// the table, or the quote that a line is in. A language, or a head, that would take more than most units is left out.
func (m markup) resume(most int, unit string) string {
	quote := ""
	if m.within {
		quote = m.inside
	}
	switch {
	case m.open:
		line := m.quote + m.indent + m.fence + m.lang + "\n" + quote
		if textLen(line, unit) > most {
			return m.quote + m.indent + m.fence + "\n" + quote
		}
		return line
	case m.header:
		if head := m.head + "\n" + quote; textLen(head, unit) <= most {
			return head
		}
	}
	return quote
}

// emptyStart is where the block or the table begins of which nothing comes before a cut but its opening line or its head,
// or 0. rest is what follows the cut.
func (s splitter) emptyStart(m markup, rest string) int {
	next, _, _ := strings.Cut(strings.TrimPrefix(rest[:min(len(rest), 1<<10)], "\n"), "\n")
	_, next, _ = s.quoted(next, m.depth, m.around())
	switch {
	case m.open && m.lines == 0, m.header && !m.hasRows:
		return m.start
	case m.line != "" && strings.HasPrefix(rest, "\n") && isTableRule(outdent(next, m.list)): // between the two lines of a head
		return m.lineStart
	}
	return 0
}

// closing is the line that closes the open block.
func (m markup) closing() string { return m.quote + m.indent + m.fence }

// closedBy reports whether the block closes before any more code, and returns what follows then.
func (s splitter) closedBy(m markup, rest string) (after string, closed bool) {
	if m.within { // what follows is the rest of a line
		return "", false
	}
	line, _, _ := strings.Cut(rest[:min(len(rest), 1<<10)], "\n")
	_, text, depth := s.quoted(line, m.depth, m.outer)
	if depth < m.depth || !s.closes(&m, text) {
		return "", false
	}
	_, after, _ = strings.Cut(rest, "\n")
	return after, true
}

// loose says whether a counter right below the last line, or behind it, would be read as part of it: of a table, of code by
// its indentation, of a line below a heading, or as the title of a reference.
func (m markup) loose() bool {
	if m.hasRows || m.indented || m.header {
		return true
	}
	text := strings.TrimSpace(strings.TrimPrefix(m.last, m.inside))
	if text != "" && (strings.Trim(text, "- ") == "" || strings.Trim(text, "= ") == "" || strings.Trim(text, "* ") == "") {
		return true
	}
	return strings.HasPrefix(text, "[") && strings.Contains(text, "]:")
}

// link is what a reader needs whole: a Markdown link or image, with a title or without, or a reference; Slack's and Discord's
// links, mentions, times and emoji in angle brackets; bare addresses and mentions; names of emoji; an HTML entity, tag or link.
var link = sync.OnceValue(func() *regexp.Regexp {
	const (
		label  = `!?\[(?:[^\[\]\n]|!?\[[^\[\]\n]*\](?:\([^()\n]*\))?)*\]`
		target = `(?:<[^<>\n]*>|(?:[^()\s]|\([^()\s]*\))*)`
		title  = `(?:[ \t]+(?:"[^"\n]*"|'[^'\n]*'|\([^()\n]*\)))?`
	)
	return regexp.MustCompile(strings.Join([]string{
		label + `\(` + target + title + `\)`,
		label + `\[[^\[\]\n]*\]`,
		`<(?:[A-Za-z][A-Za-z0-9+.-]{1,31}:|[@#!/]|a?:|t:)[^<>\n]*>`,
		`<[^\s<>@]+@[^\s<>@]+>`,
		`<a [^<>\n]*>[^<>\n]*</a>`,
		`<[A-Za-z/][^<>\n]*>`,
		`:?[A-Za-z][A-Za-z0-9+.-]{1,31}://[!#-;=?-~\p{Latin}\p{Greek}\p{Cyrillic}\p{Arabic}\p{Hebrew}]+`,
		`www\.[!#-;=?-~]+`,
		`[\w.%+-]*@\w[\w.-]*`,
		`(?::[a-z0-9_+'-]{2,64}:)+`,
		`\[\^[^\[\]\s]+\]`,
		`&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});`,
	}, "|"))
})

// linkAround is where the link begins and ends that a cut at would cut in two; at, at if there is none.
func linkAround(text string, at int) (start, end int) {
	const longest = 2 << 10 // bytes; a link that is longer than a part is cut anyway
	from, to := max(at-longest, 0), min(at+min(longest, 4*at), len(text))
	if !strings.ContainsAny(text[from:to], "[<&:@w") {
		return at, at
	}
	for _, found := range link().FindAllStringIndex(text[from:to], -1) {
		start, end := from+found[0], from+found[1]
		if text[start] == ':' && strings.Contains(text[start:end], "://") {
			start++ // a colon before an address
		}
		if start < at && at < end {
			return start, end
		}
	}
	return at, at
}
