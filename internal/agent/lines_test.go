package agent

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func FuzzLines(f *testing.F) { // however the stream arrives, it says the same, and nothing after an error
	f.Add([]byte(`{"text":"a"}` + "\n\n" + `{"op":"edit","content":"b"}`))
	f.Add([]byte(`{"op":"react","emoji":"+1"}` + "\r\n" + `{"op":`))
	f.Add([]byte("\n \n\x00{}\n[]"))
	f.Add([]byte(`{"op":"send","content":"Let me see"}` + "\n" + `{"op":"edit","content":"Let me see ... \ud83d\ude00"}` + "\n"))
	f.Add([]byte(`{"text":"` + strings.Repeat("x", 70_000) + `"}` + "\n" + `{"text":""}`)) // longer than the reader's first buffer
	f.Fuzz(func(t *testing.T, stream []byte) {
		read := func(r io.Reader) (actions []relay.Action, fault string) {
			for a, err := range lines(t.Context(), io.NopCloser(r)) {
				if fault != "" {
					t.Fatal("something came after an error")
				}
				if err != nil {
					fault = err.Error()
					continue
				}
				actions = append(actions, a)
			}
			return actions, fault
		}
		is := is.New(t)
		whole, fault := read(bytes.NewReader(stream))
		bytewise, same := read(iotest.OneByteReader(bytes.NewReader(stream)))
		is.Equal(whole, bytewise)
		is.Equal(fault, same)
		is.True(fault == "" || strings.HasPrefix(fault, "agent: "))
	})
}
