package provision_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func jwt(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestClaimsAreThoseOfTheToken(t *testing.T) {
	is := is.New(t)
	c, ok := provision.ClaimsOf(relay.NewSecret(jwt(`{"iss":"https://idp","sub":"role/drain","aud":["a","b"],"iat":1800000000,"exp":1800000300}`)))
	is.True(ok)
	is.Equal(c, provision.Claims{
		Issuer: "https://idp", Subject: "role/drain", Audience: []string{"a", "b"},
		IssuedAt: time.Unix(1800000000, 0), Expires: time.Unix(1800000300, 0),
	})
	_, ok = provision.ClaimsOf(relay.NewSecret("opaque"))
	is.True(!ok)
}

func FuzzClaimsOf(f *testing.F) { // whatever a token holds, its claims are read or it is none; no time is out of range
	f.Add(jwt(`{"iss":"i","sub":"s","aud":"a","iat":1800000000,"exp":1800000300}`))
	f.Add(jwt(`{"iss":7,"aud":[1,"a",null],"exp":1e300,"iat":-1}`))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		c, ok := provision.ClaimsOf(relay.NewSecret(token))
		if !ok && (c.Issuer != "" || c.Subject != "" || c.Audience != nil) {
			t.Errorf("claims of no token: %+v", c)
		}
		for _, at := range []time.Time{c.IssuedAt, c.Expires} {
			if _, err := at.MarshalJSON(); err != nil && !at.IsZero() && at.Year() < 10000 {
				t.Errorf("%v: %v", at, err)
			}
		}
	})
}
