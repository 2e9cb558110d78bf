package relay

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math/bits"
	"unicode/utf8"
)

// scanner checks a JSON text and reads it in the same pass, from its start to its end. It has no errors to handle at each
// step: from the first fault on everything reads as empty, and ended reports false. So what has been read counts only once
// ended has reported true. Names may repeat, and strings may hold broken UTF-8: it reads as U+FFFD, and so does a lone
// surrogate.
type scanner struct {
	json  []byte
	at    int
	depth int  // of brackets that are open
	bad   bool // a fault was met
	wide  bool // a string has bytes beyond ASCII, which need not be UTF-8
}

const maxDepth = 10_000 // of objects and arrays; as in encoding/json

// ended reports whether the text was one JSON value, all of which has been read.
func (s *scanner) ended() bool { return s.peek() == 0 && s.at == len(s.json) && !s.bad }

func (s *scanner) fail() { s.bad, s.at = true, len(s.json) }

// peek passes blanks and returns the byte behind them, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.json) && s.json[s.at] > ' ' { // mostly there are none
		return s.json[s.at]
	}
	return s.blanks()
}

func (s *scanner) blanks() byte {
	for ; s.at < len(s.json); s.at++ {
		switch b := s.json[s.at]; b {
		case ' ', '\t', '\r', '\n':
		default:
			return b
		}
	}
	return 0
}

// members reads an object: it yields each name, and the body of the loop may read the value. If it does not, the value is
// skipped. The body must not break out of the loop. Of a value that is no object there is nothing to yield.
func (s *scanner) members() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if s.peek() != '{' {
			s.skip()
			return
		}
		s.open()
		for first := true; s.more('}', first); first = false {
			name := s.name()
			s.peek()
			switch start := s.at; {
			case !yield(name):
				return
			case s.at == start:
				s.skip()
			}
		}
	}
}

// open passes the bracket that opens an object or an array.
func (s *scanner) open() {
	s.at++
	if s.depth++; s.depth > maxDepth {
		s.fail()
	}
}

// more passes what stands before the next member or element. At the end it passes the bracket that closes, and is false.
func (s *scanner) more(bracket byte, first bool) bool {
	switch b := s.peek(); {
	case b == bracket:
		s.at++
		s.depth--
		return false
	case b == 0 || !first && b != ',':
		s.fail()
		return false
	case !first:
		s.at++
	}
	return true
}

// name reads a member's name and the colon.
func (s *scanner) name() []byte {
	if s.peek() != '"' {
		s.fail()
		return nil
	}
	start := s.at
	plain := s.skipString()
	raw := s.json[start:s.at]
	if s.peek() != ':' {
		s.fail()
		return nil
	}
	s.at++
	if !plain && bytes.IndexByte(raw, '\\') >= 0 {
		return []byte(value(raw).text())
	}
	return raw[1 : len(raw)-1]
}

// value reads any value, nil if there is none.
func (s *scanner) value() value {
	s.peek()
	start := s.at
	if s.skip(); s.bad {
		return nil
	}
	return s.json[start:s.at]
}

// text reads any value and returns its text, see value.text.
func (s *scanner) text() string {
	if s.peek() != '"' {
		return s.value().text()
	}
	start := s.at
	switch plain := s.skipString(); {
	case plain:
		return string(s.json[start+1 : s.at-1])
	case s.bad:
		return ""
	}
	return value(s.json[start:s.at]).text()
}

// skip passes a value.
func (s *scanner) skip() {
	switch b := s.peek(); b {
	case '"':
		s.skipString()
	case '{':
		for range s.members() { // which skips their values
		}
	case '[':
		s.open()
		for first := true; s.more(']', first); first = false {
			s.skip()
		}
	case 't':
		s.skipWord("true")
	case 'f':
		s.skipWord("false")
	case 'n':
		s.skipWord("null")
	default:
		s.skipNumber()
	}
}

func (s *scanner) skipWord(word string) {
	if len(s.json)-s.at < len(word) || string(s.json[s.at:s.at+len(word)]) != word {
		s.fail()
		return
	}
	s.at += len(word)
}

// skipString passes a string, and reports whether its inside is its text: there is no escape in it, and it is all ASCII.
func (s *scanner) skipString() (plain bool) {
	plain = true
	for i := s.at + 1; ; {
		for i+8 <= len(s.json) { // eight bytes at a time, up to the first that means something
			if found := special(binary.LittleEndian.Uint64(s.json[i:])); found != 0 {
				i += bits.TrailingZeros64(found) / 8
				break
			}
			i += 8
		}
		if i >= len(s.json) {
			break
		}
		switch b := s.json[i]; {
		case b == '"':
			s.at = i + 1
			return plain
		case b == '\\':
			plain = false
			n := escapeLen(s.json[i:])
			if n == 0 {
				s.fail()
				return false
			}
			i += n
		case b < ' ':
			s.fail()
			return false
		case b >= utf8.RuneSelf:
			plain, s.wide = false, true
			for i < len(s.json) && s.json[i] >= utf8.RuneSelf {
				i++
			}
		default:
			i++
		}
	}
	s.fail()
	return false
}

// special has the highest bit of the first byte of word that is a quote, a backslash, a control character or beyond ASCII;
// bits above that one say nothing. None is set if no byte is.
func special(word uint64) uint64 {
	controls := (word - lows*' ') &^ word & highs
	return having(word, '"') | having(word, '\\') | controls | word&highs
}

// escapeLen is the length of the escape that b starts with, 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) >= 6 && len(bytes.Trim(b[2:6], "0123456789abcdefABCDEF")) == 0 {
			return 6
		}
	}
	return 0
}

// skipNumber passes a number. Anything else is a fault: it is no JSON value at all.
func (s *scanner) skipNumber() {
	s.pass('-', '-')
	fine := s.pass('0', '0') || s.digits()
	if s.pass('.', '.') {
		fine = s.digits() && fine
	}
	if s.pass('e', 'E') {
		_ = s.pass('+', '-')
		fine = s.digits() && fine
	}
	if !fine {
		s.fail()
	}
}

// pass passes one byte if it is a or b.
func (s *scanner) pass(a, b byte) bool {
	if s.at < len(s.json) && (s.json[s.at] == a || s.json[s.at] == b) {
		s.at++
		return true
	}
	return false
}

// digits passes digits, and reports whether there are any.
func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.json) && '0' <= s.json[s.at] && s.json[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}
