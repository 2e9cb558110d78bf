package relay_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

var partsCounter = regexp.MustCompile(`(?s)^(.*?)( |\n\n?)\((\d+)/(\d+)\)$`)

// bare are the parts without their counters.
func bare(parts []string) (list []string) {
	for _, part := range parts {
		if found := partsCounter.FindStringSubmatch(part); found != nil {
			part = found[1]
		}
		list = append(list, part)
	}
	return list
}

// repeated is lines with their number in the place of a #.
func repeated(line string, n int) string {
	var lines []string
	for i := range n {
		lines = append(lines, strings.ReplaceAll(line, "#", fmt.Sprint(i)))
	}
	return strings.Join(lines, "\n")
}

func TestContainersGoOnInTheNextPart(t *testing.T) {
	tests := map[string]struct {
		dialect, text string
		starts        string // of each later part
		ends          string // of each part but the last, without its counter
	}{
		"a fence in a quote": {"markdown", "> See:\n> ```js\n" + repeated("> const n# = #;", 20) + "\n> ```\nDone.",
			"> ```js\n> const", "\n> ```"},
		"a fence in a quote in a quote": {"discord", "> > ~~~\n" + repeated("> > const n# = #;", 20) + "\n> > ~~~",
			"> > ~~~\n> > const", "\n> > ~~~"},
		"a fence in an item": {"markdown", "1. Do this:\n   ```sh\n" + repeated("   echo #", 30) + "\n   ```\n2. And that.",
			"   ```sh\n   echo", "\n   ```"},
		"a fence behind an item's marker": {"markdown", "- ```sh\n" + repeated("  echo #", 30) + "\n  ```\n- That.",
			"  ```sh\n  echo", "\n  ```"},
		"a fence deep in a list": {"markdown", "- a\n  - b:\n\n    ```sh\n" + repeated("    echo #", 30) + "\n    ```\n- c",
			"```sh\necho", "```"},
		"a table in a quote": {"markdown", "> | a | b |\n> |---|---|\n" + repeated("> | # | x |", 20),
			"> | a | b |\n> |---|---|\n> | ", " |"},
		"a line of a quote":       {"markdown", "> " + strings.Repeat("word ", 60), "> word", "word"},
		"code by its indentation": {"markdown", "This:\n\n" + repeated("    line # of it", 20), "    line ", " of it"},
		"code in tabs":            {"slack", "This:\n\n" + repeated("\tline # of it", 20), "\tline ", " of it"},
		"a fence in an item with tabs": {"markdown", "-\titem\n\n\t```sh\n" + repeated("\techo #", 30) + "\n\t```\n-\tc",
			"```sh\necho", "```"},
		"a fence below a numbered item": {"discord", "10. item\n\n\t~~~\n" + repeated("\techo #", 30) + "\n\t~~~\n11. c",
			"~~~\necho", "~~~"},
		"a table below a numbered item": {"markdown", "10. item\n\n    | a | b |\n    |---|---|\n" + repeated("    | # | x |", 30),
			"| a | b |\n|---|---|\n| ", " |"},
		"paragraphs of a numbered item": {"markdown", "10. item\n\n" + strings.ReplaceAll(repeated("    paragraph # of it", 30), "\n", "\n\n"),
			"paragraph ", ""},
		"paragraphs deep in a list": {"discord", "- a\n  - b\n\n" + strings.ReplaceAll(repeated("    paragraph # of it", 30), "\n", "\n\n"),
			"paragraph ", ""},
		"items below items": {"discord", "- a\n" + repeated("  - item #", 30), "  - item ", ""},
		"carriage returns":  {"markdown", strings.ReplaceAll(repeated("line # of it", 30), "\n", "\r\n"), "line ", " of it"},
		"carriage returns in code": {"discord", strings.ReplaceAll("```go\n"+repeated("line # of it", 30)+"\n```", "\n", "\r\n"),
			"```go\nline ", " of it\n```"},
		"a quote deep in a list":          {"discord", "- a\n  - b\n\n    > " + strings.Repeat("word ", 60), "> word", "word"},
		"lines of a quote deep in a list": {"markdown", "10. item\n\n" + repeated("    > line # of it", 30), "> line ", " of it"},
		"a fence in a quote deep in a list": {"markdown", "10. item\n\n    > ~~~sh\n" + repeated("    > echo #", 30) + "\n    > ~~~\n",
			"> ~~~sh\n> echo", "> ~~~"},
		"a fence in quotes deep in a list": {"discord", "10. item\n\n    > > ~~~sh\n" + repeated("    > > echo #", 30) + "\n    > > ~~~\n",
			"> > ~~~sh\n> > echo", "> > ~~~"},
		"a table in a quote deep in a list": {"markdown", "10. item\n\n    > | a | b |\n    > |---|---|\n" + repeated("    > | # | x |", 30),
			"> | a | b |\n> |---|---|\n> | ", " |"},
		"a plain platform": {"plain", "a\n" + repeated("> line # of a shell", 20), "> line ", " of a shell"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := relay.Descriptor{MaxMessageLength: 120, LenUnit: relay.UnitChars, MarkdownDialect: tt.dialect}
			parts := d.Split(tt.text)
			if len(parts) < 3 {
				t.Fatalf("%d parts", len(parts))
			}
			for i, part := range bare(parts) {
				if i > 0 && i < len(parts)-1 && !strings.HasPrefix(part, tt.starts) {
					t.Errorf("part %d begins with %.40q", i+1, part)
				}
				if i < len(parts)-1 && !strings.HasSuffix(part, tt.ends) {
					t.Errorf("part %d ends in %q", i+1, part[max(0, len(part)-40):])
				}
				if d.Len(parts[i]) > 120 {
					t.Errorf("part %d has %d units", i+1, d.Len(parts[i]))
				}
				if strings.Contains(part, "\r") {
					t.Errorf("part %d has a carriage return", i+1)
				}
			}
		})
	}
}

