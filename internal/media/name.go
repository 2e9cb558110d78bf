package media

import (
	"path"
	"strings"
	"sync"
	"unicode"
)

const maxExtension = 16 // characters of a name that a long one keeps at its end

// plainLetters is how letters of Latin alphabets are written without their marks.
var plainLetters = sync.OnceValue(func() *strings.Replacer {
	var pairs []string
	for plain, letters := range map[string]string{
		"A": "ÀÁÂÃÅĀĂĄ", "a": "àáâãåāăą", "C": "ÇĆĈĊČ", "c": "çćĉċč", "D": "ÐĎĐ", "d": "ðďđ", "E": "ÈÉÊËĒĔĖĘĚ", "e": "èéêëēĕėęě",
		"G": "ĜĞĠĢ", "g": "ĝğġģ", "H": "ĤĦ", "h": "ĥħ", "I": "ÌÍÎÏĨĪĬĮİ", "i": "ìíîïĩīĭįı", "J": "Ĵ", "j": "ĵ", "K": "Ķ", "k": "ķ",
		"L": "ĹĻĽĿŁ", "l": "ĺļľŀł", "N": "ÑŃŅŇ", "n": "ñńņňŉ", "O": "ÒÓÔÕØŌŎŐ", "o": "òóôõøōŏő", "R": "ŔŖŘ", "r": "ŕŗř",
		"S": "ŚŜŞŠȘ", "s": "śŝşšșſ", "T": "ŢŤŦȚ", "t": "ţťŧț", "U": "ÙÚÛŨŪŬŮŰŲ", "u": "ùúûũūŭůűų", "W": "Ŵ", "w": "ŵ",
		"Y": "ÝŶŸ", "y": "ýÿŷ", "Z": "ŹŻŽ", "z": "źżž", "Ae": "ÄÆ", "ae": "äæ", "Oe": "ÖŒ", "oe": "öœ", "Ue": "Ü", "ue": "ü",
		"ss": "ß", "Th": "Þ", "th": "þ", "-": "\u2010\u2011\u2012\u2013\u2014", "'": "\u2018\u2019", " ": "\u00a0\u202f",
	} {
		for _, letter := range letters {
			pairs = append(pairs, string(letter), plain)
		}
	}
	return strings.NewReplacer(pairs...)
})

// headerText makes a file name fit for a header, which servers read as Latin-1: it is put into printable ASCII, and of a
// long one the end of the stem goes, not the extension.
func headerText(filename string) string {
	var b strings.Builder
	for _, r := range plainLetters().Replace(strings.ToValidUTF8(filename, "")) {
		switch {
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case unicode.IsControl(r), unicode.In(r, unicode.Mn, unicode.Cf):
		case !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	name := strings.TrimSpace(b.String())
	if len(name) <= maxFilename {
		return name
	}
	extension := path.Ext(name)
	if len(extension) > maxExtension {
		extension = ""
	}
	return strings.TrimSpace(name[:maxFilename-len(extension)]) + extension
}
