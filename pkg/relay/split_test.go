package relay_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// longText is a text of the cases: as it is, or in pieces.
type longText struct {
	Pieces []struct {
		Text, Repeat, Join string
		Times              int
	}
	CodePoints int `json:"code_points"`
	UTF16      int `json:"utf16_units"`
	SHA256     string
}

func (l longText) text(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, p := range l.Pieces {
		b.WriteString(p.Text)
		for i := range p.Times {
			if i > 0 {
				b.WriteString(p.Join)
			}
			b.WriteString(strings.ReplaceAll(p.Repeat, "{i}", strconv.Itoa(i)))
		}
	}
	sum := sha256.Sum256([]byte(b.String()))
	if hex.EncodeToString(sum[:]) != l.SHA256 {
		t.Fatal("the text is not what the case means")
	}
	return b.String()
}

// splitCase is one case of splitting.json, whose description says what the members mean.
type splitCase struct {
	ID, About string
	Given     struct {
		Descriptor json.RawMessage
		Text       longText
	}
	Expect struct {
		Parts            struct{ Min, Max int }
		WithinLimit      bool      `json:"within_limit"`
		Counters         bool      `json:"counters"`
		Balanced         bool      `json:"balanced"`
		BalancedContents bool      `json:"balanced_contents"`
		SameLines        bool      `json:"same_lines"`
		FenceLines       *[]string `json:"fence_lines_besides"`
		LineStates       []struct{ Line, State string }
		LaterBegin       []string `json:"later_parts_begin"`
		LaterBeginInCode []string `json:"later_parts_begin_if_cut_in_code"`
		FirstBegins      []string `json:"first_part_begins"`
		Rows             *struct {
			Line string
			Are  longText
		}
		OtherLines    []string `json:"other_lines"`
		Concatenation bool
		Graphemes     []string
		AtLeast       int `json:"all_but_last_at_least"`
	}
}

// counted is a part and its counter.
var counted = regexp.MustCompile(`(?s)^(.*?)( |\n\n?)\(([0-9]+)/([0-9]+)\)$`)

// scanned is a line and what CommonMark takes it for.
type scanned struct{ line, state string }

// scanLines goes by CommonMark's rules for fences of backticks, as the cases describe them.
func scanLines(text string) (lines []scanned, open bool) {
	opening := regexp.MustCompile("^ {0,3}(`{3,})[^`]*$")
	closing := regexp.MustCompile("^ {0,3}(`{3,})[ \t]*$")
	fence := 0
	for line := range strings.SplitSeq(text, "\n") {
		state := "prose"
		switch m, end := opening.FindStringSubmatch(line), closing.FindStringSubmatch(line); {
		case fence > 0 && end != nil && len(end[1]) >= fence:
			fence, state = 0, "fence"
		case fence > 0:
			state = "code"
		case m != nil:
			fence, state = len(m[1]), "fence"
		}
		lines = append(lines, scanned{line, state})
	}
	return lines, fence > 0
}

// withoutFences are the lines of a text that are not fences.
func withoutFences(text string) (lines []string) {
	all, _ := scanLines(text)
	for _, l := range all {
		if l.state != "fence" {
			lines = append(lines, l.line)
		}
	}
	return lines
}

func TestSplitCases(t *testing.T) {
	raw, err := os.ReadFile("testdata/splitting.json")
	is.New(t).NoErr(err)
	var file struct {
		Description string
		Cases       []splitCase
	}
	decoder := json.NewDecoder(bytes.NewReader(bytes.ReplaceAll(raw, []byte(`"line_states"`), []byte(`"LineStates"`))))
	decoder.DisallowUnknownFields() // each expectation is one that is checked
	is.New(t).NoErr(decoder.Decode(&file))
	for _, c := range file.Cases {
		t.Run(c.ID, func(t *testing.T) {
			is := is.New(t)
			var d relay.Descriptor
			is.NoErr(json.Unmarshal(c.Given.Descriptor, &d))
			c.check(t, d, c.Given.Text.text(t), d.Split(c.Given.Text.text(t)))
		})
	}
}

func (c splitCase) check(t *testing.T, d relay.Descriptor, text string, parts []string) {
	is, want := is.New(t), c.Expect
	is.True(want.Parts.Min <= len(parts) && len(parts) <= want.Parts.Max)
	var contents []string
	for k, part := range parts {
		is.True(!want.WithinLimit || d.Len(part) <= d.MaxMessageLength)
		m := counted.FindStringSubmatch(part)
		is.True(m != nil)
		is.Equal([]string{m[3], m[4]}, []string{strconv.Itoa(k + 1), strconv.Itoa(len(parts))})
		contents = append(contents, m[1])
		is.True(k == len(parts)-1 || d.Len(m[1]) >= want.AtLeast)
	}
	c.checkLines(t, parts, contents)
	if want.SameLines {
		var lines []string
		for _, content := range contents {
			lines = append(lines, withoutFences(content)...)
		}
		is.Equal(lines, withoutFences(text))
	}
	if want.Concatenation {
		is.Equal(strings.Join(contents, ""), text)
	}
	for _, content := range contents {
		for len(want.Graphemes) > 0 && content != "" {
			i := slices.IndexFunc(want.Graphemes, func(g string) bool { return strings.HasPrefix(content, g) })
			is.True(i >= 0) // whole characters only
			content = content[len(want.Graphemes[i]):]
		}
	}
	if want.Rows != nil {
		var rows []string
		for _, content := range contents {
			for line := range strings.SplitSeq(content, "\n") {
				if regexp.MustCompile(want.Rows.Line).MatchString(line) {
					rows = append(rows, line)
				} else {
					is.True(slices.Contains(want.OtherLines, line))
				}
			}
		}
		is.Equal(rows, strings.Split(want.Rows.Are.text(t), "\n"))
	}
}

