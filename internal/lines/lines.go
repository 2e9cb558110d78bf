// Package lines cuts what a process writes into lines.
package lines

import "bytes"

// Writer emits each line that is written to it, without its end. What is longer than Max bytes is cut into several. It is for
// one goroutine, as that of exec.Cmd.
type Writer struct {
	Emit func(line string)
	Max  int

	rest []byte
}

func (w *Writer) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found && len(w.rest) < w.Max {
			return len(p), nil
		}
		if len(line) > w.Max || !found {
			line, rest = w.rest[:w.Max], w.rest[w.Max:]
		}
		w.Emit(string(bytes.TrimSuffix(line, []byte("\r"))))
		w.rest = rest
	}
}

// Flush emits what came without a newline at the end.
func (w *Writer) Flush() {
	if len(w.rest) > 0 {
		w.Emit(string(w.rest))
		w.rest = nil
	}
}
