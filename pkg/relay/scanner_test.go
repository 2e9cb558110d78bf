package relay

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/matryer/is"
)

func valid(raw []byte) bool {
	return jsontext.Value(raw).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func TestScannerTakesWhatIsJSON(t *testing.T) {
	long := strings.Repeat("x", 23) // so that a fault may stand in any of eight places of a word
	tests := map[string]bool{
		``: false, ` `: false, "\x00": false, "null\x00": false, `null null`: false, `nul`: false, `nulll`: false, "\t\r\n null ": true,
		`true`: true, `tru`: false, `false`: true, `False`: false,
		`0`: true, `-0`: true, `-`: false, `01`: false, `-01`: false, `1.`: false, `.5`: false, `1.5`: true, `1e5`: true, `1E+05`: true,
		`1e`: false, `1e+`: false, `1.e1`: false, `+1`: false, `1x`: false, `1e400`: true, `1.5.5`: false, `--1`: false, `1e5.5`: false,
		`""`: true, `"`: false, `"\"`: false, `"\\"`: true, `"\"\\\/\b\f\n\r\t"`: true, `"\a"`: false, `"\`: false,
		`"\u00e9\uD83D\ude00"`: true, `"\ud800"`: true, `"\u00e"`: false, `"\u00eg"`: false, `"\u00`: false, "\"\x7f\"": true,
		"\"\xff\xfe\"": true, "\"\x1f\"": false, "\"\n\"": false, "\xff": false, "{\"\xff\":1}": true,
		`[]`: true, `[ ]`: true, `[1]`: true, `[1,]`: false, `[,]`: false, `[,1]`: false, `[1 2]`: false, `[`: false, `[1`: false, `[1,`: false,
		`]`: false, `[}`: false, `[1}`: false, `[[],[[]],{}]`: true, `[[]`: false,
		`{}`: true, `{ }`: true, `{"a":1}`: true, `{"a":1,}`: false, `{,}`: false, `{"a"}`: false, `{"a":}`: false, `{"a":1 "b":2}`: false,
		`{a:1}`: false, `{1:1}`: false, `{"a":1,"a":2}`: true, `{"a" : 1 , "b" : {"c":[{}]} }`: true, `{`: false, `{"a`: false, `{"a":1]`: false,
		`{"a"1}`: false, `{"a":1,"b"}`: false, `{null:1}`: false, `{}}`: false, `{"\u0061":1}`: true, `{"\u006":1}`: false,
	}
	for n := range 9 {
		tests[`"`+long[:n]+"\x1f"+long+`"`] = false
		tests[`"`+long[:n]+"\x20"+long+`"`] = true
		tests[`"`+long[:n]+"\x80\x1f"+long+`"`] = false
		tests[`"`+long[:n]+"\xc3\xa9"+long+`"`] = true
		tests[`"`+long[:n]+`\"`+long+`"`] = true
		tests[`"`+long[:n]+`\x`+long+`"`] = false
		tests[`"`+long[:n]+`"`+long+`"`] = false
	}
	for raw, want := range tests {
		t.Run(raw, func(t *testing.T) {
			is := is.New(t)
			_, ok := parse([]byte(raw))
			is.Equal(ok, want)
			is.Equal(valid([]byte(raw)), want) // jsontext agrees
		})
	}
}

func TestScannerTakesSoManyBrackets(t *testing.T) {
	for _, brackets := range [][2]string{{"[", "]"}, {`{"":`, `}`}} {
		for depth, want := range map[int]bool{maxDepth: true, maxDepth + 1: false} {
			is := is.New(t)
			raw := []byte(strings.Repeat(brackets[0], depth-1) + brackets[0][:1] + brackets[1][:1] + strings.Repeat(brackets[1], depth-1))
			_, ok := parse(raw)
			is.Equal(ok, want)
			is.Equal(valid(raw), want) // jsontext agrees
		}
	}
	is := is.New(t)
	_, ok := parse([]byte("[" + strings.Repeat("[],", 2*maxDepth) + "[]]"))
	is.True(ok) // beside each other there may be more
}

func FuzzScanner(f *testing.F) { // it takes what jsontext takes, and reads what a walk over the value reads
	f.Add([]byte(`{"a":"x","b":[1,-2.5e3,true,null,{"c":"\"\\"}],"a":{"d":"}]"}}`))
	f.Add([]byte(" [ \"\\u00e9\\ud83d\\ude00\" , [ ] , { } , \"\\\\\" , false , 0 , 1E+5 , -0.0 ] "))
	f.Add([]byte("{\"\\u0061\xe1\":\"\xe1\",\"1234567\\\"\":\"12345678\\u00\xc3\"}"))
	f.Add([]byte("[\"1234567\x1f\",\"12345678\xc3\xa9\",\"\x80\x80!!!!!!\",01,1.,1e,tru]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		is := is.New(t)
		v, ok := parse(raw)
		is.Equal(ok, valid(raw))
		if !ok {
			return
		}
		s := scanner{json: raw}
		is.Equal(s.walk(), v.walk())
		is.True(s.ended())
	})
}

// walk reads a value as the decoders read one, objects name by name, the texts of the rest.
func (s *scanner) walk() any {
	if s.peek() != '{' {
		return s.text()
	}
	list := []any{}
	for name := range s.members() {
		list = append(list, string(name))
		if len(name) != 3 { // those are skipped
			list = append(list, s.walk())
		}
	}
	return list
}

// walk is scanner.walk for a value.
func (v value) walk() any {
	if !v.isObject() {
		return v.text()
	}
	list := []any{}
	for name, v := range v.members() {
		list = append(list, string(name))
		if len(name) != 3 {
			list = append(list, v.walk())
		}
	}
	return list
}