// checkLines checks what each part is for a reader.
func (c splitCase) checkLines(t *testing.T, parts, contents []string) {
	is, want := is.New(t), c.Expect
	begins := func(part string, lines []string) bool {
		return strings.HasPrefix(part+"\n", strings.Join(lines, "\n")+"\n")
	}
	is.True(len(want.FirstBegins) == 0 || begins(parts[0], want.FirstBegins))
	for k, part := range parts {
		lines, open := scanLines(part)
		is.True(!want.Balanced || !open)
		of, open := scanLines(contents[k])
		is.True(!want.BalancedContents || !open)
		for _, l := range of {
			is.True(want.FenceLines == nil || l.state != "fence" || slices.Contains(*want.FenceLines, l.line))
		}
		for _, l := range lines {
			for _, s := range want.LineStates {
				if regexp.MustCompile(s.Line).MatchString(l.line) && l.state != s.State {
					t.Errorf("part %d: %q is %s, want %s", k+1, l.line, l.state, s.State)
				}
			}
		}
		if k == 0 {
			continue
		}
		is.True(len(want.LaterBegin) == 0 || begins(part, want.LaterBegin))
		first := slices.IndexFunc(lines, func(l scanned) bool { return l.state != "fence" })
		if len(want.LaterBeginInCode) > 0 && first >= 0 && lines[first].state == "code" {
			is.True(begins(part, want.LaterBeginInCode))
		}
	}
}

func TestSplitAsAReaderSeesIt(t *testing.T) {
	const prose = "All of this is prose, and there is a lot of it to be read. "
	tests := map[string]struct {
		dialect, text string
		limit         int
		want          []string
	}{
		"tildes, which hold backticks": {"markdown", "~~~sh\necho one line of it\n```\necho another line\necho a third line\n~~~\nend", 50, []string{
			"~~~sh\necho one line of it\n```\n~~~\n(1/3)", "~~~sh\necho another line\n~~~\n(2/3)", "~~~sh\necho a third line\n~~~\nend (3/3)",
		}},
		"a block is not opened at the end of a part": {"discord", prose + "\n```go\nfunc main() {\n\treturn\n}\n```", 80, []string{
			prose + " (1/2)", "```go\nfunc main() {\n\treturn\n}\n``` (2/2)",
		}},
		"a block that ends where the part ends": {"discord", "```\nsome line of code, the first\nsome line of code, the second\n```\nThat was it, more or less.", 80, []string{
			"```\nsome line of code, the first\nsome line of code, the second\n``` (1/2)", "That was it, more or less. (2/2)",
		}},
		"a link stays whole": {"discord", "Please read all of [the manual of the thing](https://example.org/m) first.", 70, []string{
			"Please read all of (1/2)", "[the manual of the thing](https://example.org/m) first. (2/2)",
		}},
		"an address without blanks around it": {"discord", "这里没有任何可以断行的空白这里没有任何可以断行:https://example.org/abc", 45, []string{
			"这里没有任何可以断行的空白这里没有任何可以断行: (1/2)", "https://example.org/abc (2/2)",
		}},
		"a table's head stays with its rows": {"markdown", prose + "\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |\n| 7 | 8 |", 90, []string{
			prose + " (1/2)", "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |\n| 7 | 8 |\n\n(2/2)",
		}},
		"bars that are no table": {"markdown", "this | that\nor the other | thing and some more words\nand | so on and so on", 60, []string{
			"this | that\nor the other | thing and some (1/2)", "more words\nand | so on and so on (2/2)",
		}},
		"blanks of code that is cut within a line": {"discord", "```\n" + strings.Repeat("a  ", 30) + "\n```", 60, []string{
			"```\n" + strings.Repeat("a  ", 13) + "a \n``` (1/3)", "```\n" + strings.Repeat(" a ", 13) + " a\n``` (2/3)",
			"```\n" + strings.Repeat("  a", 2) + "  \n``` (3/3)",
		}},
		"flags": {"telegram", strings.Repeat("🇩🇪🇫🇷", 10), 36, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := relay.Descriptor{MaxMessageLength: tt.limit, LenUnit: relay.UnitUTF16, MarkdownDialect: tt.dialect}
			got := d.Split(tt.text)
			for _, part := range got {
				if d.Len(part) > tt.limit {
					t.Errorf("%q has %d units, over %d", part, d.Len(part), tt.limit)
				}
			}
			if tt.want == nil {
				for _, part := range got {
					is.New(t).True(strings.HasPrefix(part, "🇩🇪") || strings.HasPrefix(part, "🇫🇷"))
				}
				return
			}
			is.New(t).Equal(got, tt.want)
		})
	}
}
