// Package devissuer is an issuer of identity tokens for development and tests: OpenID discovery, a key set and real
// signatures. It answers the OAuth 2.0 client-credentials grant and a plain GET. It also stands in for AWS STS: set
// AWS_ENDPOINT_URL_STS to its URL, and it answers GetWebIdentityToken.
//
// Tests and dormouse issuer serve an Issuer, which is an http.Handler. New makes its keys, which live in memory only. An
// Issuer blocks on nothing, starts no goroutine, and may be used from several. Its tokens prove nothing about anybody.
package devissuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/dormouse-relay/dormouse/internal/loopback"
)

const life = 300 * time.Second

// Issuer is an http.Handler, to be served at its URL.
type Issuer struct {
	URL          string // its name: the iss of its tokens, without a slash at the end
	Subject      string // the sub of its tokens
	Audience     string // the aud of the tokens that are not GetWebIdentityToken's, which names its own
	ClientID     string // of the client-credentials grant
	ClientSecret string
	Refused      string    // an algorithm that GetWebIdentityToken refuses, for tests; empty: none
	Disabled     bool      // GetWebIdentityToken is switched off in the account
	Now          time.Time // zero: now

	es384 *ecdsa.PrivateKey
	rs256 *rsa.PrivateKey
}

// New makes an issuer with fresh keys.
func New(url string) (*Issuer, error) {
	es384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	rs256, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return &Issuer{URL: url, Subject: "dormouse", es384: es384, rs256: rs256}, nil
}

// ServeHTTP serves discovery, keys, /token and, at /, STS: to this machine, and to those who ask for URL. No page in a browser
// gets a token.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	own := ""
	if u, err := url.Parse(i.URL); err == nil {
		own = u.Hostname()
	}
	loopback.Guard(http.HandlerFunc(i.serve), own).ServeHTTP(w, r)
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/.well-known/openid-configuration":
		write(w, http.StatusOK, map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/jwks.json", "token_endpoint": i.URL + "/token",
			"authorization_endpoint": i.URL + "/none", "response_types_supported": []string{"none"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES384", "RS256"},
		})
	case path == "/jwks.json":
		write(w, http.StatusOK, map[string]any{"keys": i.keys()})
	case path == "/token" && r.Method == http.MethodGet:
		fmt.Fprintln(w, i.Token("RS256", i.Audience))
	case path == "/token" && r.Method == http.MethodPost:
		i.grant(w, r)
	case path == "/" && r.Method == http.MethodPost:
		i.sts(w, r)
	default:
		http.NotFound(w, r)
	}
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// grant answers RFC 6749, section 4.4.
func (i *Issuer) grant(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.PostFormValue("grant_type") != "client_credentials":
		write(w, http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
	case r.PostFormValue("client_id") != i.ClientID || r.PostFormValue("client_secret") != i.ClientSecret:
		write(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
	default:
		write(w, http.StatusOK, map[string]any{
			"access_token": i.Token("RS256", i.Audience), "token_type": "Bearer", "expires_in": int(life / time.Second),
		})
	}
}

// sts answers GetWebIdentityToken as AWS does. Signatures of the request are not looked at.
func (i *Issuer) sts(w http.ResponseWriter, r *http.Request) {
	algorithm, audience := r.PostFormValue("SigningAlgorithm"), r.PostFormValue("Audience.member.1")
	asked := life
	if seconds := r.PostFormValue("DurationSeconds"); seconds != "" {
		n, _ := strconv.Atoi(seconds)
		asked = time.Duration(n) * time.Second
	}
	w.Header().Set("Content-Type", "text/xml")
	switch {
	case r.PostFormValue("Action") != "GetWebIdentityToken":
		stsFault(w, http.StatusBadRequest, "InvalidAction")
	case i.Disabled:
		stsFault(w, http.StatusForbidden, "OutboundWebIdentityFederationDisabledException")
	case algorithm == i.Refused || algorithm != "ES384" && algorithm != "RS256", audience == "",
		asked < time.Minute, asked > time.Hour:
		stsFault(w, http.StatusBadRequest, "ValidationError")
	default:
		fmt.Fprintf(w, `<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">`+
			`<GetWebIdentityTokenResult><WebIdentityToken>%s</WebIdentityToken><Expiration>%s</Expiration>`+
			`</GetWebIdentityTokenResult></GetWebIdentityTokenResponse>`,
			i.token(algorithm, audience, asked), i.now().Add(asked).UTC().Format(time.RFC3339))
	}
}

func stsFault(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprint(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>`)
	xml.EscapeText(w, []byte(code))
	fmt.Fprint(w, `</Code><Message>see the code</Message></Error><RequestId>dev</RequestId></ErrorResponse>`)
}

func (i *Issuer) now() time.Time {
	if !i.Now.IsZero() {
		return i.Now
	}
	return time.Now()
}

// Token signs a token for an audience by ES384 or, with any other algorithm, by RS256.
func (i *Issuer) Token(algorithm, audience string) string { return i.token(algorithm, audience, life) }

func (i *Issuer) token(algorithm, audience string, life time.Duration) string {
	now := i.now()
	head := encode(map[string]string{"typ": "JWT", "alg": algorithm, "kid": algorithm})
	claims := encode(map[string]any{
		"iss": i.URL, "sub": i.Subject, "aud": audience, "iat": now.Unix(), "exp": now.Add(life).Unix(),
		"jti": strconv.FormatInt(now.UnixNano(), 36),
	})
	signed := head + "." + claims
	return signed + "." + base64.RawURLEncoding.EncodeToString(i.sign(algorithm, signed))
}

func (i *Issuer) sign(algorithm, signed string) []byte {
	if algorithm == "ES384" {
		sum := sha512.Sum384([]byte(signed))
		r, s, err := ecdsa.Sign(rand.Reader, i.es384, sum[:])
		if err != nil {
			panic("devissuer: a key that New made always signs: " + err.Error())
		}
		return append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...) // RFC 7518, section 3.4
	}
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, i.rs256, crypto.SHA256, sum[:])
	if err != nil {
		panic("devissuer: a key that New made always signs: " + err.Error())
	}
	return sig
}

func (i *Issuer) keys() []map[string]string {
	point, err := i.es384.PublicKey.Bytes() // 4, x, y
	if err != nil {
		panic("devissuer: a key that New made is on its curve: " + err.Error())
	}
	return []map[string]string{
		{"kid": "ES384", "use": "sig", "alg": "ES384", "kty": "EC", "crv": "P-384", "x": b64(point[1:49]), "y": b64(point[49:])},
		{"kid": "RS256", "use": "sig", "alg": "RS256", "kty": "RSA", "n": b64(i.rs256.N.Bytes()), "e": b64(big.NewInt(int64(i.rs256.E)).Bytes())},
	}
}

func b64(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func encode(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("devissuer: strings and numbers always marshal: " + err.Error())
	}
	return b64(raw)
}
