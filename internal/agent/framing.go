package agent

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const maxLine = 1 << 20 // bytes of one line of a stream, and of one record of several lines

// framing finds the records in the lines of a stream. What is not whole yet is nil or empty.
type framing interface {
	add(line []byte) (record []byte) // takes a line without its end
	end() (record []byte)            // the stream is over
}

// framingOf is how a content type is framed, or nil if it is no stream. These are the names in use, each as application/ or
// text/, with or without x- or a prefix and a plus sign. What the stream itself begins with says more: look.
func framingOf(contentType string) framing {
	kind, _, _ := strings.Cut(contentType, ";") // parameters, however odd
	kind, _, _ = strings.Cut(kind, ",")         // a proxy has said it once more
	_, name, _ := strings.Cut(strings.ToLower(strings.TrimSpace(kind)), "/")
	if name == "stream+json" || name == "json+stream" {
		return lines{}
	}
	switch strings.TrimPrefix(name[strings.LastIndexByte(name, '+')+1:], "x-") {
	case "ndjson", "nd-json", "jsonl", "jsonline", "jsonlines", "json-lines", "json-stream", "ldjson", "newline-delimited-json",
		"concatenated-json":
		return lines{}
	case "json-seq":
		return &sequence{}
	case "event-stream":
		return &events{}
	}
	return nil
}

// lines has a record on each line.
type lines struct{}

func (lines) add(line []byte) []byte { return line }
func (lines) end() []byte            { return nil }

// sequence is a JSON text sequence (RFC 7464): a record begins with a separator and may have several lines.
type sequence struct {
	record []byte
	depth  int  // of the objects and lists that are open at its end; a text never goes on in the next line
	odd    bool // it is no JSON, and will be none
}

const recordSeparator = "\x1e"

func (s *sequence) add(line []byte) []byte {
	var before []byte
	if bytes.HasPrefix(line, []byte(recordSeparator)) {
		before = s.end() // it never became valid JSON, and whoever reads it says so
		line = bytes.TrimLeft(line, recordSeparator)
	}
	s.record = append(append(s.record, line...), '\n')
	s.depth += bulkOf(line).open
	isWhole := s.depth <= 0 && !s.odd && bytes.HasSuffix(line, []byte("}")) && len(valuesIn(s.record)) > 0
	s.odd = s.odd || s.depth <= 0 && !isWhole && len(line) > 0
	if before == nil && (isWhole || len(s.record) > maxLine) {
		return s.end()
	}
	return before
}

func (s *sequence) end() []byte {
	record := bytes.TrimSpace(s.record)
	*s = sequence{}
	return record
}

// events has a record in the data of each server-sent event. [DONE] is how some say that no other comes.
type events struct{ data []byte }

func (e *events) add(line []byte) []byte {
	if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
		e.data = append(append(e.data, bytes.TrimPrefix(value, []byte(" "))...), '\n')
	}
	if len(line) == 0 || len(e.data) > maxLine {
		return e.end()
	}
	return nil // other fields, and comments, say nothing
}

func (e *events) end() []byte {
	record := bytes.TrimSpace(e.data)
	e.data = nil
	if string(record) == "[DONE]" {
		return nil
	}
	return record
}

// look returns the framing of a stream that begins with that line, for which declared is its content type's. A proxy, or a
// framework, may change the one or the other.
func look(line []byte, declared framing) framing {
	_, isEvents := declared.(*events)
	switch {
	case bytes.HasPrefix(line, []byte(recordSeparator)):
		return &sequence{}
	case eventField(line):
		return &events{}
	case line[0] == '{' && !jsontext.Value(line).IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)):
		return &sequence{} // it goes on in the next line, or nothing is between it and the next one
	case isEvents && line[0] == '{':
		return lines{}
	}
	return declared
}

// eventField says whether a line is one of server-sent events.
func eventField(line []byte) bool {
	name, _, colon := bytes.Cut(line, []byte(":"))
	switch string(name) {
	case "", "data", "event", "id", "retry":
		return colon
	}
	return false
}
