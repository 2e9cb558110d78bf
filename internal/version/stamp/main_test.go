package main

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/version"
)

func TestStampIsOfTheSourcesAlone(t *testing.T) {
	is := is.New(t)
	tree := func(more ...string) fstest.MapFS {
		t := fstest.MapFS{}
		for _, name := range append([]string{
			"Makefile", "go.mod", "go.sum", "template.yaml", "cmd/dormouse/main.go", "functions/drain/main.go", "internal/a/a.go", "pkg/b/b.go",
		}, more...) {
			t[name] = &fstest.MapFile{Data: []byte(name)}
		}
		return t
	}
	want, err := of(tree())
	is.NoErr(err)
	is.True(strings.HasPrefix(want, version.Number+"+"))
	is.Equal(len(want), len(version.Number)+1+12)
	for name, same := range map[string]bool{
		"internal/a/a_test.go": true, "internal/a/testdata/x.json": true, "README.md": true, ".git/HEAD": true,
		"internal/a/b.go": false, "internal/a/words.json": false,
	} {
		got, err := of(tree(name))
		is.NoErr(err)
		if (got == want) != same {
			t.Errorf("%s: the stamp is the same: %v, want %v", name, got == want, same)
		}
	}
	changed := tree()
	changed["pkg/b/b.go"].Data = []byte("else")
	got, err := of(changed)
	is.NoErr(err)
	is.True(got != want)
	_, err = of(fstest.MapFS{})
	is.True(err != nil && strings.Contains(err.Error(), "run this in the tree's root"))
}