// What was below an item is no code where the item is in another part; code below it keeps its own indentation.
func TestAnItemsTextIsNoCodeInTheNextPart(t *testing.T) {
	is := is.New(t)
	d := relay.Descriptor{MaxMessageLength: 100, LenUnit: relay.UnitChars, MarkdownDialect: "markdown"}
	parts := bare(d.Split("10. " + strings.Repeat("word ", 16) + "\n\n    first\n\n    ```\n    code\n        more\n    ```\n\n    last\n11. next"))
	is.Equal(parts[1], "word \n\nfirst\n\n```\ncode\n    more\n```\n\nlast\n11. next")
}

// What follows a quote in an item, whose marker is in another part, is no code either.
func TestAnItemGoesOnBehindItsQuote(t *testing.T) {
	is := is.New(t)
	d := relay.Descriptor{MaxMessageLength: 100, LenUnit: relay.UnitChars, MarkdownDialect: "markdown"}
	parts := bare(d.Split("10. item\n\n    > " + strings.Repeat("word ", 16) + "\n    > two\n    >\n    >     code\n\n    last\n\n    > again\n11. next"))
	is.Equal(parts[1], "> word word \n> two\n>\n>     code\n\nlast\n\n> again\n11. next")
	parts = bare(d.Split("1. " + strings.Repeat("word ", 20) + "\n\n       > code, not a quote\n" + strings.Repeat("word ", 20)))
	is.True(strings.Contains(strings.Join(parts, "\n"), "    > code, not a quote"))
}

// A table is over where it ends, also if a part does.
func TestNoHeadComesAgainBehindItsTable(t *testing.T) {
	is := is.New(t)
	for rows := range 30 {
		d := relay.Descriptor{MaxMessageLength: 120, LenUnit: relay.UnitChars, MarkdownDialect: "markdown"}
		text := "| a | b |\n|---|---|\n" + repeated("| # | x |", rows+1) + "\n\nSome prose, and more of it, that is no row of any table.\n\n" + strings.Repeat("word ", 30)
		for _, part := range bare(d.Split(text)) {
			is.True(!strings.Contains(part, "|---|---|\nSome"))
		}
	}
}

// What a quote holds is over where the quote is: what follows is no code.
func TestABlockEndsWithItsQuote(t *testing.T) {
	is := is.New(t)
	d := relay.Descriptor{MaxMessageLength: 120, LenUnit: relay.UnitChars, MarkdownDialect: "markdown"}
	for i, part := range bare(d.Split("> ```\n> code\n\n" + repeated("line # of prose", 20))) {
		is.True(i == 0 || !strings.Contains(part, "`"))
	}
}

// In CommonMark a counter right below, or behind, would be read as part of what is above it.
func TestACounterStandsByItself(t *testing.T) {
	prose := strings.Repeat("some words of prose, and more of them. ", 3)
	tests := map[string]string{
		"code by its indentation": "\n\n" + repeated("    line #", 3),
		"a table":                 "\n\n| a | b |\n|---|---|\n| 1 | 2 |",
		"a reference":             "\n\n[1]: https://x.example/a",
		"a line below a heading":  "\n\nA heading of the next part\n---",
		"a rule":                  "\n\nAnd a rule below it all\n\n* * *",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			d := relay.Descriptor{MaxMessageLength: 130, LenUnit: relay.UnitChars, MarkdownDialect: "markdown"}
			parts := d.Split(prose + text)
			is.True(len(parts) > 1)
			is.True(strings.HasSuffix(parts[len(parts)-1], fmt.Sprintf("\n\n(%d/%d)", len(parts), len(parts))))
		})
	}
}

