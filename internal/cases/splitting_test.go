package cases

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// cuts is what a case expects of the parts of a text.
type cuts struct {
	Parts            *struct{ Min, Max int }        `json:"parts"`
	WithinLimit      bool                           `json:"within_limit"`
	Counters         bool                           `json:"counters"`
	Balanced         bool                           `json:"balanced"`
	BalancedContents bool                           `json:"balanced_contents"`
	SameLines        bool                           `json:"same_lines"`
	Besides          []string                       `json:"fence_lines_besides"` // nil: not said
	States           []struct{ Line, State string } `json:"line_states"`
	LaterBegin       []string                       `json:"later_parts_begin"`
	LaterBeginInCode []string                       `json:"later_parts_begin_if_cut_in_code"`
	FirstBegins      []string                       `json:"first_part_begins"`
	Rows             *struct {
		Line string `json:"line"`
		Are  text   `json:"are"`
	} `json:"rows"`
	OtherLines    []string `json:"other_lines"`
	Concatenation bool     `json:"concatenation"`
	Graphemes     []string `json:"graphemes"`
	AllButLast    int      `json:"all_but_last_at_least"`
}

// scanned is a line with what CommonMark makes of it, backtick fences alone: fence, code or prose.
type scanned struct{ text, state string }

var (
	opening = regexp.MustCompile("^ {0,3}(`{3,})[^`]*$")
	closing = regexp.MustCompile("^ {0,3}(`{3,})[ \t]*$")
)

func scan(s string) (lines []scanned, open bool) {
	fence := 0
	for line := range strings.SplitSeq(s, "\n") {
		state := "prose"
		switch begins, ends := opening.FindStringSubmatch(line), closing.FindStringSubmatch(line); {
		case fence > 0 && ends != nil && len(ends[1]) >= fence:
			state, fence = "fence", 0
		case fence > 0:
			state = "code"
		case begins != nil:
			state, fence = "fence", len(begins[1])
		}
		lines = append(lines, scanned{line, state})
	}
	return lines, fence > 0
}

func TestSplitting(t *testing.T) {
	type given struct {
		Descriptor struct {
			Platform string `json:"platform"`
			Limit    int    `json:"max_message_length"`
			Unit     string `json:"len_unit"`
			Dialect  string `json:"markdown_dialect"`
		} `json:"descriptor"`
		Text text `json:"text"`
	}
	for _, c := range load[given, cuts](t, "splitting.json") {
		t.Run(c.ID, func(t *testing.T) {
			d := relay.Descriptor{
				Platform: c.Given.Descriptor.Platform, MaxMessageLength: c.Given.Descriptor.Limit,
				LenUnit: c.Given.Descriptor.Unit, MarkdownDialect: c.Given.Descriptor.Dialect,
			}
			judge(t, c.ID, c.Expect.check(string(c.Given.Text), d))
		})
	}
}

func (e *cuts) check(whole string, d relay.Descriptor) (f faults) {
	parts := d.Split(whole)
	var contents []string
	for i, part := range parts {
		if e.WithinLimit && units(part, d.LenUnit) > d.MaxMessageLength {
			f.addf("part %d has %d units", i+1, units(part, d.LenUnit))
		}
		if e.Counters && !strings.HasSuffix(part, fmt.Sprintf("(%d/%d)", i+1, len(parts))) {
			f.addf("part %d ends in %s", i+1, short(part[max(0, len(part)-20):]))
		}
		contents = append(contents, uncounted(part))
	}
	if e.Parts != nil && (len(parts) < e.Parts.Min || len(parts) > e.Parts.Max) {
		f.addf("%d parts, want %d to %d", len(parts), e.Parts.Min, e.Parts.Max)
	}
	e.checkFences(parts, contents, whole, &f)
	e.checkStarts(contents, &f)
	e.checkRows(contents, &f)
	if e.Concatenation && strings.Join(contents, "") != whole {
		f.addf("the contents are not the text")
	}
	for i, content := range contents {
		if i < len(contents)-1 && units(content, d.LenUnit) < e.AllButLast {
			f.addf("part %d is short: %s", i+1, short(content))
		}
		for content != "" && e.Graphemes != nil {
			at := slices.IndexFunc(e.Graphemes, func(g string) bool { return strings.HasPrefix(content, g) })
			if at < 0 {
				f.addf("part %d has half a character: %s", i+1, short(content))
				break
			}
			content = strings.TrimPrefix(content, e.Graphemes[at])
		}
	}
	return f
}

func (e *cuts) checkFences(parts, contents []string, whole string, f *faults) {
	var bare []string
	for i := range parts {
		lines, open := scan(parts[i])
		if e.Balanced && open {
			f.addf("part %d ends in a block", i+1)
		}
		for _, want := range e.States {
			pattern := regexp.MustCompile(want.Line)
			for _, line := range lines {
				if pattern.MatchString(line.text) && line.state != want.State {
					f.addf("part %d: %q is %s, want %s", i+1, line.text, line.state, want.State)
				}
			}
		}
		lines, open = scan(contents[i])
		if e.BalancedContents && open {
			f.addf("the content of part %d ends in a block", i+1)
		}
		for _, line := range lines {
			if line.state != "fence" {
				bare = append(bare, line.text)
			} else if e.Besides != nil && !slices.Contains(e.Besides, line.text) {
				f.addf("part %d has the fence %q", i+1, line.text)
			}
		}
	}
	var want []string
	lines, _ := scan(whole)
	for _, line := range lines {
		if line.state != "fence" {
			want = append(want, line.text)
		}
	}
	if e.SameLines && !slices.Equal(bare, want) {
		f.addf("the lines are not those of the text: %s", short(bare))
	}
}

func (e *cuts) checkStarts(contents []string, f *faults) {
	begins := func(content string, want []string) bool {
		lines := strings.Split(content, "\n")
		return len(lines) >= len(want) && slices.Equal(lines[:len(want)], want)
	}
	for i, content := range contents {
		switch {
		case i == 0:
			if !begins(content, e.FirstBegins) {
				f.addf("the first part begins with %s", short(content))
			}
			continue
		case !begins(content, e.LaterBegin):
			f.addf("part %d begins with %s", i+1, short(content))
		}
		lines, _ := scan(content)
		first := slices.IndexFunc(lines, func(l scanned) bool { return l.state != "fence" })
		if first >= 0 && lines[first].state == "code" && !begins(content, e.LaterBeginInCode) {
			f.addf("part %d is cut in code and begins with %s", i+1, short(content))
		}
	}
}

func (e *cuts) checkRows(contents []string, f *faults) {
	if e.Rows == nil {
		return
	}
	pattern := regexp.MustCompile(e.Rows.Line)
	var rows []string
	for _, content := range contents {
		for line := range strings.SplitSeq(content, "\n") {
			switch {
			case pattern.MatchString(line):
				rows = append(rows, line)
			case line != "" && !slices.Contains(e.OtherLines, line):
				f.addf("a line is %q", line)
			}
		}
	}
	if strings.Join(rows, "\n") != string(e.Rows.Are) {
		f.addf("the rows are %s", short(rows))
	}
}
