package relay

import "strings"

// quoted cuts the markers of block quotes off a line, most of them at the most: "> > text" is text in two. The first one may be
// indented by a list. The length of what is cut off is limited as that of a fence is.
func (s splitter) quoted(line string, most, list int) (quote, text string, depth int) {
	at := 0
	for s.marked && depth < most {
		rest := line[at:]
		trimmed := strings.TrimLeft(rest, " ")
		indent := len(rest) - len(trimmed)
		if indent > list+3 || trimmed == "" || trimmed[0] != '>' {
			break
		}
		list = 0
		at += indent + 1
		if at < len(line) && line[at] == ' ' {
			at++
		}
		depth++
	}
	if at > s.maxFence {
		return "", line, 0
	}
	return line[:at], line[at:], depth
}

const anyDepth = 1 << 10

// indentOf is how many columns a line begins with that are blank; a tab goes on to the next fourth one.
func indentOf(line string) int {
	return columnsOf(line[:len(line)-len(strings.TrimLeft(line, blanks))])
}

const blanks = " \t"

// columnsOf is how many columns a text has that is at the start of a line.
func columnsOf(text string) (columns int) {
	for _, r := range text {
		if columns++; r == '\t' {
			columns = (columns + 3) &^ 3
		}
	}
	return columns
}

// itemText is where the text of a list item begins, or 0 if a line is none: "- text", "12. text".
func itemText(line string) int {
	at := len(line) - len(strings.TrimLeft(line, blanks))
	marker := at
	switch {
	case at == len(line):
		return 0
	case strings.IndexByte("-*+", line[at]) >= 0:
		at++
	default:
		for at < len(line) && at-marker < 9 && '0' <= line[at] && line[at] <= '9' {
			at++
		}
		if at == marker || at == len(line) || line[at] != '.' && line[at] != ')' {
			return 0
		}
		at++
	}
	text := len(line) - len(strings.TrimLeft(line[at:], blanks))
	switch {
	case text == at: // no blank behind the marker
		return 0
	case columnsOf(line[:text])-columnsOf(line[:at]) > 4: // the item begins with code
		return at + 1
	}
	return text
}

// parseFence reads the line that opens or closes a block by CommonMark: at most so many blanks, at least three backticks or
// tildes, and then a text, which has no backtick after backticks. The fence is "" for any other line.
func (s splitter) parseFence(line string, most int) (indent, fence, info string) {
	trimmed := strings.TrimLeft(line, blanks)
	indent = line[:len(line)-len(trimmed)]
	if columnsOf(indent) > most || trimmed == "" || trimmed[0] != '`' && trimmed[0] != '~' {
		return "", "", ""
	}
	info = strings.TrimLeft(trimmed, trimmed[:1])
	fence = trimmed[:len(trimmed)-len(info)]
	if len(fence) < 3 || fence[0] == '`' && strings.Contains(info, "`") {
		return "", "", ""
	}
	return indent, fence, info
}

// opens is parseFence for a line outside a block. In a list a fence is indented, or follows the marker of its item.
func (s splitter) opens(list int, quote, text string) (indent, fence, info string) {
	most := 3
	if list > 0 {
		most += list
	}
	indent, fence, info = s.parseFence(text, most)
	if at := itemText(text); fence == "" && at > 0 && s.marked {
		indent, fence, info = s.parseFence(text[at:], 3)
		indent += strings.Repeat(" ", columnsOf(text[:at]))
	}
	if len(quote)+len(indent)+len(fence) > s.maxFence {
		return "", "", ""
	}
	return indent, fence, info
}

// closes reports whether a line, without its quote, closes the open block.
func (s splitter) closes(m *markup, text string) bool {
	_, fence, info := s.parseFence(text, max(3, columnsOf(m.indent)+3))
	return fence != "" && len(fence) >= len(m.fence) && fence[0] == m.fence[0] && strings.Trim(info, " \t\r") == ""
}

