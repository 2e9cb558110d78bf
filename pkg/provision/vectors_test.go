package provision

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/provision.json")
	is.New(t).NoErr(err)
	var vectors struct {
		Cases []struct {
			Kind  string
			Note  string
			Input struct {
				GatewayID   string   `json:"gateway_id"`
				Platform    string   `json:"platform"`
				BotID       string   `json:"bot_id"`
				Endpoint    string   `json:"endpoint"`
				RouteKeys   []string `json:"route_keys"`
				InstanceID  string   `json:"instance_id"`
				WakeURL     string   `json:"wake_url"`
				DisplayName string   `json:"display_name"`
			}
			Body     json.RawMessage
			Response json.RawMessage
			Outcome  string
		}
	}
	is.New(t).NoErr(json.Unmarshal(raw, &vectors))
	is.New(t).True(len(vectors.Cases) > 10)
	for _, tt := range vectors.Cases {
		t.Run(tt.Note, func(t *testing.T) {
			is := is.New(t)
			switch tt.Kind {
			case "request":
				in := tt.Input
				got, err := json.Marshal(newBody(Request{
					GatewayID: in.GatewayID, Endpoint: in.Endpoint, RouteKeys: in.RouteKeys, InstanceID: in.InstanceID,
					WakeURL: in.WakeURL, DisplayName: in.DisplayName,
				}, relay.Front{Platform: in.Platform, BotID: in.BotID}))
				is.NoErr(err)
				var want bytes.Buffer
				is.NoErr(json.Compact(&want, tt.Body)) // the vectors have our order of fields
				is.Equal(string(got), want.String())
			case "response":
				creds, err := decodeAnswer(tt.Response)
				is.Equal(outcome(creds, err), tt.Outcome)
			default:
				t.Fatalf("unknown kind %q", tt.Kind)
			}
		})
	}
}

func outcome(creds Credentials, err error) string {
	switch {
	case err == nil && creds.Secret.Usable():
		return "issued"
	case errors.Is(err, ErrWithheld):
		return "withheld"
	default:
		return "error"
	}
}

func TestDisplayNameIsCutByCharacters(t *testing.T) {
	is := is.New(t)
	is.Equal(newBody(Request{DisplayName: strings.Repeat("é", 65)}, relay.Front{}).DisplayName, strings.Repeat("é", 64))
}

func TestBlankSecretIsNone(t *testing.T) {
	is := is.New(t)
	_, err := decodeAnswer([]byte(`{"secret":" \t","gatewayId":"gw-1"}`))
	is.True(err != nil && !errors.Is(err, ErrWithheld))
	_, err = decodeAnswer([]byte(`{"secret":" \t","secretIssued":true}`))
	is.True(err != nil && !errors.Is(err, ErrWithheld)) // it says that there is one
	_, err = decodeAnswer([]byte(`{"secret":" \t","secretIssued": false }`))
	is.True(errors.Is(err, ErrWithheld))
}

func FuzzDecodeAnswer(f *testing.F) { // a secret, or an error that quotes nothing of the answer
	f.Add([]byte(`{"secret":"canary-5ecret","gatewayId":"gw-1","tenant":"t","routeKeys":[]}`))
	f.Add([]byte(`{"secretIssued":false,"tenant":"t"}`))
	f.Add([]byte(`{"secret":["canary-5ecret"]}`))
	f.Add([]byte(`{"secret":"canary-5ecret"`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`null`))
	f.Add([]byte(``))
	known := map[string]bool{}
	for _, raw := range []string{`{}`, `[]`, `{"secretIssued":false}`, strings.Repeat(" ", maxAnswer+1)} {
		_, err := decodeAnswer([]byte(raw))
		known[err.Error()] = true
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		is := is.New(t)
		creds, err := decodeAnswer(raw)
		is.Equal(err == nil, creds.Secret.Usable())
		if err != nil {
			is.True(known[err.Error()])
			is.Equal(creds, Credentials{})
		}
		words := errorField(raw)
		is.True(len([]rune(sanitize(words))) <= maxMessage)
	})
}
