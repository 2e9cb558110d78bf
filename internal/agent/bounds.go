package agent

import (
	"bytes"
	"errors"
	"fmt"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	// mostValues is how many JSON values of an answer are held, or of one record of a stream. A value of two bytes takes up to two
	// hundred in memory: an answer of 6 MiB could take a gigabyte. What is sent of an answer has a hundredth of that.
	mostValues = 20_000

	mostDepth = 1000 // of objects and lists in each other: each level costs each of those who read it, down to the connector
)

// bulk is what a JSON text holds, told without reading it.
type bulk struct {
	values int // at least as many as there are, but for numbers with nothing but blanks between them
	depth  int // of objects and lists in each other
	open   int // how many are open at the end
}

func bulkOf(text []byte) (b bulk) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			b.values++
			b.open++
			b.depth = max(b.depth, b.open)
		case '}', ']':
			b.open--
		case ',', ':':
			b.values++
		}
	}
	return b
}

// fault is what is wrong with a JSON text that holds so much; nil if it is not too much.
func (b bulk) fault() error {
	switch {
	case b.depth > mostDepth:
		return fmt.Errorf("has objects or lists %d deep in each other, want at most %d", b.depth, mostDepth)
	case b.values > mostValues:
		return fmt.Errorf("holds over %d values", mostValues)
	}
	return nil
}

// tooMuchError is for an answer that holds too much.
type tooMuchError struct{ error }

// asTooMuch returns the tooMuchError in err, nil if there is none.
func asTooMuch(err error) error {
	if e, is := errors.AsType[tooMuchError](err); is {
		return e
	}
	return nil
}

// actions are an answer's. Of those behind mostValues only their number is known, as none of them would be sent.
type actions struct {
	list []relay.Action
	more int
}

// UnmarshalJSONFrom reads a list.
func (a *actions) UnmarshalJSONFrom(d *jsontext.Decoder) error { return a.read(d, false) }

// mixed are actions of which some may be none: each of these is one without an op.
type mixed struct{ actions }

// UnmarshalJSONFrom reads a list.
func (m *mixed) UnmarshalJSONFrom(d *jsontext.Decoder) error { return m.read(d, true) }

func (a *actions) read(d *jsontext.Decoder, lenient bool) error {
	*a = actions{}
	if d.PeekKind() != '[' {
		return jsonv2.UnmarshalDecode(d, &a.list, leniency) // null, or the fault
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	a.list = []relay.Action{}
	for held := 0; d.PeekKind() != ']'; {
		raw, err := d.ReadValue()
		if err != nil {
			return err
		}
		size := bulkOf(raw)
		if err := size.fault(); err != nil {
			return tooMuchError{fmt.Errorf("agent: actions[%d] %w", len(a.list)+a.more, err)}
		}
		if held += size.values + 1; held > mostValues {
			err = a.passOver(raw)
		} else {
			err = a.add(raw, lenient)
		}
		if fault, is := errors.AsType[*jsonv2.SemanticError](err); is {
			fault.JSONPointer = d.StackPointer() + fault.JSONPointer
		}
		if err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// add adds an action to the list.
func (a *actions) add(raw jsontext.Value, lenient bool) error {
	var one relay.Action
	if err := jsonv2.Unmarshal(raw, &one, leniency); err != nil && !lenient {
		return err
	} else if err != nil || one == nil { // null has no op
		one = relay.Action{}
	}
	a.list = append(a.list, one)
	return nil
}

// passOver counts an action that is not held. An edit changes what is sent, so that it cannot be left out.
func (a *actions) passOver(raw jsontext.Value) error {
	if !bytes.Contains(raw, []byte(`"op"`)) {
		return nil // or written in a way that nobody does
	}
	var in struct {
		Op jsontext.Value `json:"op"`
	}
	if bytes.Contains(raw, []byte(`"typing"`)) || bytes.Contains(raw, []byte(`"edit"`)) || bytes.Contains(raw, []byte(`"delete"`)) {
		jsonv2.Unmarshal(raw, &in, leniency) // it is JSON
	}
	switch string(in.Op) {
	case `"typing"`:
		return nil
	case `"edit"`, `"delete"`:
		return tooMuchError{fmt.Errorf("agent: the answer holds over %d values before an edit: stream it, or say less", mostValues)}
	}
	a.more++
	return nil
}
