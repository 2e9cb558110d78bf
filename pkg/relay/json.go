package relay

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// value is one valid JSON value without blanks around it. Its readers never fail: a value of another type than asked for
// reads as the zero value. One walk over the bytes is faster than decoding into structs. The contract also wants more
// leniency than structs have: numbers as ids, defaults for odd types, the last of duplicate names.
type value []byte

// parse returns raw without its blanks, and false if it is not exactly one JSON value.
func parse(raw []byte) (value, bool) {
	s := scanner{json: raw}
	v := s.value()
	return v, s.ended()
}

func (v value) isObject() bool { return len(v) > 0 && v[0] == '{' }
func (v value) isArray() bool  { return len(v) > 0 && v[0] == '[' }
func (v value) isNull() bool   { return len(v) > 0 && v[0] == 'n' }
func (v value) isTrue() bool   { return len(v) > 0 && v[0] == 't' }
func (v value) isString() bool { return len(v) > 0 && v[0] == '"' }
func (v value) isNumber() bool { return len(v) > 0 && (v[0] == '-' || '0' <= v[0] && v[0] <= '9') }

// members walks over an object's names, unquoted, and their values.
func (v value) members() iter.Seq2[[]byte, value] {
	return func(yield func([]byte, value) bool) {
		if !v.isObject() {
			return
		}
		for i := next(v, 1); v[i] != '}'; i = next(v, i) {
			end := v.end(i)
			name := v[i+1 : end-1]
			if bytes.IndexByte(name, '\\') >= 0 {
				name = value(v[i:end].text())
			}
			i = next(v, end)
			end = v.end(i)
			if !yield(name, v[i:end]) {
				return
			}
			i = end
		}
	}
}

// elements walks over an array.
func (v value) elements() iter.Seq[value] {
	return func(yield func(value) bool) {
		if !v.isArray() {
			return
		}
		for i := next(v, 1); v[i] != ']'; i = next(v, i) {
			end := v.end(i)
			if !yield(v[i:end]) {
				return
			}
			i = end
		}
	}
}

// member returns the last member of that name, nil if there is none.
func (v value) member(name string) value {
	var last value
	for n, m := range v.members() {
		if string(n) == name {
			last = m
		}
	}
	return last
}

// next returns where the next value or closing bracket starts at or after i.
func next(v value, i int) int {
	for {
		switch v[i] {
		case ' ', '\t', '\r', '\n', ',', ':':
			i++
		default:
			return i
		}
	}
}

// end returns where the value that starts at i ends.
func (v value) end(i int) int {
	switch v[i] {
	case '"':
		return v.endString(i)
	case '{', '[':
		for depth := 0; ; i++ {
			switch v[i] {
			case '"':
				i = v.endString(i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for ; i < len(v); i++ {
		switch v[i] {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			return i
		}
	}
	return i
}

// endString is end for a string.
func (v value) endString(i int) int {
	for i++; ; i++ {
		for i+8 <= len(v) { // eight bytes at a time, up to the first that means something
			word := binary.LittleEndian.Uint64(v[i:])
			if found := having(word, '"') | having(word, '\\'); found != 0 {
				i += bits.TrailingZeros64(found) / 8
				break
			}
			i += 8
		}
		switch v[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
}

const (
	lows  = 0x0101010101010101 // the lowest bit of each byte
	highs = 0x8080808080808080 // the highest
)

// having has the highest bit of the first byte of word that is b; bits above that one say nothing. None is set if no byte is b.
func having(word uint64, b byte) uint64 {
	word ^= lows * uint64(b)
	return (word - lows) &^ word & highs
}

// plain reports whether a string's inside is read as it stands: it has no escapes, and nothing that may be no UTF-8.
func plain(inner []byte) bool {
	for len(inner) >= 8 {
		word := binary.LittleEndian.Uint64(inner)
		if word&highs|having(word, '\\') != 0 {
			return false
		}
		inner = inner[8:]
	}
	for _, b := range inner {
		if b == '\\' || b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// text is a string's text or a number's decimal digits; anything else is empty.
func (v value) text() string {
	switch {
	case v.isNumber():
		return v.decimal()
	case !v.isString():
		return ""
	}
	if inner := v[1 : len(v)-1]; plain(inner) || bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	text, _ := jsontext.AppendUnquote(nil, []byte(v)) // an error only tells that something became U+FFFD
	return string(text)
}

// decimal writes 1e3 and 1.0 as integers: an id that went through a float may look like that.
func (v value) decimal() string {
	if bytes.ContainsAny(v, ".eE") {
		if f, err := strconv.ParseFloat(string(v), 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return strconv.FormatInt(int64(f), 10)
		}
	}
	return string(v)
}

// integer is a number cut to an integer, or a string that holds one, within ±2^53.
func (v value) integer() (n int64, ok bool) {
	const most = 1 << 53
	switch {
	case v.isNumber():
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil { // too large for a float
			return 0, false
		}
		return int64(min(max(f, -most), most)), true
	case v.isString():
		n, err := strconv.ParseInt(strings.TrimFunc(v.text(), isSpace), 10, 64)
		if err != nil {
			return 0, false
		}
		return min(max(n, -most), most), true
	}
	return 0, false
}