func TestWhatIsOneForItsReaderStaysWhole(t *testing.T) {
	long := strings.Repeat("p/", 30)
	for _, whole := range []string{
		`[the manual of it](https://x.example/m "the title of it")`,
		`[the manual of it](https://x.example/m 'the title of it')`,
		`[the manual of it](<https://x.example/a b c d>)`,
		`[the manual [first part] of it](https://x.example/m)`,
		`![a picture of it](https://x.example/a.png)`,
		`[![a picture of it](https://x.example/a.png)](https://x.example/big)`,
		`[the manual of it][the reference]`,
		`<https://x.example/some/path/to/it>`,
		`<https://x.example/a|the label of it>`,
		`<mailto:ada@example.org|write to her>`,
		`<@U12345678|ada of the team>`, `<#C12345|the channel>`, `<!subteam^S123|@the team of it>`, `<!date^1392734382^{date} at {time}|then>`,
		`<:party_blob:123456789012345678>`, `<t:1618953630:R>`, `</deploy now:1234567890>`, `<ada.lovelace@example.org>`,
		`https://x.example/` + long, `tg://resolve?domain=example_bot_of_ours`, `ftp://x.example/some/file.txt`,
		`www.example.org/some/path`, `ada.lovelace@example.org`, `@ada_lovelace`, `:thumbsup::skin-tone-2:`, `[^note1]`,
		`<a href="https://x.example/a">the label</a>`, `<span class="tg-spoiler">`, `\.`, `<@&123456789012345678>`,
		`&CounterClockwiseContourIntegral;`, `&#x1F600;`,
		`👨‍👩‍👧‍👦`, `🏴󠁧󠁢󠁳󠁣󠁴󠁿`, `👍🏽`, `❤️‍🔥`, `1️⃣`, `ก็`, `각`, `ק֑֗`,
	} {
		t.Run(whole, func(t *testing.T) {
			for n := 10; n < 105; n++ { // wherever it stands
				for _, filler := range []string{"这", "w "}[:1+n%2] {
					text := strings.Repeat(filler, n) + whole + strings.Repeat(filler, 50)
					d := relay.Descriptor{MaxMessageLength: 110, LenUnit: relay.UnitUTF16, MarkdownDialect: "slack"}
					parts := d.Split(text)
					if strings.Count(strings.Join(parts, "\n"), whole) != 1 {
						t.Fatalf("behind %d of %q it is cut: %q", n, filler, parts)
					}
				}
			}
		})
	}
}

func TestSplittingOddTexts(t *testing.T) {
	for name, text := range map[string]string{
		"blanks":             strings.Repeat(" ", 500),
		"line feeds":         strings.Repeat("\n", 500),
		"tabs and returns":   strings.Repeat("\t\r\n", 200),
		"one word":           strings.Repeat("x", 500),
		"right to left":      strings.Repeat("שלום עולם ", 50) + strings.Repeat("\u200fمرحبا", 40),
		"isolates":           strings.Repeat("\u2067אבג\u2069 abc ", 60),
		"marks on one":       "a" + strings.Repeat("\u0301", 400),
		"quotes without end": strings.Repeat(">", 500),
		"items without end":  strings.Repeat("- ", 250),
		"brackets":           strings.Repeat("[", 500),
		"angles":             strings.Repeat("<a:", 200),
	} {
		t.Run(name, func(t *testing.T) {
			for _, limit := range []int{32, 40, 100, 255} {
				for _, unit := range []string{relay.UnitChars, relay.UnitUTF16} {
					checkParts(t, text, limit, unit)
				}
			}
		})
	}
}

// document is random Markdown in which each line says what it is and has a number of its own.
type document struct {
	rnd   *rand.Rand
	lines []string
	ids   int
}

func (d *document) line(prefix, kind string) {
	d.ids++
	d.lines = append(d.lines, prefix+fmt.Sprintf("%s%d", kind, d.ids)+strings.Repeat(" word", d.rnd.IntN(8)))
}

func (d *document) raw(lines ...string) { d.lines = append(d.lines, lines...) }

func (d *document) block(prefix string) {
	fence := strings.Repeat([]string{"`", "~"}[d.rnd.IntN(2)], 3+d.rnd.IntN(3))
	d.raw(prefix + fence + []string{"", "go", "sh -x"}[d.rnd.IntN(3)])
	for range 1 + d.rnd.IntN(12) {
		switch d.rnd.IntN(6) {
		case 0:
			d.raw(prefix + fence[:2])
		case 1:
			d.line(prefix+"    ", "code")
		default:
			d.line(prefix, "code")
		}
	}
	d.raw(prefix + fence)
}

