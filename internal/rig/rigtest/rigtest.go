// Package rigtest builds the functions for tests, each once for a test binary, and writes what else a test runs. It blocks until
// that is there, and fails the test if it cannot be.
package rigtest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/dormouse-relay/dormouse/internal/rig"
)

// Functions is the folder of both functions, wake/bootstrap and drain/bootstrap, as they are deployed, for this machine.
// They are built at the first call of a process, into build/test of the tree, where the next process finds them.
func Functions(t testing.TB) (dir string) {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Bootstraps are the same functions, one by one.
func Bootstraps(t testing.TB) rig.Bootstraps {
	t.Helper()
	b, err := rig.Find(Functions(t))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Build builds one more package of the tree in the same way and returns its bootstrap.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	if errRoot != nil {
		t.Fatal(errRoot)
	}
	dir := filepath.Join(root, "build", "test")
	if err := errors.Join(noteSources(root, filepath.Dir(pkg)), rig.Build(t.Context(), root, dir, nil, pkg)); err != nil {
		t.Fatal(err)
	}
	return rig.Bootstrap(dir, filepath.Base(pkg))
}

// Script writes a program that the test runs then. No other process is begun meanwhile: it would have the file open for writing
// until it is a program of its own, and a file that is open for writing cannot be run ("text file busy").
func Script(t testing.TB, path, content string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
}

var built = sync.OnceValues(func() (string, error) {
	if errRoot != nil {
		return "", errRoot
	}
	dir := filepath.Join(root, "build", "test")
	return dir, errors.Join(noteSources(root, "functions"), rig.Build(context.Background(), root, dir, nil, "functions/wake", "functions/drain"))
})

// noteSources tells go test what a program below a folder is made from: go test takes note of what a test opens, and would
// otherwise repeat the results of a program that has changed.
func noteSources(root, folder string) (err error) {
	for _, dir := range []string{folder, "internal", "pkg"} {
		err = errors.Join(err, filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				_, err = os.Stat(path)
			}
			return err
		}))
	}
	return err
}

// root is where go.mod is. It is looked for before any test can change the working directory.
var root, errRoot = findRoot()

// findRoot goes up to go.mod: a test runs in the folder of its package.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("rigtest: no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}
