package provision_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func client(tokenURL string) *provision.ClientCredentials {
	return &provision.ClientCredentials{TokenURL: tokenURL, ClientID: "id", ClientSecret: relay.NewSecret(canarySecret)}
}

func tokenAnswer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer(status, body)(w, r)
	}
}

func TestStaticToken(t *testing.T) {
	is := is.New(t)
	token, err := provision.StaticToken(relay.NewSecret(canaryToken)).Token(t.Context())
	is.NoErr(err)
	is.Equal(token.Reveal(), canaryToken)
	_, err = provision.StaticToken(relay.NewSecret(" \n")).Token(t.Context())
	is.True(err != nil) // a blank token does not count as set
}

func TestClientCredentialsGoInTheBody(t *testing.T) {
	is := is.New(t)
	form := make(chan url.Values, 1)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.UserAgent() != "dormouse" || r.Method != http.MethodPost {
			t.Error("unexpected request:", r.Method, r.Header)
		}
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		form <- r.PostForm
		tokenAnswer(200, `{"access_token":"`+canaryToken+`","token_type":"bearer","expires_in":3600}`)(w, r)
	})
	source := client(srv.URL)
	source.Scope = "relay provision"
	token, err := source.Token(t.Context())
	is.NoErr(err)
	is.Equal(token.Reveal(), canaryToken)
	is.Equal(<-form, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"id"}, "client_secret": {canarySecret},
		"scope": {"relay provision"},
	})
}

func TestTokenIsKeptUntilShortlyBeforeItsEnd(t *testing.T) {
	tests := map[string]struct {
		expires string
		asks    int32 // for two calls
	}{
		"long":    {`,"expires_in":3600`, 1},
		"ending":  {`,"expires_in":5`, 2},
		"unknown": {``, 1}, // for a minute: whoever fetched it ahead means to use it
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			var asks atomic.Int32
			srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
				tokenAnswer(200, fmt.Sprintf(`{"access_token":"t-%d"%s}`, asks.Add(1), tt.expires))(w, r)
			})
			source := client(srv.URL)
			_, err := source.Token(t.Context())
			is.NoErr(err)
			token, err := source.Token(t.Context())
			is.NoErr(err)
			is.Equal(token.Reveal(), fmt.Sprintf("t-%d", tt.asks))
			is.Equal(asks.Load(), tt.asks)
		})
	}
}

func TestCallersShareOneRequest(t *testing.T) {
	is := is.New(t)
	var asks atomic.Int32
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asks.Add(1)
		tokenAnswer(200, `{"access_token":"t","expires_in":3600}`)(w, r)
	})
	source := client(srv.URL)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if token, err := source.Token(t.Context()); err != nil || token.Reveal() != "t" {
				t.Error(token, err)
			}
		})
	}
	wg.Wait()
	is.Equal(asks.Load(), int32(1))
}

func TestUnusableClientIsNotAsked(t *testing.T) {
	srv := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was made") })
	secret := relay.NewSecret(canarySecret)
	tests := map[string]struct {
		source *provision.ClientCredentials
		want   string
	}{
		"no secret": {&provision.ClientCredentials{TokenURL: srv.URL, ClientID: "id"}, "without a client secret"},
		"blank secret": {
			&provision.ClientCredentials{TokenURL: srv.URL, ClientID: "id", ClientSecret: relay.NewSecret(" ")},
			"without a client secret",
		},
		"no id":        {&provision.ClientCredentials{TokenURL: srv.URL, ClientSecret: secret}, "without a client id"},
		"neither":      {&provision.ClientCredentials{TokenURL: srv.URL}, "no client id and no client secret"},
		"no URL":       {client(""), "cannot be used"},
		"no host":      {client("https:///token"), "cannot be used"},
		"broken":       {client("https://idp.example:canary/"), "cannot be used"},
		"user in it":   {client("https://u:canary@idp.example/"), "cannot be used"},
		"plain http":   {client("http://idp.example/token"), "must be https"},
		"another kind": {client("ftp://127.0.0.1/token"), "must be https"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			_, err := tt.source.Token(t.Context())
			is.True(err != nil && strings.Contains(err.Error(), tt.want))
			noCanary(t, err.Error())
		})
	}
}

