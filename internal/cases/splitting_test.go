package cases

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// splitting is what a case expects of the parts of a text.
type splitting struct {
	Parts struct {
		Min int `json:"min"`
		Max int `json:"max"`
	} `json:"parts"`
	WithinLimit      bool        `json:"within_limit"`
	Counters         bool        `json:"counters"`
	Balanced         bool        `json:"balanced"`
	BalancedContents bool        `json:"balanced_contents"`
	SameLines        bool        `json:"same_lines"`
	Fences           []string    `json:"fence_lines_besides"` // nil: not said
	States           []lineState `json:"line_states"`
	LaterBegin       []string    `json:"later_parts_begin"`
	LaterBeginInCode []string    `json:"later_parts_begin_if_cut_in_code"`
	FirstBegins      []string    `json:"first_part_begins"`
	Rows             *struct {
		Line string `json:"line"`
		Are  text   `json:"are"`
	} `json:"rows"`
	OtherLines    []string `json:"other_lines"`
	Concatenation bool     `json:"concatenation"`
	Graphemes     []string `json:"graphemes"`
	AtLeast       int      `json:"all_but_last_at_least"`
}

// lineState says what lines of parts are: fence, code or prose.
type lineState struct {
	Line  string `json:"line"`
	State string `json:"state"`
}

var opening = regexp.MustCompile("^ {0,3}(`{3,})[^`]*$")

// scan says of each line whether it is a fence, code or prose, by CommonMark's rules for backtick fences.
func scan(s string) (list, states []string) {
	list = strings.Split(s, "\n")
	fence := "" // of the block that is open
	for _, line := range list {
		closing := strings.TrimRight(strings.TrimLeft(line, " "), " \t")
		indent := len(line) - len(strings.TrimLeft(line, " "))
		switch found := opening.FindStringSubmatch(line); {
		case fence == "" && found != nil:
			fence = found[1]
			states = append(states, "fence")
		case fence == "":
			states = append(states, "prose")
		case indent <= 3 && strings.HasPrefix(closing, fence) && strings.Trim(closing, "`") == "":
			fence = ""
			states = append(states, "fence")
		default:
			states = append(states, "code")
		}
	}
	if fence != "" {
		states = append(states, "open") // it ends inside a block
	}
	return list, states
}

// open says whether s ends inside a block.
func open(s string) bool {
	_, states := scan(s)
	return states[len(states)-1] == "open"
}

// split are the parts of a text.
type split struct {
	text     string
	unit     string
	limit    int
	parts    []string
	contents []string // without their counters
}

func (e *splitting) check(s *split) (f faults) {
	if n := len(s.parts); n < e.Parts.Min || n > e.Parts.Max {
		f.addf("%d parts, want %d to %d", n, e.Parts.Min, e.Parts.Max)
	}
	e.checkParts(s, &f)
	e.checkLines(s, &f)
	e.checkBeginnings(s, &f)
	e.checkTable(s, &f)
	if e.Concatenation && strings.Join(s.contents, "") != s.text {
		f.addf("the contents put together are not the text")
	}
	return f
}

func (e *splitting) checkParts(s *split, f *faults) {
	for i, part := range s.parts {
		content := s.contents[i]
		if n := units(part, s.unit); e.WithinLimit && n > s.limit {
			f.addf("part %d has %d %s", i+1, n, s.unit)
		}
		found := counter.FindStringSubmatch(part)
		if e.Counters && (found == nil || found[3] != strconv.Itoa(i+1) || found[4] != strconv.Itoa(len(s.parts))) {
			f.addf("part %d ends with %q", i+1, part[max(0, len(part)-20):])
		}
		if e.Balanced && open(part) || e.BalancedContents && open(content) {
			f.addf("part %d ends inside a block", i+1)
		}
		if n := units(content, s.unit); i < len(s.parts)-1 && n < e.AtLeast {
			f.addf("part %d has %d %s, want at least %d", i+1, n, s.unit, e.AtLeast)
		}
		if rest := behind(content, e.Graphemes); e.Graphemes != nil && rest != "" {
			f.addf("part %d has a piece of a grapheme: %s", i+1, short(rest))
		}
	}
}

// behind is what follows whole copies of graphemes in s.
func behind(s string, graphemes []string) string {
	for s != "" {
		at := slices.IndexFunc(graphemes, func(g string) bool { return strings.HasPrefix(s, g) })
		if at < 0 {
			break
		}
		s = s[len(graphemes[at]):]
	}
	return s
}

// between are the lines of s that are no fences, and those that are.
func between(s string) (bare, fences []string) {
	list, states := scan(s)
	for i, line := range list {
		if states[i] == "fence" {
			fences = append(fences, line)
		} else {
			bare = append(bare, line)
		}
	}
	return bare, fences
}

func (e *splitting) checkLines(s *split, f *faults) {
	var got []string
	for i, content := range s.contents {
		bare, fences := between(content)
		got = append(got, bare...)
		for _, fence := range fences {
			if e.Fences != nil && !slices.Contains(e.Fences, fence) {
				f.addf("part %d has the fence %q", i+1, fence)
			}
		}
	}
	if want, _ := between(s.text); e.SameLines && !slices.Equal(got, want) {
		f.addf("the lines are not those of the text")
	}
	for _, want := range e.States {
		matches := regexp.MustCompile(want.Line)
		for i, part := range s.parts {
			list, states := scan(part)
			for n, line := range list {
				if matches.MatchString(line) && states[n] != want.State {
					f.addf("part %d: the line %q is %s, want %s", i+1, line, states[n], want.State)
				}
			}
		}
	}
}

func (e *splitting) checkBeginnings(s *split, f *faults) {
	for i, part := range s.parts {
		list, states := scan(part)
		var want []string
		switch first := slices.IndexFunc(states, func(state string) bool { return state != "fence" }); {
		case i == 0:
			want = e.FirstBegins
		case e.LaterBegin != nil:
			want = e.LaterBegin
		case e.LaterBeginInCode != nil && first >= 0 && states[first] == "code":
			want = e.LaterBeginInCode
		}
		if len(list) < len(want) || !slices.Equal(list[:len(want)], want) {
			f.addf("part %d begins with %q, want %q", i+1, list[:min(len(list), len(want))], want)
		}
	}
}

func (e *splitting) checkTable(s *split, f *faults) {
	if e.Rows == nil {
		return
	}
	matches := regexp.MustCompile(e.Rows.Line)
	var rows []string
	for i, content := range s.contents {
		for line := range strings.SplitSeq(content, "\n") {
			switch {
			case matches.MatchString(line):
				rows = append(rows, line)
			case line != "" && !slices.Contains(e.OtherLines, line):
				f.addf("part %d has the line %q", i+1, line)
			}
		}
	}
	if !slices.Equal(rows, strings.Split(string(e.Rows.Are), "\n")) {
		f.addf("the rows are not those of the text")
	}
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
	for _, c := range load[given, splitting](t, "splitting.json") {
		t.Run(c.ID, func(t *testing.T) {
			d := c.Given.Descriptor
			s := &split{text: string(c.Given.Text), unit: d.Unit, limit: d.Limit}
			s.parts = relay.Descriptor{
				Platform: d.Platform, MaxMessageLength: d.Limit, LenUnit: d.Unit, MarkdownDialect: d.Dialect,
			}.Split(s.text)
			for _, part := range s.parts {
				s.contents = append(s.contents, uncounted(part))
			}
			judge(t, c.ID, c.Expect.check(s))
		})
	}
}
