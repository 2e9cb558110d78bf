package conform_test

import (
	"encoding/xml"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/conform"
)

func page(t *testing.T, report conform.Report, about conform.About) string {
	t.Helper()
	var out strings.Builder
	is.New(t).NoErr(report.WriteHTML(&out, about))
	return out.String()
}

// What the other side said does nothing in the page, which needs nothing from elsewhere.
func TestThePageIsOneFileAndHarmless(t *testing.T) {
	is := is.New(t)
	const evil = `</pre></details><script>alert(1)</script><img src="https://elsewhere.example/x" onerror=alert(1)>`
	report := conform.Report{Checks: []conform.Result{
		{ID: "ping", Section: 3, Level: conform.Must, Status: conform.Fail, Expected: "a pong", Observed: evil, Frames: []string{"< " + evil}},
		{ID: "hello-each", Section: 4, Level: conform.Must, Status: conform.Fail, Expected: "one each"},
		{ID: "poke-get", Section: 12, Level: conform.Must, Status: conform.Skip, Expected: "a poke", Observed: "needs a wake URL"},
	}}
	got := page(t, report, conform.About{What: "http://127.0.0.1:1/" + evil, At: time.Unix(0, 0).UTC(), Version: "v1", Sections: "https://contract.example/c.md",
		Baseline: conform.Baseline{Known: []conform.Deviation{{ID: "hello-each", Reason: "as it is"}}}})
	is.True(strings.Contains(got, "&lt;script&gt;alert(1)&lt;/script&gt;"))
	is.True(strings.Contains(got, `default-src 'none'`))
	is.True(strings.Contains(got, `href="https://contract.example/c.md#3-the-socket"`))
	is.True(strings.Contains(got, "0 passed, 2 failed, 1 skipped"))
	is.True(strings.Contains(got, "as it is"))
	is.Equal(strings.Count(got, " open>"), 1) // what is known is not in the way

	dec := xml.NewDecoder(strings.NewReader(got))
	dec.Strict, dec.Entity, dec.AutoClose = false, xml.HTMLEntity, xml.HTMLAutoClose
	var open []string
	for {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		is.NoErr(err)
		switch token := token.(type) {
		case xml.StartElement:
			is.True(slices.Contains([]string{"html", "head", "meta", "title", "style", "body", "h1", "p", "details", "summary", "b", "code", "span", "dl",
				"dt", "dd", "a", "pre"}, token.Name.Local)) // none that loads or runs anything
			for _, attr := range token.Attr {
				is.True(slices.Contains([]string{"lang", "charset", "http-equiv", "content", "name", "class", "open", "href"}, attr.Name.Local))
				is.True(attr.Name.Local != "href" || strings.HasPrefix(attr.Value, "https://contract.example/"))
			}
			open = append(open, token.Name.Local)
		case xml.EndElement:
			is.Equal(open[len(open)-1], token.Name.Local) // the page is whole
			open = open[:len(open)-1]
		}
	}
}

// The links go to headings that are there.
func TestThePageLinksTheSections(t *testing.T) {
	is := is.New(t)
	strange := regexp.MustCompile(`[^a-z0-9 -]`)
	headings := map[string]bool{}
	for line := range strings.Lines(document(t, "contract.md")) {
		if heading, ok := strings.CutPrefix(strings.TrimSpace(line), "## "); ok {
			headings[strings.ReplaceAll(strange.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")] = true
		}
	}
	for section := 1; section <= len(sections(t)); section++ {
		got := page(t, conform.Report{Checks: []conform.Result{{ID: "x", Section: section}}}, conform.About{Sections: "https://c.example/"})
		_, rest, found := strings.Cut(got, `href="https://c.example/#`)
		is.True(found)
		anchor, _, _ := strings.Cut(rest, `"`)
		is.True(headings[anchor]) // section
		is.True(strings.HasPrefix(anchor, strconv.Itoa(section)+"-"))
	}
}
