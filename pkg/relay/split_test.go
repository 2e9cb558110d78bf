package relay_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

var (
	openingFence = regexp.MustCompile("^ {0,3}(`{3,})[^`]*$")
	closingFence = regexp.MustCompile("^ {0,3}(`{3,})[ \t]*$")
)

// leavesOpen reports whether a text ends within a block of backticks, by CommonMark.
func leavesOpen(text string) bool {
	fence := 0
	for line := range strings.SplitSeq(text, "\n") {
		switch m, end := openingFence.FindStringSubmatch(line), closingFence.FindStringSubmatch(line); {
		case fence > 0 && end != nil && len(end[1]) >= fence:
			fence = 0
		case fence == 0 && m != nil:
			fence = len(m[1])
		}
	}
	return fence > 0
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
		"inline code that is cut": {"discord", "All of this is only prose, and then `there is code` in it.", 50, []string{
			"All of this is only prose, and then (1/2)", "`there is code` in it. (2/2)",
		}},
		"inline code that is over, and an escaped tick": {"discord", "All of this is prose, `code` is over, and \\` is a tick, no more", 60, []string{
			"All of this is prose, `code` is over, and \\` (1/2)", "is a tick, no more (2/2)",
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
