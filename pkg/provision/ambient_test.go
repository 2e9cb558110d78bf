package provision

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"
)

func TestAmbientTokenVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/ambient_tokens.json")
	is.New(t).NoErr(err)
	var vectors struct {
		Cases []struct {
			Body  string
			Token *string
		}
	}
	is.New(t).NoErr(json.Unmarshal(raw, &vectors))
	is.New(t).True(len(vectors.Cases) > 20)
	for _, tt := range vectors.Cases {
		t.Run(tt.Body, func(t *testing.T) {
			want := ""
			if tt.Token != nil {
				want = *tt.Token
			}
			is.New(t).Equal(ambientToken([]byte(tt.Body)), want)
		})
	}
}

func FuzzAmbientToken(f *testing.F) { // a token is part of the answer, of one line, and its end is in range or unknown
	f.Add([]byte("eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE4MDAwMDAwMDB9.c2ln\n"))
	f.Add([]byte(`{"access_token":" a.eyJleHAiOjFlMzB9.c "}`))
	f.Add([]byte(strings.Repeat("x", 32)))
	f.Add([]byte(`{"access_token":["x"]}`))
	f.Add([]byte("a.eyJleHAiOiJ4In0.c"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		is := is.New(t)
		token := ambientToken(raw)
		is.Equal(token, strings.TrimSpace(token))
		end := tokenEnd(token)
		is.True(end.IsZero() || end.After(time.Unix(0, 0)) && end.Year() < 40000)
		tokenEnd(string(raw))
	})
}
