package agent

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func FuzzStream(f *testing.F) { // however the stream arrives, it says the same, and nothing after an error
	f.Add(uint8(0), []byte(`{"text":"a"}`+"\n\n"+`{"op":"edit","content":"b"}`))
	f.Add(uint8(0), []byte(`{"op":"react","emoji":"+1"}`+"\r\n"+`{"op":`))
	f.Add(uint8(0), []byte("\n \n\x00{}\n[]"))
	f.Add(uint8(0), []byte(`{"op":"send","content":"Let me see"}`+"\n"+`{"op":"edit","content":"Let me see ... \ud83d\ude00"}`+"\n"))
	f.Add(uint8(0), []byte(`{"op":"send","content":"Oh"}`+"\n"+`{"op":"edit","content":"Oh \ud83c"}`+"\n"))                   // cut within an emoji
	f.Add(uint8(0), []byte(`{"text":"`+strings.Repeat("x", 70_000)+`"}`+"\n"+`{"text":""}`))                                  // longer than the reader's first buffer
	f.Add(uint8(1), []byte("\x1e{\n\"text\":\"a\"}\n\x1e\x1e{\"text\":\n\x1e{\"text\":\"b\"}"))                               // the second never becomes whole
	f.Add(uint8(2), []byte("\ufeff: hi\ndata: {\"text\":\ndata:\"a\"}\n\ndata:\n\ndata: [DONE]\n\ndata: {\"text\":\"b\"}\n")) // the last without its end
	f.Add(uint8(2), []byte(": hi\rdata: {\"text\":\"a\"}\r\rdata: {\"text\":\r\ndata: \"b\"}\r\n\r\r\n"))                     // each way to end a line
	f.Add(uint8(1), []byte("\x1e{\"text\":\"a\"}\x1e\x1e{\"text\":\"b\"}\x1e"))
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		kinds := []string{ndjson, "application/json-seq", "text/event-stream"}
		read := func(r io.Reader) (actions []relay.Action, fault string) {
			for a, err := range stream(t.Context(), io.NopCloser(r), framingOf(kinds[int(kind)%len(kinds)])) {
				if fault != "" {
					t.Fatal("something came after an error")
				}
				if _, goesOn := errors.AsType[*Skipped](err); goesOn {
					actions = append(actions, nil)
					continue
				}
				if err != nil {
					fault = err.Error()
					continue
				}
				if a.Op() == "" && len(a) > 0 {
					t.Fatal("what is no action is not empty")
				}
				actions = append(actions, a)
			}
			return actions, fault
		}
		is := is.New(t)
		whole, fault := read(bytes.NewReader(body))
		bytewise, same := read(iotest.OneByteReader(bytes.NewReader(body)))
		is.Equal(whole, bytewise)
		is.Equal(fault, same)
		is.True(fault == "" || strings.HasPrefix(fault, "agent: "))
	})
}
