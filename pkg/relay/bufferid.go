package relay

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// findBufferID searches a line that cannot be decoded for its buffer id, so that the line can be acked. head and tail are
// the line's two ends, or both the whole line. The last bufferId of the tail counts, else the first of the head. A
// chat's text cannot look like one: its quotes are escaped.
func findBufferID(head, tail []byte) string {
	name := []byte(`"bufferId"`)
	if i := bytes.LastIndex(tail, name); i >= 0 {
		if id := leadingID(tail[i+len(name):]); id != "" {
			return id
		}
	}
	if i := bytes.Index(head, name); i >= 0 {
		return leadingID(head[i+len(name):])
	}
	return ""
}

// leadingID reads the id at the start of b, which is what follows a member's name. It is "" unless it is whole and usable.
func leadingID(b []byte) string {
	b, found := bytes.CutPrefix(bytes.TrimLeft(b, " \t\r"), []byte(":"))
	b = bytes.TrimLeft(b, " \t\r")
	if !found || len(b) == 0 {
		return ""
	}
	end := bytes.IndexAny(b, ",} \t\r")
	if b[0] == '"' {
		end = 1
		for end < len(b) && b[end] != '"' {
			if b[end] == '\\' {
				end++
			}
			end++
		}
		end++
	}
	if end < 0 || end > len(b) || !jsontext.Value(b[:end]).IsValid() {
		return ""
	}
	var f Frame
	return f.id(b[:end])
}
