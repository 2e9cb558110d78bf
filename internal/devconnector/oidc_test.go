package devconnector_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/devissuer"
)

func TestIdentityTokensAreVerified(t *testing.T) {
	var issuer *devissuer.Issuer
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { issuer.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	issuer, err := devissuer.New(srv.URL)
	is.New(t).NoErr(err)
	issuer.Subject = "arn:aws:iam::1:role/drain"
	forged, err := devissuer.New(srv.URL) // the same name, other keys
	is.New(t).NoErr(err)
	forged.Subject = issuer.Subject
	foreign, other, old := *issuer, *issuer, *issuer
	foreign.URL, other.Subject = "https://elsewhere.example", "arn:aws:iam::1:role/other"
	old.Now = time.Now().Add(-10 * time.Minute)

	const audience = "https://connector.example"
	transport := &http.Transport{DisableKeepAlives: true}
	identify := devconnector.OIDC{
		Issuer: srv.URL, Audience: audience, Subject: issuer.Subject, Tenant: "acme", Client: &http.Client{Transport: transport},
	}.Identify()
	tests := map[string]struct{ token, want string }{
		"ES384":            {issuer.Token("ES384", audience), ""},
		"RS256":            {issuer.Token("RS256", audience), ""},
		"another audience": {issuer.Token("ES384", "https://elsewhere.example"), "audience"},
		"another subject":  {other.Token("ES384", audience), "of another subject"},
		"another issuer":   {foreign.Token("ES384", audience), "different provider"},
		"expired":          {old.Token("ES384", audience), "expired"},
		"forged":           {forged.Token("ES384", audience), "verify signature"},
		"unsigned":         {"eyJhbGciOiJub25lIn0.e30.", "malformed"},
		"no token":         {"dev", "malformed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			tenant, err := identify(t.Context(), tt.token)
			if tt.want == "" {
				is.NoErr(err)
				is.Equal(tenant, "acme")
				return
			}
			is.Equal(tenant, "")
			is.True(err != nil)
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q", err, tt.want)
			}
		})
	}

	// Who cannot ask the issuer knows nothing of the gateway, and does not say that he does.
	is := is.New(t)
	blind := devconnector.New(devconnector.Config{Identify: devconnector.OIDC{Issuer: "http://127.0.0.1:1", Audience: audience}.Identify()})
	defer blind.Close(t.Context())
	for _, path := range []string{"/relay/provision", "/relay/enroll"} {
		req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(`{"gatewayId":"gw-1","platform":"discord","enrollmentToken":"x"}`))
		req.Header.Set("Authorization", "Bearer "+issuer.Token("ES384", audience))
		answer := httptest.NewRecorder()
		blind.ServeHTTP(answer, req)
		is.Equal(answer.Code, http.StatusServiceUnavailable)
		is.Equal(strings.TrimSpace(answer.Body.String()), `{"error":"the issuer cannot be asked"}`)
	}
}
