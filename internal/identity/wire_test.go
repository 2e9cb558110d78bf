package identity_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/devissuer"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/provision/awssts"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// world is an issuer, and a connector that verifies its tokens, each behind a real socket.
func world(t *testing.T) (*devissuer.Issuer, string) {
	t.Helper()
	is := is.New(t)
	var issuer *devissuer.Issuer
	issuing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { issuer.ServeHTTP(w, r) }))
	t.Cleanup(issuing.Close)
	issuer, err := devissuer.New(issuing.URL)
	is.NoErr(err)
	issuer.Subject, issuer.Audience = "arn:aws:iam::1:role/drain", "for-the-connector"
	issuer.ClientID, issuer.ClientSecret = "client", canary

	connector := devconnector.New(devconnector.Config{Identify: devconnector.OIDC{
		Issuer: issuer.URL, Audience: issuer.Audience, Subject: issuer.Subject, Tenant: "acme",
		Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}.Identify()})
	relaying := httptest.NewServer(connector)
	t.Cleanup(func() {
		relaying.Close()
		if err := connector.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return issuer, relaying.URL
}

func TestEveryIdentityIsAcceptedByAConnectorThatVerifies(t *testing.T) {
	issuer, connector := world(t)
	clients := identity.Clients{
		STS: sts.New(sts.Options{
			Region: "eu-central-1", BaseEndpoint: &issuer.URL, Retryer: aws.NopRetryer{},
			Credentials: credentials.NewStaticCredentialsProvider("AKID", "sk", ""),
		}),
		Secrets: vault{"arn:aws:ssm:r:1:parameter/token": issuer.Token("RS256", issuer.Audience), "arn:aws:ssm:r:1:parameter/client": canary},
	}
	tests := map[string]struct {
		environ map[string]string
		want    string // of the error; empty: accepted
	}{
		"aws": {map[string]string{"GATEWAY_RELAY_IDENTITY": "aws", "GATEWAY_RELAY_IDENTITY_AUDIENCE": issuer.Audience}, ""},
		"aws, for another": {map[string]string{"GATEWAY_RELAY_IDENTITY": "aws"},
			"HTTP 401: the identity token was not accepted: check its issuer, audience, subject and age (it says: identity not verified)"},
		"secret":  {map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN_ARN": "arn:aws:ssm:r:1:parameter/token"}, ""},
		"env":     {map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN": issuer.Token("ES384", issuer.Audience)}, ""},
		"ambient": {map[string]string{"GATEWAY_RELAY_IDP_TOKEN_URL": issuer.URL + "/token"}, ""},
		"oidc": {map[string]string{
			"GATEWAY_RELAY_IDP_TOKEN_URL": issuer.URL + "/token", "GATEWAY_RELAY_IDP_CLIENT_ID": "client",
			"GATEWAY_RELAY_IDP_CLIENT_SECRET_ARN": "arn:aws:ssm:r:1:parameter/client",
		}, ""},
		"oidc, not known": {map[string]string{
			"GATEWAY_RELAY_IDP_TOKEN_URL": issuer.URL + "/token", "GATEWAY_RELAY_IDP_CLIENT_ID": "client",
			"GATEWAY_RELAY_IDP_CLIENT_SECRET": "another",
		}, "HTTP 401: no token given: check the client id, secret and scope (it says: invalid_client)"},
		"oidc, unreachable": {map[string]string{"GATEWAY_RELAY_IDP_TOKEN_URL": "http://127.0.0.1:1/token"}, "connection refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			tt.environ["GATEWAY_RELAY_URL"], tt.environ["GATEWAY_RELAY_ID"] = connector, "gw-"+strings.Fields(name)[0]
			settings, err := config.Drain(tt.environ)
			is.NoErr(err)
			token, err := identity.Source(settings, clients).Token(t.Context())
			var creds provision.Credentials
			if err == nil {
				creds, err = provision.New(provision.Config{URL: settings.URL}).Provision(t.Context(), token, provision.Request{
					GatewayID: settings.GatewayID, Fronts: []relay.Front{{Platform: "discord", BotID: "1"}},
				})
			}
			if tt.want == "" {
				is.NoErr(err)
				is.Equal(creds.Tenant, "acme")
				return
			}
			is.True(err != nil)
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), canary) {
				t.Errorf("got %q, want %q", err, tt.want)
			}
		})
	}

	is := is.New(t)
	issuer.Refused = "ES384" // as a region that does not know it
	token, err := awssts.New(clients.STS, issuer.Audience).Token(t.Context())
	is.NoErr(err)
	is.True(token.Usable())
	issuer.Disabled = true
	_, err = awssts.New(clients.STS, issuer.Audience).Token(t.Context())
	is.True(errors.Is(err, provision.ErrAuthUnusable))
	is.True(strings.Contains(err.Error(), "once per account, not per stack"))
}