func TestTokenEndpointFaults(t *testing.T) {
	echo := `"error_description":"bad\n` + canarySecret + `"`
	tests := map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"refused": {
			tokenAnswer(401, `{"error":"invalid_client",`+echo+`}`),
			"HTTP 401: no token given: check the client id, secret and scope (it says: invalid_client bad [redacted])",
		},
		"refused with 200":  {tokenAnswer(200, `{"error":"invalid_scope"}`), "invalid_scope"},
		"refused by a page": {answer(500, "<html>"+canarySecret), "HTTP 500"},
		"a page":            {tokenAnswer(200, "<html>"+canarySecret), "holds no token"},
		"a number":          {tokenAnswer(200, `{"access_token":12345}`), "holds no token"},
		"blank":             {tokenAnswer(200, `{"access_token":"  "}`), "holds no token"},
		"null":              {tokenAnswer(200, `{"access_token":null,"x":"`+canarySecret+`"}`), "holds no token"},
		"too large":         {tokenAnswer(200, `{"x":"`+strings.Repeat("x", 1<<20)+`","access_token":"t"}`), "holds no token"},
		"moved away": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.example/token?"+canarySecret, http.StatusTemporaryRedirect)
		}, "redirect to http://elsewhere.example:80 refused"},
		"moved by 302": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, "only 307 and 308"},
		"hangs up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			srv := serve(t, tt.handler)
			_, err := client(srv.URL).Token(t.Context())
			is.True(err != nil && strings.Contains(err.Error(), tt.want))
			is.True(strings.Contains(err.Error(), "identity provider "+srv.URL))
			_, isStatus := errors.AsType[*provision.StatusError](err)
			is.True(!isStatus) // that would be the connector's word
			noCanary(t, err.Error())
		})
	}
}

func TestSlowTokenEndpointMeetsTheLimit(t *testing.T) {
	is := is.New(t)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"access_token":`)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	source := client(srv.URL)
	source.Timeout = 50 * time.Millisecond
	_, err := source.Token(t.Context())
	is.True(errors.Is(err, context.DeadlineExceeded))
	is.True(strings.Contains(err.Error(), "no whole answer within 50ms"))
}

func TestTokenOverTLSAndARedirectAtHome(t *testing.T) {
	is := is.New(t)
	srv, dial := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			http.Redirect(w, r, "/v2/token", http.StatusPermanentRedirect)
			return
		}
		if r.PostFormValue("client_secret") != canarySecret {
			t.Error("the form did not go along")
		}
		tokenAnswer(200, `{"access_token":"t"}`)(w, r)
	})
	source := client(srv.URL + "/token")
	source.NetDial = dial
	token, err := source.Token(t.Context())
	is.NoErr(err)
	is.Equal(token.Reveal(), "t")
}

func TestATokenIsDescribedWithoutShowingIt(t *testing.T) {
	jwt := func(claims string) relay.Secret {
		return relay.NewSecret("e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2lnbmF0dXJl")
	}
	tests := map[string]struct {
		token relay.Secret
		want  string
	}{
		"all": {jwt(`{"iss":"https://sts.example","aud":"https://c.example","sub":"role\n","exp":4000000000}`),
			`a token of issuer "https://sts.example" for audience "https://c.example" and subject "role\n", good until 2096-10-02T07:06:40Z`},
		"audiences": {jwt(`{"iss":"i","aud":["a","b"]}`), `a token of issuer "i" for audience "[a b]" and subject none`},
		"opaque":    {relay.NewSecret("secret-canary"), "a token that is no JWT"},
		"broken":    {jwt(`secret-canary`), "a token that is no JWT"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { is.New(t).Equal(provision.Describe(tt.token), tt.want) })
	}
}