// longestFence is how long the line that opens or closes a block is at most, at least 3.
func (s splitter) longestFence(text string) int {
	longest := 3
	for line := range strings.SplitSeq(text, "\n") {
		quote, inner, _ := s.quoted(line, anyDepth, s.maxFence)
		if indent, fence, _ := s.opens(s.maxFence, quote, inner); fence != "" {
			longest = max(longest, len(quote)+len(indent)+len(fence))
		}
	}
	return longest
}

// freed is what follows a cut at m without the indentation by a list whose item is in another part.
func (s splitter) freed(m *markup, rest string) string {
	if m.outer > 0 {
		rest = s.raised(m, rest)
	}
	if columnsOf(m.indent) > 3 || s.marked && !m.open && m.list > 0 {
		rest = s.outdented(m, rest)
	}
	return rest
}

// outdented is what follows a cut at m within a list whose item is in another part, without the indentation that the item
// gave it: it would be taken for code, the line that closes a block included.
func (s splitter) outdented(m *markup, rest string) string {
	columns := m.list
	if m.open {
		columns = columnsOf(m.indent)
	}
	m.outdent(columns)
	at, all, changed := *m, rest, false
	var b strings.Builder
	if !m.within && strings.HasPrefix(rest, "\n") { // the end of the line before
		b.WriteByte('\n')
		rest = rest[1:]
	}
	for whole := !m.within; rest != ""; whole = true {
		line, after, more := strings.Cut(rest, "\n")
		quote, text, depth := s.quoted(line, m.depth, m.around())
		if !at.open && whole {
			columns = narrowed(columns, text)
		}
		if columns == 0 || depth != m.depth {
			break
		}
		if whole {
			line = quote + outdent(text, columns)
			changed = changed || len(line) < len(quote)+len(text)
		}
		s.next(&at, line, 0)
		b.WriteString(line)
		if more {
			b.WriteByte('\n')
		}
		rest = after
	}
	if !changed {
		return all
	}
	return b.String() + rest
}

// raised is what follows a cut at m within a quote that a list has indented, whose item is in another part, without that
// indentation: it would be taken for code.
func (s splitter) raised(m *markup, rest string) string {
	columns := m.outer
	m.raise(columns)
	var b strings.Builder
	whole := !m.within
	if whole && strings.HasPrefix(rest, "\n") { // the end of the line before
		b.WriteByte('\n')
		rest = rest[1:]
	}
	for rest != "" {
		line, after, more := strings.Cut(rest, "\n")
		if whole {
			if columns = narrowed(columns, line); columns == 0 {
				break
			}
			line = outdent(line, columns)
		}
		b.WriteString(line)
		if more {
			b.WriteByte('\n')
		}
		rest, whole = after, true
	}
	return b.String() + rest
}

// raise takes the indentation by a list off the quote that a part begins within.
func (m *markup) raise(columns int) {
	for _, text := range []*string{&m.quote, &m.inside, &m.line, &m.last} {
		*text = outdent(*text, columns)
	}
	first, second, isTable := strings.Cut(m.head, "\n")
	if m.head = outdent(first, columns); isTable {
		m.head += "\n" + outdent(second, columns)
	}
	m.outer = 0
}

// narrowed is how much indentation a line and those behind it lose, if those before it lost so many columns.
func narrowed(columns int, line string) int {
	if strings.TrimLeft(line, blanks) == "" {
		return columns
	}
	if columns = min(columns, indentOf(line)); columns < 4 && itemText(line) > 0 {
		return 0 // an item of its own, in which nothing is taken for code
	}
	return columns
}

// outdent takes the indentation by a list off what a part begins with.
func (m *markup) outdent(columns int) {
	m.indent, m.list = "", 0
	if m.header {
		first, second, _ := strings.Cut(m.head, "\n")
		m.head = m.inside + outdent(strings.TrimPrefix(first, m.inside), columns) + "\n" +
			m.inside + outdent(strings.TrimPrefix(second, m.inside), columns)
	}
}

// outdent is a line without the blanks in its first columns.
func outdent(line string, columns int) string {
	for at, r := range line {
		if over := columnsOf(line[:at]) - columns; over >= 0 || r != ' ' && r != '\t' {
			return strings.Repeat(" ", max(over, 0)) + line[at:]
		}
	}
	return strings.TrimLeft(line, blanks)
}
