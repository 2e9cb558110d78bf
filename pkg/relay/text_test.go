package relay_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestTextLen(t *testing.T) {
	type length struct {
		Text         string
		Chars, UTF16 int
	}
	note := func(c length) string { return c.Text }
	eachVector(t, vectors[length](t, "text_lengths"), note, nil, func(c length) string {
		return unlike("chars", relay.TextLen(c.Text, relay.UnitChars), c.Chars) +
			unlike("utf16", relay.TextLen(c.Text, relay.UnitUTF16), c.UTF16) +
			unlike("unknown unit", relay.TextLen(c.Text, "bytes"), c.Chars)
	})
}

// The last character of the first plane is one unit of UTF-16, the next one two.
func TestTheEndOfTheFirstPlane(t *testing.T) {
	is := is.New(t)
	for text, parts := range map[string]int{strings.Repeat("\uffff", 40): 1, strings.Repeat("\U00010000", 20): 1, strings.Repeat("\U00010000", 21): 2} {
		is.Equal(len(split(text, 40, relay.UnitUTF16)), parts)
	}
	is.True(strings.Count(split(strings.Repeat("\uffff", 120), 40, relay.UnitUTF16)[0], "\uffff") > 20)
}

// split cuts text for a platform with a limit in a unit, and no dialect.
func split(text string, limit int, unit string) []string {
	return relay.Descriptor{MaxMessageLength: limit, LenUnit: unit}.Split(text)
}

func TestSplitText(t *testing.T) {
	type chunks struct {
		Note      string
		Text      string
		MaxLength int    `json:"max_length"`
		LenUnit   string `json:"len_unit"`
		Chunks    []string
	}
	differences := map[string]string{
		"a split inside a fence closes it and reopens it with the language tag": "an empty block before the last part: the line " +
			"that closes the part before is the block's own",
	}
	note := func(c chunks) string { return c.Note }
	eachVector(t, vectors[chunks](t, "chunks"), note, differences, func(c chunks) string {
		return unlike("parts", split(c.Text, c.MaxLength, c.LenUnit), c.Chunks)
	})
}

func TestSplitTextKeepsItsLimit(t *testing.T) {
	tests := map[string]string{
		"ten thousand parts":             strings.Repeat("x", 200_000),
		"endless language of a fence":    "```" + strings.Repeat("l", 300) + "\n" + strings.Repeat("code\n", 100) + "```",
		"unclosed fence in the last":     "```go\n" + strings.Repeat("x", 40),
		"a blank at the start, no other": " " + strings.Repeat("x", 100),
		"nothing but backticks":          strings.Repeat("`", 500),
		"nothing but escaped backticks":  strings.Repeat("\\`", 500),
		"astral":                         strings.Repeat("😀", 500),
		"broken UTF-8":                   strings.Repeat("\xff\xf0\x9f", 200),
	}
	for name, text := range tests {
		for _, unit := range []string{relay.UnitChars, relay.UnitUTF16} {
			t.Run(name+" in "+unit, func(t *testing.T) {
				for _, limit := range []int{32, 33, 50, 100} {
					checkParts(t, text, limit, unit)
				}
			})
		}
	}
}

