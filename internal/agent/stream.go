package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Skipped is what a stream yields for a record that is no action. It is not the end: others can be read.
type Skipped struct{ err error }

func (s *Skipped) Error() string { return s.err.Error() }

// Unwrap returns what is wrong with the record.
func (s *Skipped) Unwrap() error { return s.err }

const maxSkipped = 20 // records of a stream that are reported so

// stream reads a streamed answer and closes its body. Blank lines are signs of life.
func stream(ctx context.Context, body io.ReadCloser, f framing) iter.Seq2[relay.Action, error] {
	return func(yield func(relay.Action, error) bool) {
		defer body.Close()
		r := reading{yield: yield, framing: f}
		in := bufio.NewScanner(body)
		in.Buffer(nil, maxLine)
		in.Split(r.split)
		for in.Scan() {
			if !r.line(in.Bytes()) {
				return
			}
		}
		if err := in.Err(); err != nil {
			yield(nil, broken(ctx, err))
			return
		}
		r.end()
	}
}

// reading is a stream that is being read. Faults of records are held back until there is an action: if there is none, the body
// as a whole may be an answer.
type reading struct {
	yield    func(relay.Action, error) bool
	framing  framing
	n        int  // lines
	begun    bool // one of them is not blank
	over     bool // the line is too long, and being passed over
	cut      bool // the line has no end: the last one
	returned bool // the line before ends in a carriage return

	told    bool   // there is an action
	whole   []byte // the body until then
	partial bool   // it is not all of that: it is too long
	held    []error
	skipped int
	broke   error // what is wrong with the last record, if the stream broke off in it
}

// split is bufio.ScanLines, but passes over what is too long. A carriage return alone ends a line, too, as server-sent events may
// have it; a record separator begins one.
func (r *reading) split(data []byte, atEOF bool) (advance int, token []byte, err error) {
	skip := 0
	if r.returned && len(data) > 0 && data[0] == '\n' {
		skip = 1 // it belongs to the end before
	}
	rest := data[skip:]
	begin := len(rest) - len(bytes.TrimLeft(rest, recordSeparator))
	end := lineEnd(rest[begin:]) + begin
	hasEnd := end >= begin
	r.cut = atEOF && !hasEnd
	switch {
	case hasEnd && rest[end] == recordSeparator[0]:
		advance = skip + end
	case hasEnd:
		advance = skip + end + 1
	case len(rest) >= maxLine-1:
		r.over, r.returned = true, false
		return len(data), nil, nil
	case !atEOF:
		return 0, nil, nil
	case len(rest) == 0:
		return len(data), nil, nil
	default:
		end, advance = len(rest), len(data)
	}
	r.returned = hasEnd && rest[end] == '\r'
	return advance, rest[:end], nil
}

// lineEnd is where a line ends, -1 if it has no end.
func lineEnd(data []byte) int {
	end := -1
	for _, c := range []byte("\n\r" + recordSeparator) {
		if i := bytes.IndexByte(data, c); i >= 0 {
			end, data = i, data[:i] // what is behind it need not be looked at
		}
	}
	return end
}

// line takes a line. It returns false once nobody listens.
func (r *reading) line(line []byte) (goOn bool) {
	r.n++
	if r.over {
		r.over, r.partial = false, true
		return r.fault(errLineTooLong, r.cut)
	}
	if r.n == 1 {
		line = unmarked(line)
	}
	r.partial = r.partial || len(r.whole)+len(line) >= maxAnswer
	if !r.told && !r.partial {
		r.whole = append(append(r.whole, line...), '\n')
	}
	line = bytes.TrimSpace(line)
	if !r.begun && len(line) > 0 {
		r.begun, r.framing = true, look(line, r.framing)
	}
	return r.record(r.framing.add(line), r.cut)
}

// record passes on what a record says. last says that the body ends with it, though it has no end.
func (r *reading) record(record []byte, last bool) (goOn bool) {
	actions, err := readRecord(record)
	if l, is := errors.AsType[*LaterError](err); is && !r.told {
		r.yield(nil, l)
		return false
	}
	for _, a := range actions {
		if !r.tell() || !r.yield(a, nil) {
			return false
		}
	}
	if err == nil {
		return true
	}
	_, isJSON := errors.AsType[noAction](err)
	return r.fault(fmt.Errorf("agent: line %d of the answer %w", r.n, err), last && !isJSON)
}

// tell is for the moment before an action.
func (r *reading) tell() (goOn bool) {
	held := r.held
	r.told, r.whole, r.held = true, nil, nil
	for _, err := range held {
		if !r.yield(nil, &Skipped{err}) {
			return false
		}
	}
	return true
}

// fault notes what is wrong with a record. breaks says that the stream broke off in it.
func (r *reading) fault(err error, breaks bool) (goOn bool) {
	r.skipped++
	switch {
	case breaks:
		r.broke = err
	case r.skipped > maxSkipped:
	case r.told:
		return r.yield(nil, &Skipped{err})
	default:
		r.held = append(r.held, err)
	}
	return true
}

// end is for the end of the body.
func (r *reading) end() {
	if r.over {
		r.broke, r.partial = errLineTooLong, true
	}
	if !r.record(r.framing.end(), true) {
		return
	}
	if r.told || r.skipped == 0 && r.broke == nil {
		if r.broke != nil {
			r.yield(nil, r.broke)
		}
		return
	}
	if answer, err := Decode(r.whole); err == nil && !r.partial {
		if answer.Later > 0 {
			r.yield(nil, &LaterError{answer.Later})
			return
		}
		for _, a := range answer.Actions {
			if !r.yield(a, nil) {
				return
			}
		}
		return
	}
	r.yield(nil, append(r.held, r.broke)[0])
}

var errLineTooLong = fmt.Errorf("agent: a line of the answer is over %d bytes", maxLine)

// readRecord reads what a record says: an action, several without anything between them, a whole answer, or nothing.
func readRecord(record []byte) (actions []relay.Action, err error) {
	switch {
	case len(bytes.TrimSpace(record)) == 0:
		return nil, nil
	case len(record) > maxLine:
		return nil, fmt.Errorf("is over %d bytes", maxLine)
	}
	a, fault := DecodeLine(record)
	if fault == nil {
		return some(a), nil
	}
	switch answer, err := Decode(record); {
	case errors.Is(err, errLater), asTooMuch(err) != nil:
		return nil, noAction{err}
	case err == nil && answer.Later > 0:
		return nil, &LaterError{answer.Later}
	case err == nil:
		return answer.Actions, nil
	}
	values := valuesIn(record)
	if len(values) < 2 {
		return nil, fault
	}
	for _, value := range values {
		a, fault := DecodeLine(value)
		if fault != nil && err == nil {
			err = fault
		}
		actions = append(actions, some(a)...)
	}
	return actions, err
}

func some(a relay.Action) []relay.Action {
	if a == nil {
		return nil
	}
	return []relay.Action{a}
}

// valuesIn are the JSON values that a record consists of, nil if it does not.
func valuesIn(record []byte) (values []jsontext.Value) {
	d := jsontext.NewDecoder(bytes.NewReader(record), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	for {
		value, err := d.ReadValue()
		switch {
		case errors.Is(err, io.EOF):
			return values
		case err != nil, len(values) == mostValues:
			return nil
		}
		values = append(values, value.Clone())
	}
}
