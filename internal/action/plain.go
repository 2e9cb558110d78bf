package action

import (
	"strings"
)

var (
	links   = compiled(`\[([^\[\]\n]+)\]\(([^()\s]+)\)`)
	urls    = compiled(`https?://\S+`)
	inWord  = compiled(`([\pL\pN])_([\pL\pN])`)
	marks   = strings.NewReplacer("*", "", "~~", "", "||", "", "`", "", "_", "", "[", "(", "]", ")", "<", "‹", ">", "›", `\`, "")
	escapes = strings.NewReplacer("_", "%5F", "*", "%2A", "~~", "%7E%7E", "`", "%60", "[", "%5B", "]", "%5D")
)

// Plain returns the action with its text free of all that a platform could take for markup; changed is false if it was.
func (o Outgoing) Plain() (plain Outgoing, changed bool) {
	text := o.text("content")
	clean := plainText(text)
	if clean == text || strings.TrimSpace(clean) == "" {
		return o, false
	}
	plain = o.Clone()
	plain.Action["content"] = clean
	return plain, true
}

func plainText(text string) string {
	text = links().ReplaceAllString(text, "$1 ($2)")
	var b strings.Builder
	for {
		at := urls().FindStringIndex(text)
		if at == nil {
			b.WriteString(plainWords(text))
			return b.String()
		}
		b.WriteString(plainWords(text[:at[0]]))
		b.WriteString(escapes.Replace(text[at[0]:at[1]]))
		text = text[at[1]:]
	}
}

func plainWords(text string) string {
	for before := ""; before != text; { // twice for a_b_c
		before, text = text, inWord().ReplaceAllString(text, "$1＿$2")
	}
	return marks.Replace(text)
}
