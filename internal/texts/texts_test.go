package texts_test

import (
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/texts"
)

func TestTheZeroTextsAreEnglish(t *testing.T) {
	is := is.New(t)
	var english texts.Texts
	is.Equal(english.Apology(), "Sorry, this message could not be answered.")
	is.Equal(english.ClosedQuestion(), "That question is no longer open.")
	is.True(strings.Contains(english.DayNotice(), "midnight UTC"))
	is.Equal(english.MoreCharacters(1), "[1 more character is left out]")
	is.Equal(english.MoreCharacters(12), "[12 more characters are left out]")
	is.Equal(english.MoreMessages(3), "[3 more messages are left out]")
	is.Equal(english.Above(), "(see above)")
	is.Equal(english.FileNotSent("cat.png"), "[cat.png could not be sent]")
}

func TestSentencesOfAnotherLanguage(t *testing.T) {
	is := is.New(t)
	german, err := texts.Parse(`{
		"apology": "Das konnte leider nicht beantwortet werden.", "closed_question": "Diese Frage ist nicht mehr offen.",
		"day_notice": "Für heute ist Schluss, morgen geht es weiter.", "cut": "[{n} weitere Zeichen fehlen]",
		"cut_messages": "[{n} weitere Nachrichten fehlen]", "file": "[{name} ging nicht]", "above": "(siehe oben)"}`)
	is.NoErr(err)
	is.Equal(german.Apology(), "Das konnte leider nicht beantwortet werden.")
	is.Equal(german.ClosedQuestion(), "Diese Frage ist nicht mehr offen.")
	is.Equal(german.DayNotice(), "Für heute ist Schluss, morgen geht es weiter.")
	is.Equal(german.MoreCharacters(1), "[1 weitere Zeichen fehlen]")
	is.Equal(german.MoreMessages(7), "[7 weitere Nachrichten fehlen]")
	is.Equal(german.Above(), "(siehe oben)")
	is.Equal(german.FileNotSent("a.pdf"), "[a.pdf ging nicht]")

	partly, err := texts.Parse(`{"apology": " Pardon. "}`)
	is.NoErr(err)
	is.Equal(partly.Apology(), "Pardon.")
	is.Equal(partly.ClosedQuestion(), "That question is no longer open.") // what is left out stays English
}

func TestWhatIsWrongWithTexts(t *testing.T) {
	tests := map[string]struct{ raw, want string }{
		"no JSON":               {`apology`, "want a JSON object"},
		"null":                  {`null`, "want a JSON object"},
		"a list":                {`["x"]`, "want a JSON object"},
		"more behind it":        {`{} {}`, "want a JSON object"},
		"an unknown name":       {`{"sorry": "x"}`, `"sorry" is no text of ours; want one of above, apology, closed_question`},
		"a number":              {`{"apology": 7}`, "apology is no text"},
		"null in it":            {`{"day_notice": null}`, "day_notice is no text"},
		"blank":                 {`{"closed_question": " "}`, "closed_question is blank"},
		"a novel":               {`{"apology": "` + strings.Repeat("ä", 501) + `"}`, "apology has more than 500 characters"},
		"a placeholder astray":  {`{"apology": "{n} times sorry"}`, "apology has {n} in it"},
		"another's placeholder": {`{"cut": "[{name}]"}`, "cut has {name} in it, which nothing is put in place of; want {n}"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			_, err := texts.Parse(tt.raw)
			is.True(err != nil)
			is.True(strings.Contains(err.Error(), tt.want)) // the error names the field
		})
	}
}
