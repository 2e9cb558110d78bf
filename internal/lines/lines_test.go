package lines_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/lines"
)

const longest = 64

func collect(writes ...[]byte) (got []string) {
	w := &lines.Writer{Emit: func(line string) { got = append(got, line) }, Max: longest}
	for _, p := range writes {
		w.Write(p)
	}
	w.Flush()
	return got
}

func TestLinesHaveNoEnds(t *testing.T) {
	is := is.New(t)
	is.Equal(collect([]byte("one\r\ntwo\n\nthr"), []byte("ee")), []string{"one", "two", "", "three"})
	is.Equal(collect(bytes.Repeat([]byte("x"), longest+1)), []string{strings.Repeat("x", longest), "x"})
}

func FuzzLines(f *testing.F) { // however the output is cut into writes, the lines are the same
	f.Add([]byte("one\ntw"), []byte("o\n\nrest"))
	f.Add([]byte("one\r"), []byte("\n"))
	f.Add(bytes.Repeat([]byte("x"), longest-1), []byte("xy\nz"))
	f.Fuzz(func(t *testing.T, head, tail []byte) {
		whole := collect(bytes.Join([][]byte{head, tail}, nil))
		is.New(t).Equal(collect(head, tail), whole)
		for _, line := range whole {
			if len(line) > longest || strings.Contains(line, "\n") {
				t.Fatalf("a line of %d bytes", len(line))
			}
		}
	})
}
