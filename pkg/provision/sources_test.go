package provision_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestAmbientTokenIsAPlainGET(t *testing.T) {
	is := is.New(t)
	var asks atomic.Int32
	jwt := jwtEnding(time.Now().Add(time.Hour))
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asks.Add(1)
		if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" {
			t.Error("unexpected request:", r.Method, r.Header)
		}
		io.WriteString(w, jwt+"\n")
	})
	source := &provision.Ambient{TokenURL: srv.URL + "/token"}
	for range 2 {
		token, err := source.Token(t.Context())
		is.NoErr(err)
		is.Equal(token.Reveal(), jwt)
	}
	is.Equal(asks.Load(), int32(1)) // kept: it says when it ends
}

func jwtEnding(at time.Time) string {
	return "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, at.Unix())) + ".c2ln"
}

func TestAmbientFaultsSayWhatToDo(t *testing.T) {
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	tests := map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"refused":  {answer(403, `{"error":"canary"}`), ": HTTP 403: no token given: an endpoint that wants a client id and secret"},
		"no token": {answer(200, "<html>canary</html>"), ": the answer is no token: want a JSON object with a string access_token"},
		"too long": {answer(200, strings.Repeat("x", 65<<10)), ": the answer is no token"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "refused: a credential stays with the origin"},
		"slow": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ": no whole answer within 50ms: try again"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			srv := serve(t, tt.handler)
			source := &provision.Ambient{TokenURL: srv.URL}
			if name == "slow" {
				source.Timeout = 50 * time.Millisecond
			}
			_, err := source.Token(t.Context())
			is.True(err != nil)
			is.True(strings.Contains(err.Error(), tt.want))
			is.True(!strings.Contains(err.Error(), "canary"))
		})
	}
	_, err := (&provision.Ambient{TokenURL: "http://idp.example/token"}).Token(t.Context())
	is.New(t).True(strings.Contains(err.Error(), "plain http is for loopback only"))
}

func TestStoredTokenIsReadAnewOnceItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		reads := 0
		value := " " + jwtEnding(time.Now().Add(10*time.Minute)) + "\n"
		source := provision.Stored(func(context.Context) (relay.Secret, error) {
			reads++
			return relay.NewSecret(value), nil
		})
		token, err := source.Token(t.Context())
		is.NoErr(err)
		is.Equal(token.Reveal(), strings.TrimSpace(value))
		time.Sleep(9 * time.Minute)
		_, err = source.Token(t.Context())
		is.NoErr(err)
		is.Equal(reads, 1)
		time.Sleep(31 * time.Second)
		value = "opaque"
		token, err = source.Token(t.Context())
		is.NoErr(err)
		is.Equal(token.Reveal(), "opaque")
		time.Sleep(time.Minute) // one that does not say when it ends is kept for the drain that asked, no longer
		_, err = source.Token(t.Context())
		is.NoErr(err)
		is.Equal(reads, 3)
	})
	is := is.New(t)
	_, err := provision.Stored(func(context.Context) (relay.Secret, error) {
		return relay.NewSecret(`{"token":"canary no token"}`), nil
	}).Token(t.Context())
	is.True(errors.Is(err, provision.ErrAuthUnusable))
	is.True(!strings.Contains(err.Error(), "canary"))
}

// A token that was kept may be refused where a new one is not: the issuer has changed its keys. So a first refusal is met
// with a new one, and no more than one.
func TestARefusedTokenIsFetchedAnewOnce(t *testing.T) {
	var asks int
	jwt := jwtEnding(time.Now().Add(time.Hour))
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asks++
		if r.Method == http.MethodGet {
			io.WriteString(w, jwt)
			return
		}
		tokenAnswer(200, `{"access_token":"t","expires_in":3600}`)(w, r)
	})
	sources := map[string]provision.TokenSource{
		"plain": &provision.Ambient{TokenURL: srv.URL},
		"oidc":  client(srv.URL),
		"stored": provision.Stored(func(context.Context) (relay.Secret, error) {
			asks++
			return relay.NewSecret(jwt), nil
		}),
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			asks = 0
			other := source.(provision.Alternative)
			for range 2 {
				_, err := source.Token(t.Context())
				is.NoErr(err)
			}
			is.Equal(asks, 1)
			is.True(other.Refused()) // it was a kept one
			_, err := source.Token(t.Context())
			is.NoErr(err)
			is.Equal(asks, 2)
			is.True(!other.Refused())
		})
	}
}

