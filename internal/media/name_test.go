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
