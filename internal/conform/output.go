package conform

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteTable prints one line for each check, and below them what was observed where one failed.
func (r Report) WriteTable(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range r.Checks {
		fmt.Fprintf(table, "%s\t%s\tsection %d\t%s\n", c.Status, c.ID, c.Section, c.Level)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, c := range r.Checks {
		if c.Status == Fail {
			fmt.Fprintf(out, "\n%s, section %d, %s\n  expected: %s\n  observed: %s\n", c.ID, c.Section, c.Level, c.Expected, c.Observed)
			for _, frame := range c.Frames {
				fmt.Fprintf(out, "    %s\n", frame)
			}
		}
	}
	_, err := fmt.Fprintf(out, "\n%s\n", r.Summary())
	return err
}

// Summary counts.
func (r Report) Summary() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", r.Count(Pass), r.Count(Fail), r.Count(Skip))
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Skipped *junitMessage `xml:"skipped,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit prints the report as JUnit's XML, which most build servers read.
func (r Report) WriteJUnit(out io.Writer) error {
	suite := junitSuite{Name: "dormouse conform", Tests: len(r.Checks), Failures: r.Count(Fail), Skipped: r.Count(Skip)}
	for _, c := range r.Checks {
		one := junitCase{Name: c.ID, Class: fmt.Sprintf("contract.section%d.%s", c.Section, c.Level)}
		switch c.Status {
		case Fail:
			text := "expected: " + c.Expected + "\nobserved: " + c.Observed + "\n" + strings.Join(c.Frames, "\n")
			one.Failure = &junitMessage{c.Observed, printable(text)}
		case Skip:
			one.Skipped = &junitMessage{Message: c.Observed}
		}
		suite.Cases = append(suite.Cases, one)
	}
	raw, err := xml.MarshalIndent(suite, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s%s\n", xml.Header, raw)
	return err
}

// printable takes out what XML cannot hold.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' {
			return '?'
		}
		return r
	}, text)
}

// Baseline is what is known to deviate.
type Baseline struct {
	Known []Deviation `json:"known"`
}

// Deviation is a check that is known to fail, and why that is accepted.
type Deviation struct {
	ID        string `json:"id"`
	Reason    string `json:"reason"`
	Sometimes bool   `json:"sometimes,omitempty"` // it passes at times, which heals nothing
}

// ReadBaseline reads a baseline. Each entry needs the id of a check and a reason, and no check may be there twice.
func ReadBaseline(raw []byte) (Baseline, error) {
	var b Baseline
	if err := json.Unmarshal(raw, &b); err != nil {
		return Baseline{}, fmt.Errorf(`conform: the baseline is not {"known":[{"id","reason"}]}: %w`, err)
	}
	checks := map[string]bool{}
	for _, check := range append(Catalogue(), GatewayCatalogue()...) {
		checks[check.ID] = true
	}
	for _, d := range b.Known {
		switch {
		case !checks[d.ID]:
			return Baseline{}, fmt.Errorf("conform: the baseline names %q, which is no check, or twice: --list shows them", d.ID)
		case strings.TrimSpace(d.Reason) == "":
			return Baseline{}, fmt.Errorf("conform: the baseline gives no reason for %s", d.ID)
		}
		checks[d.ID] = false
	}
	return b, nil
}

// Judge compares a report with what is known. News are the checks that fail and are not known, healed those that are known
// and pass, but for those that fail only sometimes. A skipped check is neither.
func (b Baseline) Judge(r Report) (news, healed []string) {
	known, sometimes := map[string]bool{}, map[string]bool{}
	for _, d := range b.Known {
		known[d.ID], sometimes[d.ID] = true, d.Sometimes
	}
	for _, c := range r.Checks {
		switch {
		case c.Status == Fail && !known[c.ID]:
			news = append(news, c.ID)
		case c.Status == Pass && known[c.ID] && !sometimes[c.ID]:
			healed = append(healed, c.ID)
		}
	}
	return news, healed
}
