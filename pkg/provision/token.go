package provision

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// TokenSource gives the identity token, which provisioning takes as its bearer. Token may be called from several goroutines
// and may wait for the network.
type TokenSource interface {
	Token(ctx context.Context) (relay.Secret, error)
}

// Alternative is a TokenSource that may have another token if the connector does not accept the first.
type Alternative interface {
	TokenSource
	// Refused tells the source that its last token was not accepted (HTTP 401). It reports whether the next one differs from
	// it: it is of another kind, or it is a new one and the last one had been kept.
	Refused() bool
}

// StaticToken is a TokenSource for one token. Once that token has ended, it gives an error.
func StaticToken(token relay.Secret) TokenSource { return static{token} }

type static struct{ token relay.Secret }

func (s static) Token(context.Context) (relay.Secret, error) {
	if !s.token.Usable() {
		return relay.Secret{}, errors.New("provision: the identity token is empty or blank: set one")
	}
	if err := ended(tokenEnd(s.token.Reveal())); err != nil {
		return relay.Secret{}, err
	}
	return s.token, nil
}

// ended returns an error if a token has ended by our own clock. The connector would refuse that token, too, and it would
// look as if it refused this gateway.
func ended(at time.Time) error {
	if at.IsZero() || time.Now().Before(at) {
		return nil
	}
	return fmt.Errorf("%w: the identity token ended at %s: put a new one in its place", ErrAuthUnusable, at.UTC().Format(time.RFC3339))
}

func checkTokenURL(raw string) (*url.URL, error) {
	endpoint, err := url.Parse(raw)
	if err != nil || endpoint.Hostname() == "" || endpoint.User != nil {
		return nil, errors.New("provision: the token URL cannot be used: want https://host/path without user or password")
	}
	if endpoint.Scheme != "https" && (endpoint.Scheme != "http" || !loopback(endpoint.Hostname())) {
		return nil, errors.New("provision: the token URL must be https: plain http is for loopback only")
	}
	return endpoint, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Describe says whose an identity token claims to be, without the token: what a connector that does not accept it may want
// otherwise.
func Describe(token relay.Secret) string {
	var claims struct {
		Issuer   any `json:"iss"`
		Subject  any `json:"sub"`
		Audience any `json:"aud"` // a string, or a list of them
	}
	if !claimsOf(token.Reveal(), &claims) {
		return "a token that is no JWT"
	}
	said := fmt.Sprintf("a token of issuer %s for audience %s and subject %s", claim(claims.Issuer), claim(claims.Audience),
		claim(claims.Subject))
	if at := tokenEnd(token.Reveal()); !at.IsZero() {
		said += ", good until " + at.UTC().Format(time.RFC3339)
	}
	return said
}

// claim shows a claim's value, in printable characters and cut.
func claim(value any) string {
	if value == nil {
		return "none"
	}
	return fmt.Sprintf("%.200q", fmt.Sprint(value))
}

// tokenEnd is the exp of a JWT, or zero if the token has none. The JWT is not verified: its end only says how long to
// keep it.
func tokenEnd(token string) time.Time {
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if !claimsOf(token, &claims) || claims.Exp < 1 || claims.Exp > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Exp), 0)
}

// claimsOf reads the claims of a JWT into a struct; false if the token is none.
func claimsOf(token string, claims any) bool {
	parts := strings.Split(token, ".")
	if len(parts) < 3 {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	return err == nil && json.Unmarshal(raw, claims) == nil
}

// Claims are what a JWT says about itself. Nobody has verified it.
type Claims struct {
	Issuer   string
	Subject  string
	Audience []string
	IssuedAt time.Time // zero, as the next one: the token does not say
	Expires  time.Time
}

// ClaimsOf returns the claims of an identity token; ok is false for a token that is no JWT. None of them is a secret.
func ClaimsOf(token relay.Secret) (c Claims, ok bool) {
	var raw struct {
		Issuer   any     `json:"iss"`
		Subject  any     `json:"sub"`
		Audience any     `json:"aud"`
		IssuedAt float64 `json:"iat"`
	}
	if !claimsOf(token.Reveal(), &raw) {
		return Claims{}, false
	}
	c.Issuer, _ = raw.Issuer.(string)
	c.Subject, _ = raw.Subject.(string)
	c.Expires = tokenEnd(token.Reveal())
	if raw.IssuedAt >= 1 && raw.IssuedAt < 1<<40 {
		c.IssuedAt = time.Unix(int64(raw.IssuedAt), 0)
	}
	switch audience := raw.Audience.(type) {
	case string:
		c.Audience = []string{audience}
	case []any:
		for _, a := range audience {
			if a, is := a.(string); is {
				c.Audience = append(c.Audience, a)
			}
		}
	}
	return c, true
}