// randomDocument is Markdown of all kinds.
func randomDocument(seed uint64) *document {
	d := &document{rnd: rand.New(rand.NewPCG(seed, 3))}
	for range 2 + d.rnd.IntN(8) {
		switch d.rnd.IntN(10) {
		case 8:
			d.raw("10. an item:", "")
			d.block("    > ")
		case 9:
			d.raw("10. an item:", "")
			for range 1 + d.rnd.IntN(10) {
				d.line("    > ", "prose")
			}
			d.raw("")
			d.line("    ", "prose")
		case 0:
			d.block("")
		case 1:
			d.block("> ")
		case 2:
			d.block("> > ")
		case 3:
			d.raw("1. an item:")
			d.block("   ")
		case 4:
			for range 1 + d.rnd.IntN(10) {
				d.line("> ", "prose")
			}
		case 5:
			d.raw("| a | b |", "|---|---|")
			for range 1 + d.rnd.IntN(10) {
				d.line("| ", "prose")
				d.lines[len(d.lines)-1] += " | x |"
			}
		case 6:
			for range 1 + d.rnd.IntN(10) {
				d.line("- ", "prose")
			}
		default:
			for range 1 + d.rnd.IntN(6) {
				d.line("", "prose")
			}
		}
		d.raw("")
	}
	return d
}

var (
	anyFence = regexp.MustCompile("^ {0,3}(`{3,}|~{3,})(.*)$")
	numbered = regexp.MustCompile(`(code|prose)(\d+)\b`)
)

// checkDocument says what is wrong with the parts of a document as CommonMark reads each of them.
func checkDocument(parts []string) (ids []string, fault string) {
	for n, part := range parts {
		fence, depth, item := "", 0, false
		for line := range strings.SplitSeq(part, "\n") {
			quotes := 0
			if inner, is := strings.CutPrefix(line, "    "); is && item {
				line = inner
			} else {
				item = strings.HasPrefix(line, "10. ") || item && line == ""
			}
			if fence == "" && strings.HasPrefix(line, "    ") && strings.Contains(line, "prose") {
				return nil, fmt.Sprintf("part %d: %q is code:\n%s", n+1, line, part)
			}
			for fence == "" || quotes < depth {
				inner, is := strings.CutPrefix(line, "> ")
				if !is {
					break
				}
				line = inner
				quotes++
			}
			if fence != "" && quotes < depth {
				fence = "" // the quote is over
			}
			m := anyFence.FindStringSubmatch(line)
			switch {
			case fence == "" && m != nil:
				fence, depth = m[1], quotes
				continue
			case fence != "" && m != nil && m[1][0] == fence[0] && len(m[1]) >= len(fence) && strings.TrimSpace(m[2]) == "":
				fence = ""
				continue
			}
			for _, found := range numbered.FindAllStringSubmatch(line, -1) {
				ids = append(ids, found[2])
				if (found[1] == "code") != (fence != "") {
					return nil, fmt.Sprintf("part %d: %q is in the wrong place:\n%s", n+1, line, part)
				}
			}
		}
		if fence != "" {
			return nil, fmt.Sprintf("part %d leaves a block open:\n%s", n+1, part)
		}
	}
	return ids, ""
}

// However a document is cut, each part reads as it did: code as code, prose as prose, all of it once and in order.
func TestPartsOfADocumentReadAsTheDocument(t *testing.T) {
	for seed := range uint64(3000) {
		doc := randomDocument(seed)
		text := strings.Join(doc.lines, "\n")
		d := relay.Descriptor{MaxMessageLength: 120 + int(seed%7)*60, LenUnit: relay.UnitChars, MarkdownDialect: "markdown"}
		parts := d.Split(text)
		for _, part := range parts {
			if d.Len(part) > d.MaxMessageLength {
				t.Fatalf("seed %d: a part has %d units:\n%s", seed, d.Len(part), part)
			}
		}
		ids, fault := checkDocument(parts)
		if fault != "" {
			t.Fatalf("seed %d: %s", seed, fault)
		}
		for i, id := range ids {
			if id != fmt.Sprint(i+1) {
				t.Fatalf("seed %d: %s comes where %d should:\n%s", seed, id, i+1, strings.Join(parts, "\n=====\n"))
			}
		}
		if len(ids) != doc.ids {
			t.Fatalf("seed %d: %d lines of %d", seed, len(ids), doc.ids)
		}
	}
}
