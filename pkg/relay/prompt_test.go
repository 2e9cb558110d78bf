package relay_test

import (
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestParsePromptToken(t *testing.T) {
	type token struct {
		Note    string
		Token   string
		Decoded *struct {
			PromptID string `json:"prompt_id"`
			OptionID string `json:"option_id"`
		}
	}
	differences := map[string]string{
		"quirk of the reference's pattern: one trailing newline is let through": "no id has a newline in it",
	}
	note := func(c token) string { return c.Note }
	eachVector(t, vectors[token](t, "prompt_tokens"), note, differences, func(c token) string {
		got, ok := relay.ParsePromptToken(c.Token)
		if c.Decoded == nil {
			return unlike("is a token", ok, false)
		}
		fault := unlike("is a token", ok, true) + unlike("token", got, relay.PromptToken(*c.Decoded))
		return fault + unlike("text", got.String(), c.Token)
	})
}

func FuzzParsePromptToken(f *testing.F) { // what is taken for a token is written as it was read
	for _, c := range vectors[struct{ Token string }](f, "prompt_tokens") {
		f.Add(c.Token)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token, ok := relay.ParsePromptToken(s)
		if ok {
			is.New(t).Equal(token.String(), s)
		} else {
			is.New(t).Equal(token, relay.PromptToken{})
		}
	})
}
