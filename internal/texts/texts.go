// Package texts has the gateway's own sentences to chats, in English or as an operator has written them (DORMOUSE_TEXTS).
//
// Package config reads them, packages turn and action say them. Nothing here blocks or remembers anything, and all functions
// may be called from any goroutine.
package texts

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// Texts are the sentences. The zero Texts are English.
type Texts struct {
	apology        string
	closedQuestion string
	dayNotice      string
	cut            string
	cutMessages    string
	file           string
	above          string
}

const longest = 500 // code points of one sentence

// sentence is one of them, as DORMOUSE_TEXTS names it.
type sentence struct {
	place func(*Texts) *string
	takes string // the placeholder that it may have
}

var sentences = map[string]sentence{
	"apology":         {place: func(t *Texts) *string { return &t.apology }},
	"closed_question": {place: func(t *Texts) *string { return &t.closedQuestion }},
	"day_notice":      {place: func(t *Texts) *string { return &t.dayNotice }},
	"cut":             {func(t *Texts) *string { return &t.cut }, "{n}"},
	"cut_messages":    {func(t *Texts) *string { return &t.cutMessages }, "{n}"},
	"file":            {func(t *Texts) *string { return &t.file }, "{name}"},
	"above":           {place: func(t *Texts) *string { return &t.above }},
}

var placeholder = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{\w*\}`) })

// Parse reads a JSON object of sentences. What it leaves out stays English. The error says which member is wrong, and why.
func Parse(raw string) (Texts, error) {
	var t Texts
	var members map[string]any
	if err := json.Unmarshal([]byte(raw), &members); err != nil || members == nil {
		return Texts{}, fmt.Errorf("want a JSON object of texts, such as {\"apology\": \"...\"}")
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		s, known := sentences[name]
		text, isText := members[name].(string)
		text = strings.TrimSpace(text)
		switch {
		case !known:
			return Texts{}, fmt.Errorf("%.40q is no text of ours; want one of %s", name,
				strings.Join(slices.Sorted(maps.Keys(sentences)), ", "))
		case !isText:
			return Texts{}, fmt.Errorf("%s is no text; want one, or leave it out for English", name)
		case text == "":
			return Texts{}, fmt.Errorf("%s is blank; want a text, or leave it out for English", name)
		case utf8.RuneCountInString(text) > longest:
			return Texts{}, fmt.Errorf("%s has more than %d characters; want a sentence", name, longest)
		}
		for _, found := range placeholder().FindAllString(text, -1) {
			if found == s.takes {
				continue
			}
			return Texts{}, fmt.Errorf("%s has %.40s in it, which nothing is put in place of; want %s", name, found,
				cmp.Or(s.takes, "no braces"))
		}
		*s.place(&t) = text
	}
	return t, nil
}

// Apology is for a message that was given up. It is short and blames nobody.
func (t Texts) Apology() string {
	return cmp.Or(t.apology, "Sorry, this message could not be answered.")
}

// ClosedQuestion answers a button of a question that is not open any more.
func (t Texts) ClosedQuestion() string {
	return cmp.Or(t.closedQuestion, "That question is no longer open.")
}

// DayNotice is for a chat whose message has to wait because the day's budget of turns is used up.
func (t Texts) DayNotice() string {
	return cmp.Or(t.dayNotice, "That is all for today: what you write now is answered after midnight UTC.")
}

// MoreCharacters is the line at the end of a text of which n characters are left out.
func (t Texts) MoreCharacters(n int) string { return more(t.cut, n, "character") }

// MoreMessages is the line at the end of an answer of which n messages are left out.
func (t Texts) MoreMessages(n int) string { return more(t.cutMessages, n, "message") }

func more(text string, n int, what string) string {
	switch {
	case text != "":
		return strings.ReplaceAll(text, "{n}", strconv.Itoa(n))
	case n == 1:
		return fmt.Sprintf("[1 more %s is left out]", what)
	}
	return fmt.Sprintf("[%d more %ss are left out]", n, what)
}

// Above takes the place of a message's words that are over, where it cannot be deleted: what holds is in the one before.
func (t Texts) Above() string { return cmp.Or(t.above, "(see above)") }

// FileNotSent takes the place of a file that the connector cannot send.
func (t Texts) FileNotSent(name string) string {
	return strings.ReplaceAll(cmp.Or(t.file, "[{name} could not be sent]"), "{name}", name)
}