// checkParts demands that the parts of text keep the limit and that nothing but white space is lost.
func checkParts(t *testing.T, text string, limit int, unit string) {
	t.Helper()
	checkCut(t, text, limit, relay.Descriptor{MaxMessageLength: limit, LenUnit: unit, MarkdownDialect: "markdown"})
	parts := split(text, limit, unit)
	var got []rune
	for i, part := range parts {
		if n := relay.TextLen(part, unit); limit >= 32 && n > limit {
			t.Fatalf("part %d of %d has %d %s, over %d: %q", i+1, len(parts), n, unit, limit, part)
		}
		if utf8.ValidString(text) && !utf8.ValidString(part) {
			t.Fatalf("part %d is cut within a character: %q", i+1, part)
		}
		if len(parts) > 1 {
			counter := fmt.Sprintf(" (%d/%d)", i+1, len(parts))
			if !strings.HasSuffix(part, counter) {
				t.Fatalf("part %q does not end in %q", part, counter)
			}
			part = strings.TrimSuffix(part, counter)
		}
		got = append(got, solid(part)...)
	}
	want := solid(text)
	if !strings.Contains(text, "```") && !strings.ContainsAny(text, "~|") {
		is.New(t).Equal(string(got), string(want))
		return
	}
	for _, r := range got { // fences, and heads of tables, come in addition
		if len(want) > 0 && r == want[0] {
			want = want[1:]
		}
	}
	if len(want) > 0 {
		t.Fatalf("limit %d %s: lost %.80q", limit, unit, string(want))
	}
}

// checkCut demands of the parts for a platform with CommonMark that they keep the limit and leave no block open.
func checkCut(t *testing.T, text string, limit int, d relay.Descriptor) {
	t.Helper()
	parts := d.Split(text)
	short := len(parts) > 1 && !strings.Contains(text, "~~~") // and no line has to be cut
	for line := range strings.SplitSeq(text, "\n") {
		short = short && len(line) < limit/8
	}
	for i, part := range parts {
		if n := d.Len(part); limit >= 32 && n > limit {
			t.Fatalf("part %d has %d %s, over %d: %q", i+1, n, d.LenUnit, limit, part)
		}
		if short && leavesOpen(part) {
			t.Fatalf("part %d leaves a block open: %q", i+1, part)
		}
	}
}

// solid is text without its white space.
func solid(text string) []rune {
	return []rune(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f {
			return -1
		}
		return r
	}, text))
}

func FuzzSplitText(f *testing.F) { // every limit ends, and one of 32 or more is kept
	for _, c := range vectors[struct {
		Text      string
		MaxLength int `json:"max_length"`
	}](f, "chunks") {
		f.Add(c.Text, c.MaxLength, true)
		f.Add(c.Text, max(c.MaxLength, 32), false)
	}
	f.Add("| a | b |\n|---|:-:|\n"+strings.Repeat("| x | y |\n", 20), 100, true)
	f.Add("````md\n```sh\n"+strings.Repeat("  ls\n", 40)+"```\n````\n[a b c](https://x.example/)", 100, true)
	f.Add("```go one\nx ` y\\` z\n``` \u2028 `a b c` "+strings.Repeat("😀 ", 40), 32, true)
	f.Fuzz(func(t *testing.T, text string, limit int, wide bool) {
		unit := relay.UnitChars
		if wide {
			unit = relay.UnitUTF16
		}
		checkParts(t, text, limit, unit)
	})
}

func BenchmarkSplitText(b *testing.B) { // ten times the text takes ten times as long
	for _, words := range []int{20_000, 200_000} {
		text := strings.Repeat("word `code` ", words)
		b.Run(fmt.Sprint(len(text)), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				split(text, 2000, relay.UnitUTF16)
			}
		})
	}
}

// Whatever a text is made of, cutting it copies no more than a few times its length: a part is not paid for with all that
// follows it.
func TestSplittingCopiesLittle(t *testing.T) {
	const size = 1 << 20
	for _, head := range []string{"", "- a\n  - b\n\n    ```\n"} {
		for _, piece := range []string{"    x\n", "    x y z\n\n", "> > a\n", "x", "`a ", " \n", "- a\n", "  - a\n"} {
			text := head + strings.Repeat(piece, size/len(piece))
			d := relay.Descriptor{MaxMessageLength: 200, LenUnit: relay.UnitChars, MarkdownDialect: "markdown"}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			parts := d.Split(text)
			runtime.ReadMemStats(&after)
			if copied := (after.TotalAlloc - before.TotalAlloc) / size; copied > 40 {
				t.Errorf("%q behind %q: %d times its length for %d parts", piece, head, copied, len(parts))
			}
		}
	}
}
