package terminal_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/terminal"
)

func TestATerminalIsGivenNoOrders(t *testing.T) {
	is := is.New(t)
	is.Equal(terminal.Text("before \x1b[2J\x1b]0;title\x07 after\u009b31m"), "before \ufffd[2J\ufffd]0;title\ufffd after\ufffd31m")
	is.Equal(terminal.Text("one\r\ntwo\tand\rthree"), "one\ntwo\tand\ufffdthree")
	is.Equal(terminal.Line("one\r\ntwo\tand"), "one two and")
	is.Equal(terminal.Text("a\u202eb"), "a\ufffdb")               // it would turn the rest of the line around
	is.Equal(terminal.Text("a\u2028b\u2029c"), "a\ufffdb\ufffdc") // line feeds to some
	is.Equal(terminal.Text("\xff"), "\ufffd")                     // bytes that are no text
	is.Equal(terminal.Text("👩\u200d💻 שלום é"), "👩\u200d💻 שלום é") // people's texts stay
}

func FuzzNoOrders(f *testing.F) { // whatever is said
	f.Add("a\x1b[2J\u009b\u202e\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		is := is.New(t)
		orders := func(s string) bool {
			return strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' })
		}
		is.True(!orders(terminal.Text(s)))
		is.True(!strings.ContainsAny(terminal.Line(s), "\n\t"))
		raw, err := json.Marshal(s)
		is.NoErr(err)
		is.True(!orders(string(terminal.JSON(raw))))
		var same, want string
		is.NoErr(json.Unmarshal(raw, &want))
		is.NoErr(json.Unmarshal(terminal.JSON(raw), &same))
		is.Equal(same, want)
	})
}

func TestAWriterLetsNoOrderThrough(t *testing.T) {
	is := is.New(t)
	var out strings.Builder
	w := terminal.Writer(&out)
	all := "a\x1b[2Jb\u009bc\u202ed\té\n\xffz"
	for i := range len(all) { // a byte at a time
		n, err := w.Write([]byte{all[i]})
		is.NoErr(err)
		is.Equal(n, 1)
	}
	is.Equal(out.String(), "a\ufffd[2Jb\ufffdc\ufffdd\té\n\ufffdz")
}
