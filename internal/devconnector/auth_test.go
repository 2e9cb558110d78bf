package devconnector

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

type tokenCase struct {
	ID     string `json:"gateway_id"`
	Secret string `json:"secret"`
	Now    int64  `json:"now_unix"`
	Token  string `json:"token"`
	Exp    int64  `json:"exp"`
}

func tokenCases(t testing.TB) []tokenCase {
	raw, err := os.ReadFile("testdata/upgrade_tokens.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Cases []tokenCase `json:"cases"`
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Cases) == 0 {
		t.Fatal("no cases")
	}
	return vectors.Cases
}

func TestTokensVerify(t *testing.T) {
	for _, tt := range tokenCases(t) {
		t.Run(tt.ID, func(t *testing.T) {
			is := is.New(t)
			secrets := func(id string) []relay.Secret {
				if id != tt.ID {
					return nil
				}
				return []relay.Secret{relay.NewSecret("retired"), relay.NewSecret(tt.Secret)} // any may verify
			}
			check := func(token string, at int64, leeway time.Duration) string {
				id, fault := checkToken(token, secrets, time.Unix(at, 0), leeway)
				if fault == "" {
					is.Equal(id, tt.ID)
				}
				return fault
			}
			is.Equal(check(tt.Token, tt.Now, 0), "")
			if tt.Exp == 0 {
				is.Equal(check(tt.Token, tt.Now+1e9, 0), "") // never expires
			} else {
				is.Equal(check(tt.Token, tt.Exp, 0), "")
				is.Equal(check(tt.Token, tt.Exp+1, 0), "expired")
				is.Equal(check(tt.Token, tt.Exp+120, 2*time.Minute), "")
				is.Equal(check(tt.Token, tt.Exp+121, 2*time.Minute), "expired")
			}

			raw, err := base64.RawURLEncoding.DecodeString(tt.Token)
			is.NoErr(err)
			bad := map[string]string{
				"tampered":       base64.RawURLEncoding.EncodeToString(append([]byte("x"), raw...)),
				"upper-case hex": base64.RawURLEncoding.EncodeToString(upperHex(raw)),
				"padded":         base64.URLEncoding.EncodeToString(append(raw, ' ')),
				"cut":            tt.Token[:len(tt.Token)-4],
				"empty":          "",
				"no colons":      base64.RawURLEncoding.EncodeToString([]byte("gw-1")),
				"one colon":      base64.RawURLEncoding.EncodeToString([]byte("gw-1:0")),
			}
			for name, token := range bad {
				if fault := check(token, tt.Now, 0); fault != "unauthorized" {
					t.Errorf("%s: %q", name, fault)
				}
			}
		})
	}
}

func upperHex(raw []byte) []byte {
	id, sig, _ := cutLast(string(raw), ":")
	return []byte(id + ":" + strings.ToUpper(sig))
}

func TestAgedTokenOfAnUnknownSecretIsUnauthorized(t *testing.T) {
	tt := tokenCases(t)[0]
	secrets := func(string) []relay.Secret { return []relay.Secret{relay.NewSecret("another")} }
	_, fault := checkToken(tt.Token, secrets, time.Unix(tt.Exp+1, 0), 0)
	is.New(t).Equal(fault, "unauthorized")
}

func FuzzToken(f *testing.F) { // nothing but a token that was minted verifies
	minted := make(map[string]bool)
	for _, tt := range tokenCases(f) {
		f.Add(tt.Token)
		minted[tt.Token] = true
	}
	f.Add("")
	f.Add("Ojo6")
	secrets := func(string) []relay.Secret { return []relay.Secret{relay.NewSecret("s3cret")} }
	f.Fuzz(func(t *testing.T, token string) {
		if id, fault := checkToken(token, secrets, time.Unix(1700000000, 0), 0); fault == "" && !minted[token] {
			t.Errorf("%q verifies as %q", token, id)
		}
	})
}

func FuzzFrame(f *testing.F) { // no line is trouble, and what is no object is no frame
	for _, line := range append(Garbage(),
		`{"type":"hello","platform":"discord","botId":"b","command_manifest":[]}`,
		`{"type":"outbound","requestId":"0","action":{"op":"send","chat_id":"c","content":"\ud800"}}`,
		`{"type":"inbound_ack","bufferId":7}`,
		`{"type":"interrupt","session_key":"k","reason":null}`,
		`{"type":"going_idle"}`) {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if len(line) == 0 {
			return
		}
		if _, ok := decodeFrame(line); ok && !json.Valid(line) {
			t.Errorf("%q is taken for a frame", line)
		}
	})
}
