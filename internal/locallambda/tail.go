package locallambda

import (
	"bytes"
	"sync"
)

const tailSize = 4096 // bytes of a log that the answer to an invocation may show, as at Lambda

// tail is the end of a function's log. Its methods may be called from any goroutine.
type tail struct {
	mu    sync.Mutex
	lines bytes.Buffer
	start int64 // of lines, in all that was written
}

func (t *tail) write(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines.WriteString(line)
	t.lines.WriteByte('\n')
	if over := t.lines.Len() - 4*tailSize; over > 0 {
		t.lines.Next(over)
		t.start += int64(over)
	}
}

// mark is where the log ends now; since returns the last bytes of what was written after a mark.
func (t *tail) mark() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.start + int64(t.lines.Len())
}

func (t *tail) since(mark int64) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.lines.Bytes()
	all = all[min(max(0, mark-t.start), int64(len(all))):]
	return bytes.Clone(all[max(0, len(all)-tailSize):])
}

// mark is where the log of a function ends now; of none, nowhere.
func (fn *function) mark() int64 {
	if fn == nil {
		return 0
	}
	return fn.tail.mark()
}
