package media

import (
	"strings"
	"testing"

	"github.com/matryer/is"
)

func TestAnUploadsNameIsPutIntoASCII(t *testing.T) {
	for name, want := range map[string]string{
		"log.txt":                          "log.txt",
		"Résumé 2026.pdf":                  "Resume 2026.pdf",
		"Re\u0301sume\u0301 2026.pdf":      "Resume 2026.pdf",
		"Größe – Übersicht.ods":            "Groesse - Uebersicht.ods",
		"報告書.pdf":                          "_.pdf",
		"отчёт 7.docx":                     "_ 7.docx",
		"🎩.png":                            "_.png",
		"a\r\nX-Evil: 1\x00.txt":           "aX-Evil: 1.txt",
		"\xff\xfebroken.txt":               "broken.txt",
		" \u200b ":                         "",
		"":                                 "",
		strings.Repeat("n", 300) + ".pdf":  strings.Repeat("n", 251) + ".pdf",
		strings.Repeat("é", 300) + ".pdf":  strings.Repeat("e", 251) + ".pdf",
		"a." + strings.Repeat("n", 300):    "a." + strings.Repeat("n", 253),
		strings.Repeat("報告", 300) + ".pdf": "_.pdf",
	} {
		is.New(t).Equal(headerText(name), want)
	}
}

func FuzzHeaderText(f *testing.F) { // whatever a file is called, a header takes its name
	f.Add("Résumé 2026.pdf")
	f.Add(strings.Repeat(".é", 200))
	f.Fuzz(func(t *testing.T, name string) {
		got := headerText(name)
		if len(got) > maxFilename {
			t.Fatalf("%d characters", len(got))
		}
		for _, r := range got {
			if r < ' ' || r > '~' {
				t.Fatalf("%q has %U", got, r)
			}
		}
	})
}

func TestTheIDOfAnUploadMayBeANumber(t *testing.T) {
	for body, want := range map[string]string{
		`{"id":"f1","size":5}`:                "f1",
		`{"id":17}`:                           "17",
		`{"id":1290000000000000017,"size":5}`: "1290000000000000017",
		"\ufeff" + `{"id":"f1"}` + "\n":       "f1",
		`{"id":null}`:                         "",
		`{"id":{"a":1}}`:                      "",
		`{"id":true}`:                         "",
		`["id"]`:                              "",
		``:                                    "",
	} {
		is.New(t).Equal(idIn([]byte(body)), want)
	}
}

func FuzzUploadID(f *testing.F) { // an id is never longer than the answer that it is in
	f.Add([]byte(`{"id":17}`))
	f.Add([]byte("\ufeff{\"id\":\"a\\u0000b\"}"))
	f.Add([]byte(`{"id":1e400}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if id := idIn(body); len([]rune(id)) > len(body) {
			t.Fatalf("%q comes from %q", id, body)
		}
	})
}
