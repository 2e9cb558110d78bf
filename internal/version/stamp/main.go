// Command stamp prints the version that make stamps into the programs: the version's number, and a hash of all sources that
// decide what the programs do. It is run in the tree's root, also in a copy without .git.
package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/dormouse-relay/dormouse/internal/version"
)

func main() {
	stamp, err := of(os.DirFS("."))
	if err != nil {
		fmt.Fprintln(os.Stderr, "stamp:", err)
		os.Exit(1)
	}
	fmt.Println(stamp)
}

// of hashes each source's path and content, in the order of the paths.
func of(tree fs.FS) (string, error) {
	sum := sha256.New()
	add := func(name string) error {
		content, err := fs.ReadFile(tree, name)
		if err != nil {
			return fmt.Errorf("reading the sources: %w: run this in the tree's root", err)
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(content), content)
		return nil
	}
	for _, name := range []string{"Makefile", "go.mod", "go.sum", "template.yaml"} {
		if err := add(name); err != nil {
			return "", err
		}
	}
	for _, dir := range []string{"cmd", "functions", "internal", "pkg"} {
		err := fs.WalkDir(tree, dir, func(name string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && entry.Name() == "testdata":
				return fs.SkipDir
			case entry.IsDir() || strings.HasSuffix(name, "_test.go") || !source(name):
				return nil
			}
			return add(name)
		})
		if err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s+%x", version.Number, sum.Sum(nil)[:6]), nil
}

// source says whether a file goes into a program: Go, and what is embedded.
func source(name string) bool {
	switch path.Ext(name) {
	case ".go", ".json", ".yaml":
		return true
	}
	return false
}
