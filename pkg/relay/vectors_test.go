package relay_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/matryer/is"
)

// vectors reads the cases of a file of conformance vectors (section 16).
func vectors[T any](t testing.TB, name string) []T {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []T }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(file.Cases) == 0 {
		t.Fatalf("%s: no cases", name)
	}
	return file.Cases
}

// eachVector runs check on every case. A case in differences, by its note, must fail it: what we do there on purpose is
// not what the vector says. It names only cases that are quirks or errors of the reference, or says why not.
func eachVector[T any](t *testing.T, cases []T, note func(T) string, differences map[string]string, check func(T) string) {
	t.Helper()
	unused := maps.Clone(differences)
	for i, c := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			fault := check(c)
			why, differs := differences[note(c)]
			delete(unused, note(c))
			switch {
			case differs && fault == "":
				t.Errorf("%s: no longer differs (%s)", note(c), why)
			case !differs && fault != "":
				t.Errorf("%s: %s", note(c), fault)
			}
		})
	}
	is.New(t).Equal(len(unused), 0) // every listed difference is a case
}

// loose is a vector's value as our structs hold it: null, false and [] are empty, all but strings is its JSON text.
type loose string

func (l *loose) UnmarshalJSON(raw []byte) error {
	if raw[0] == '"' {
		return json.Unmarshal(raw, (*string)(l))
	}
	var text bytes.Buffer
	if err := json.Compact(&text, raw); err != nil {
		return err
	}
	*l = loose(text.String())
	switch *l {
	case "null", "false", "[]":
		*l = ""
	}
	return nil
}

// fields are the members of an object that are not empty.
type fields map[string]loose

func (f *fields) UnmarshalJSON(raw []byte) error {
	var all map[string]loose
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	maps.DeleteFunc(all, func(_ string, v loose) bool { return v == "" })
	*f = all
	return nil
}

// fieldsOf is what v marshals to.
func fieldsOf(v any) fields {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var f fields
	if err := json.Unmarshal(raw, &f); err != nil {
		panic(err)
	}
	return f
}

// unlike says how got differs from want, "" if it does not.
func unlike(what string, got, want any) string {
	g, w := fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", want)
	if g == w {
		return ""
	}
	return fmt.Sprintf("%s: got %s, want %s\n", what, g, w)
}
