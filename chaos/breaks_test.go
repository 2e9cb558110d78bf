package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// make breaks takes minutes and runs at night; that its patches fit what they break is known at once.
func TestEachBreakFitsItsFile(t *testing.T) {
	patches, err := filepath.Glob("breaks/*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatalf("no patches: %v", err)
	}
	for _, patch := range patches {
		t.Run(filepath.Base(patch), func(t *testing.T) {
			raw, err := os.ReadFile(patch)
			if err != nil {
				t.Fatal(err)
			}
			file, hunks := "", []string{}
			for line := range strings.Lines(string(raw)) {
				name, isFile := strings.CutPrefix(line, "+++ b/")
				switch {
				case isFile:
					file = strings.TrimSpace(name)
				case strings.HasPrefix(line, "@@ "):
					hunks = append(hunks, "")
				case len(hunks) > 0 && (line[0] == ' ' || line[0] == '-'):
					hunks[len(hunks)-1] += line[1:]
				}
			}
			source, err := os.ReadFile(filepath.Join("..", file))
			if err != nil {
				t.Fatal(err)
			}
			for _, hunk := range hunks {
				if !strings.Contains(string(source), hunk) {
					t.Errorf("%s has no longer\n%sso break the promise anew, and keep that as the patch", file, hunk)
				}
			}
			if !strings.Contains(string(raw), "\nNoticed: ") || len(hunks) == 0 {
				t.Error("it has to say behind Noticed: what a run fails with, and to change something")
			}
		})
	}
}
