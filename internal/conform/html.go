package conform

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"
)

//go:embed report.html
var reportPage string

// The page needs nothing from elsewhere. html/template escapes what the other side said.
var reportTemplate = template.Must(template.New("report").Parse(reportPage))

// About is what a page says of a run beside its report.
type About struct {
	What     string // a connector's URL, or a gateway's command
	At       time.Time
	Version  string
	Sections string // URL of the contract, without a fragment; its sections are linked there
	Baseline Baseline
}

type pageRow struct {
	Result
	Quote  string
	Link   string
	Reason string // why a failure is known
}

// WriteHTML prints the report as one page, for somebody who has nothing of this.
func (r Report) WriteHTML(out io.Writer, about About) error {
	checks, known := map[string]Check{}, map[string]string{}
	for _, check := range append(Catalogue(), GatewayCatalogue()...) {
		checks[check.ID] = check
	}
	for _, d := range about.Baseline.Known {
		known[d.ID] = d.Reason
	}
	page := struct {
		About
		Summary string
		Rows    []pageRow
	}{About: about, Summary: r.Summary()}
	for _, result := range r.Checks {
		row := pageRow{Result: result, Quote: checks[result.ID].Quote, Reason: known[result.ID]}
		if about.Sections != "" {
			row.Link = fmt.Sprintf("%s#%s", about.Sections, anchors[result.Section])
		}
		page.Rows = append(page.Rows, row)
	}
	return reportTemplate.Execute(out, page)
}

// anchors are those of the contract's sections, as a Markdown page has them.
var anchors = map[int]string{
	1: "1-urls", 2: "2-upgrade-token", 3: "3-the-socket", 4: "4-handshake", 5: "5-frames", 6: "6-inbound-events", 7: "7-descriptor",
	8: "8-session-key-the-conformance-oracle", 9: "9-passthrough", 10: "10-replies-what-is-attached", 11: "11-outbound-ops",
	12: "12-sleeping-and-waking", 13: "13-close-codes-4401-reconnecting", 14: "14-credentials", 15: "15-media", 16: "16-vectors",
	17: "17-where-code-and-contract-text-differ-summary", 18: "18-what-people-complained-about",
	19: "19-connectors-in-the-wild-and-how-they-differ", 20: "20-published-versions-seen-by-running-them",
	21: "21-for-whoever-writes-a-connector",
}