func TestATokenThatHasEndedIsNotShown(t *testing.T) { // the connector would take it for somebody who may not
	old := jwtEnding(time.Now().Add(-time.Hour))
	for name, source := range map[string]provision.TokenSource{
		"stored": provision.Stored(func(context.Context) (relay.Secret, error) { return relay.NewSecret(old), nil }),
		"static": provision.StaticToken(relay.NewSecret(old)),
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			_, err := source.Token(t.Context())
			is.True(errors.Is(err, provision.ErrAuthUnusable))
			is.True(strings.Contains(err.Error(), "the identity token ended at "))
			is.True(strings.HasSuffix(err.Error(), "Z: put a new one in its place"))
		})
	}
}

func TestClientSecretIsReadForEachRequest(t *testing.T) {
	is := is.New(t)
	secrets := []string{"old", "new"}
	var sent []string
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		sent = append(sent, r.PostForm.Get("client_secret"))
		tokenAnswer(200, `{"access_token":"t","expires_in":5}`)(w, r)
	})
	source := &provision.ClientCredentials{TokenURL: srv.URL, ClientID: "id",
		ReadSecret: func(context.Context) (relay.Secret, error) { return relay.NewSecret(secrets[len(sent)]), nil }}
	for range 2 {
		_, err := source.Token(t.Context())
		is.NoErr(err)
	}
	is.Equal(sent, secrets)
	source.ReadSecret = func(context.Context) (relay.Secret, error) { return relay.Secret{}, errors.New("store is down") }
	_, err := source.Token(t.Context())
	is.Equal(err.Error(), "store is down")
}

func TestPoliciesAreDeclared(t *testing.T) {
	is := is.New(t)
	bodies := make(chan string, 2)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Path != "/relay/policy" || r.Header.Get("Authorization") != "Bearer "+canaryToken {
			t.Error("unexpected request:", r.URL, r.Header)
		}
		bodies <- string(raw)
		if strings.Contains(string(raw), "slack") {
			answer(202, `{"error":"not for `+canaryToken+`"}`)(w, r) // only 200 counts
		}
	})
	err := provision.New(provision.Config{URL: relay.BaseURL(srv.URL)}).Declare(t.Context(), relay.NewSecret(canaryToken),
		[]relay.Policy{{Platform: "discord", RequireAddress: true}})
	is.NoErr(err)
	is.Equal(<-bodies, `{"platform":"discord","requireAddress":true,"freeResponseScopes":[],"allowOtherBots":false}`)
	err = provision.New(provision.Config{URL: relay.BaseURL(srv.URL)}).Declare(t.Context(), relay.NewSecret(canaryToken),
		[]relay.Policy{{Platform: "slack"}, {Platform: "discord"}})
	is.Equal(err.Error(), "provision: policy of slack: the connector answered HTTP 202 (it says: not for [redacted])")
}

func TestEnrollExplainsARefusal(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		want   string
	}{
		"identity": {401, `{"error":"who"}`, "enroll: the connector answered HTTP 401: the identity was not verified: " +
			"check the identity token's issuer, audience, subject and age (it says: who)"},
		"token": {403, `{"error":"` + canarySecret + ` used"}`, "enroll: the connector answered HTTP 403: the enrollment token is " +
			"invalid, expired, used, or another tenant's: ask the connector's operator for a new one (it says: [redacted] used)"},
		"none": {404, ``, "enroll: the connector answered HTTP 404: this connector does not enroll: " +
			"have its operator give you the credentials, and store them yourself"},
		"withheld": {200, `{"secretIssued":false}`, "enroll: the connector took the enrollment and gave no secret with it: " +
			"ask its operator for a new enrollment token"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			srv := serve(t, answer(tt.status, tt.body))
			_, err := provision.New(provision.Config{URL: relay.BaseURL(srv.URL)}).
				Enroll(t.Context(), relay.NewSecret(canaryToken), relay.NewSecret(canarySecret), "gw-1")
			is.Equal(err.Error(), tt.want)
		})
	}
}

func TestEnrollRedeemsTheToken(t *testing.T) {
	is := is.New(t)
	body := make(chan string, 1)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/relay/enroll" || r.Header.Get("Authorization") != "Bearer "+canaryToken {
			t.Error("unexpected request:", r.URL, r.Header, err)
		}
		body <- string(raw)
		io.WriteString(w, `{"secret":"s","deliveryKey":"k","tenant":"t"}`)
	})
	got, err := provision.New(provision.Config{URL: relay.BaseURL(srv.URL)}).
		Enroll(t.Context(), relay.NewSecret(canaryToken), relay.NewSecret("once"), "gw-1")
	is.NoErr(err)
	is.Equal(got, provision.Credentials{
		GatewayID: "gw-1", Secret: relay.NewSecret("s"), DeliveryKey: relay.NewSecret("k"), Tenant: "t",
	})
	is.Equal(<-body, `{"enrollmentToken":"once","gatewayId":"gw-1"}`)
}
