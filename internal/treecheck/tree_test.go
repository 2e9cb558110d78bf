package treecheck

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/matryer/is"
)

// The parts of each path are kept apart so that this file does not match itself.
var localPath = regexp.MustCompile(`(/` + `home/|/` + `Users/|/` + `root/|[A-Z]:\\` + `Users\\)[\w.-]`)

// magic is how programs and archives begin: ELF, PE, Mach-O, zip, gzip.
var magic = []string{"\x7fELF", "MZ\x90\x00", "\xcf\xfa\xed\xfe", "PK\x03\x04", "\x1f\x8b\x08"}

func TestTreeHoldsNoProgramsAndNoLocalPaths(t *testing.T) {
	is := is.New(t)
	const largest = 1 << 20
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if rel == ".git" || rel == "build" || rel == ".aws-sam" { // what .gitignore leaves out
				return filepath.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || rel == ".git" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(content) > largest {
			t.Errorf("%s has %d bytes, more than %d", rel, len(content), largest)
		}
		for _, start := range magic {
			if bytes.HasPrefix(content, []byte(start)) {
				t.Errorf("%s is a program or an archive", rel)
			}
		}
		if found := localPath.Find(content); found != nil {
			t.Errorf("%s names a path of one machine: %s", rel, found)
		}
		return nil
	})
	is.NoErr(err)
}
