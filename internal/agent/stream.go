package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const maxLine = 1 << 20 // bytes of one line of a stream, and of one record of several lines

// framing finds the records in the lines of a stream. What is not whole yet is nil or empty.
type framing interface {
	add(line []byte) (record []byte) // takes a line without its end
	end() (record []byte)            // the stream is over
}

// framingOf is how a content type is framed, or nil if it is no stream. These are the names in use, each as application/ or
// text/ and with or without x-.
func framingOf(contentType string) framing {
	_, name, _ := strings.Cut(contentType, "/")
	switch strings.TrimPrefix(name, "x-") {
	case "ndjson", "jsonl", "jsonlines", "json-lines", "json-stream", "stream+json":
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
type sequence struct{ record []byte }

const recordSeparator = "\x1e"

func (s *sequence) add(line []byte) []byte {
	var before []byte
	if bytes.HasPrefix(line, []byte(recordSeparator)) {
		before = s.end() // it never became valid JSON, and whoever reads it says so
		line = bytes.TrimLeft(line, recordSeparator)
	}
	s.record = append(append(s.record, line...), '\n')
	isWhole := bytes.HasSuffix(line, []byte("}")) && jsontext.Value(s.record).IsValid(jsontext.AllowInvalidUTF8(true))
	if before == nil && (isWhole || len(s.record) > maxLine) {
		return s.end()
	}
	return before
}

func (s *sequence) end() []byte {
	record := bytes.TrimSpace(s.record)
	s.record = nil
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

// stream reads a streamed answer and closes its body. Blank lines are signs of life.
func stream(ctx context.Context, body io.ReadCloser, f framing) iter.Seq2[relay.Action, error] {
	return func(yield func(relay.Action, error) bool) {
		defer body.Close()
		in := bufio.NewScanner(body)
		in.Buffer(nil, maxLine)
		n := 0
		var none noActions
		// say passes a record on. A line that was cut with its connection is no fault of the agent's JSON.
		say := func(record []byte) (goOn bool) {
			a, err := readRecord(record)
			switch {
			case err == nil:
				return a == nil || none.tell(yield) && yield(a, nil)
			case in.Err() != nil:
				return true
			}
			err = fmt.Errorf("agent: line %d of the answer %w", n, err)
			if _, ok := errors.AsType[noAction](err); ok {
				return none.add(err, yield)
			}
			yield(nil, err)
			return false
		}
		for in.Scan() {
			line := in.Bytes()
			if n++; n == 1 {
				line = unmarked(line)
			}
			if !say(f.add(bytes.TrimSpace(line))) {
				return
			}
		}
		switch err := in.Err(); {
		case err == nil:
			if say(f.end()) && none.first != nil {
				yield(nil, none.first)
			}
		case errors.Is(err, bufio.ErrTooLong):
			yield(nil, errLineTooLong)
		default:
			yield(nil, broken(ctx, err))
		}
	}
}

// noActions are records that are JSON and no actions. Beside others that are, each is an action without an op, so that
// whoever carries them out says so. If there is nothing else, the answer is no answer.
type noActions struct {
	held  int   // until there is an action
	first error // nil once there is an action
	told  bool  // there is an action
}

func (s *noActions) add(fault error, yield func(relay.Action, error) bool) (goOn bool) {
	if s.told {
		return yield(relay.Action{}, nil)
	}
	s.held++
	if s.first == nil {
		s.first = fault
	}
	return true
}

// tell is for the moment before an action.
func (s *noActions) tell(yield func(relay.Action, error) bool) (goOn bool) {
	s.told, s.first = true, nil
	for ; s.held > 0; s.held-- {
		if !yield(relay.Action{}, nil) {
			return false
		}
	}
	return true
}

var errLineTooLong = fmt.Errorf("agent: a line of the answer is over %d bytes", maxLine)

// readRecord reads a record, if there is one.
func readRecord(record []byte) (relay.Action, error) {
	switch {
	case len(bytes.TrimSpace(record)) == 0:
		return nil, nil
	case len(record) > maxLine:
		return nil, fmt.Errorf("is over %d bytes", maxLine)
	}
	return DecodeLine(record)
}
