package treecheck

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matryer/is"
)

var update = flag.Bool("update", false, "write what documents have that is made from the code")

// madeEnd is the line behind what is made.
const madeEnd = "<!-- end -->\n"

// isMade demands that a document of docs has made between the line start and madeEnd, or writes it there. how is the command that does.
func isMade(t *testing.T, document, start, made, how string) {
	t.Helper()
	is := is.New(t)
	path := filepath.Join(root, "docs", document)
	content, err := os.ReadFile(path)
	is.NoErr(err)
	before, rest, ok := strings.Cut(string(content), start)
	is.True(ok)
	_, after, ok := strings.Cut(rest, madeEnd)
	is.True(ok)
	want := before + start + made + madeEnd + after
	if *update {
		is.NoErr(os.WriteFile(path, []byte(want), 0o644))
		return
	}
	if want != string(content) {
		t.Errorf("docs/%s is not what the code says: %s", document, how)
	}
}
