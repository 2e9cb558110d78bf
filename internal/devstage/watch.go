package devstage

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxWatched is how many files are looked at: each costs a microsecond or two, three times a second.
const maxWatched = 5000

// skipped are folders that hold what is built or fetched, not what is written by hand. Hidden ones are skipped, too.
var skipped = []string{"node_modules", "__pycache__", "build", "dist", "target", "vendor", "venv"}

// watch notices changes of files by looking at them: it needs nothing of the system, and sees what editors do by renaming.
type watch struct {
	roots []string
	seen  map[string]stamp
}

type stamp struct {
	at   time.Time
	size int64
}

func newWatch(roots []string) *watch {
	w := &watch{roots: roots}
	w.seen = w.look()
	return w
}

func (w *watch) size() int { return len(w.seen) }

// changed names a file that has changed, come or gone since the last call, or returns "".
func (w *watch) changed() (name string) {
	now := w.look()
	for path, stamp := range now {
		if old, ok := w.seen[path]; (!ok || old != stamp) && (name == "" || path < name) {
			name = path
		}
	}
	for path := range w.seen {
		if _, ok := now[path]; !ok && (name == "" || path < name) {
			name = path
		}
	}
	w.seen = now
	if name == "" {
		return ""
	}
	return filepath.Base(name)
}

func (w *watch) look() map[string]stamp {
	found := map[string]stamp{}
	for _, root := range w.roots {
		filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil: // it went away meanwhile
				return nil
			case len(found) >= maxWatched:
				return filepath.SkipAll
			case path != root && strings.HasPrefix(entry.Name(), "."), path != root && entry.IsDir() && slices.Contains(skipped, entry.Name()):
				if entry.IsDir() {
					return filepath.SkipDir
				}
				return nil
			case entry.IsDir():
				return nil
			}
			if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
				found[path] = stamp{info.ModTime(), info.Size()}
			}
			return nil
		})
	}
	return found
}
