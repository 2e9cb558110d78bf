package relay

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/matryer/is"
)

func FuzzValue(f *testing.F) { // walking over a value finds what encoding/json finds
	f.Add([]byte(`{"a":"x","b":[1,-2.5e3,true,null,{"c":"\"\\"}],"a":{"d":"}]"}}`))
	f.Add([]byte(" [ \"\\u00e9\\ud83d\\ude00\" , [ ] , { } , \"\\\\\" ] "))
	f.Add([]byte(`{"":0,"\u0061":"\/"}`))
	f.Add([]byte("{\"\xe1\":\"\xe1\"}"))
	f.Add([]byte(`["1234567","12345678","123456789","1234567\"","12345678\"9","123456\\","1234567\\8","\u0022345678\\\"9"]`)) // words of eight
	f.Add([]byte("[\"1234567\xc3\xa9\",\"12345678\xc3\xa9\",\"\x80\x80!!!!!!\",\"]]]]]]]]\",\"########\"]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, ok := parse(raw)
		var want any
		if utf8.Valid(raw) {
			is.New(t).Equal(ok, json.Valid(raw))
		}
		if !ok || json.Unmarshal(raw, &want) != nil { // the latter refuses numbers that no float holds
			t.Skip()
		}
		is.New(t).Equal(v.any(), want)
	})
}

// any is v as encoding/json decodes it.
func (v value) any() any {
	switch {
	case v.isObject():
		m := map[string]any{}
		for name, v := range v.members() {
			m[string([]rune(string(name)))] = v.any() // broken UTF-8 in a name matters to nobody: no name that we know has it
		}
		return m
	case v.isString():
		return v.text()
	case v.isTrue():
		return true
	case v.isNull():
		return nil
	case v[0] == '[':
		list := []any{}
		for v := range v.elements() {
			list = append(list, v.any())
		}
		return list
	case v.isNumber():
		var n float64
		if err := json.Unmarshal(v, &n); err != nil {
			panic(err)
		}
		return n
	}
	return false
}
