package identity_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const canary = "canary-5ecret"

// vault is a store of secrets by ARN.
type vault map[string]string

func (v vault) Get(_ context.Context, arn string) (relay.Secret, error) {
	if v[arn] == "" {
		return relay.Secret{}, errors.New("not there: " + arn)
	}
	return relay.NewSecret(v[arn]), nil
}

type fakeSTS struct{}

func (fakeSTS) GetWebIdentityToken(_ context.Context, in *sts.GetWebIdentityTokenInput, _ ...func(*sts.Options)) (
	*sts.GetWebIdentityTokenOutput, error,
) {
	ends := time.Now().Add(5 * time.Minute)
	return &sts.GetWebIdentityTokenOutput{WebIdentityToken: aws.String("sts for " + in.Audience[0]), Expiration: &ends}, nil
}

func TestSourceIsAsTheSettingsSay(t *testing.T) {
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			io.WriteString(w, strings.Repeat("ambient-", 4))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"for `+r.PostFormValue("client_secret")+`"}`)
	}))
	t.Cleanup(idp.Close)
	clients := identity.Clients{STS: fakeSTS{}, Secrets: vault{"arn:token": "stored", "arn:client": "client-secret"}}
	tests := map[string]struct {
		settings config.DrainSettings
		want     string
	}{
		"aws":     {config.DrainSettings{Auth: config.AuthAWS, IdentityAudience: "aud"}, "sts for aud"},
		"secret":  {config.DrainSettings{Auth: config.AuthSecret, IdentityTokenARN: "arn:token"}, "stored"},
		"env":     {config.DrainSettings{Auth: config.AuthEnv, IdentityToken: relay.NewSecret("t")}, "t"},
		"ambient": {config.DrainSettings{Auth: config.AuthOIDC, IDPTokenURL: idp.URL}, "ambient-ambient-ambient-ambient-"},
		"oidc": {config.DrainSettings{
			Auth: config.AuthOIDC, IDPTokenURL: idp.URL, IDPClientID: "id", IDPClientSecret: relay.NewSecret("s"),
		}, "for s"},
		"oidc by ARN": {config.DrainSettings{
			Auth: config.AuthOIDC, IDPTokenURL: idp.URL, IDPClientID: "id", IDPClientSecretARN: "arn:client",
		}, "for client-secret"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			is.True(identity.Pinned(tt.settings, clients) == nil)
			token, err := identity.Source(tt.settings, clients).Token(t.Context())
			is.NoErr(err)
			is.Equal(token.Reveal(), tt.want)
		})
	}
	for _, none := range []config.Auth{config.AuthPinned, config.AuthNone} {
		is.New(t).True(identity.Source(config.DrainSettings{Auth: none}, clients) == nil)
	}
}

func TestPinnedCredentialsAreReadAnew(t *testing.T) {
	is := is.New(t)
	store := vault{}
	pinned := identity.Pinned(config.DrainSettings{Auth: config.AuthPinned, CredentialsARN: "arn:x"}, identity.Clients{Secrets: store})
	_, err := pinned(t.Context())
	is.Equal(err.Error(), "not there: arn:x")
	for _, secret := range []string{"one", "two"} {
		want := provision.Credentials{GatewayID: "gw-1", Secret: relay.NewSecret(secret), DeliveryKey: relay.NewSecret("k")}
		store["arn:x"] = identity.Encode(want).Reveal()
		got, err := pinned(t.Context())
		is.NoErr(err)
		is.Equal(got, want)
	}
	is.Equal(store["arn:x"], `{"gatewayId":"gw-1","secret":"two","deliveryKey":"k"}`)

	pinned = identity.Pinned(config.DrainSettings{Auth: config.AuthPinned, GatewayID: "gw-2", Secret: relay.NewSecret("s")}, identity.Clients{})
	got, err := pinned(t.Context())
	is.NoErr(err)
	is.Equal(got, provision.Credentials{GatewayID: "gw-2", Secret: relay.NewSecret("s")})
}

func FuzzDecode(f *testing.F) { // usable credentials, or an error that quotes nothing
	f.Add(`{"gatewayId":"gw-1","secret":"` + canary + `","deliveryKey":"k"}`)
	f.Add(`{"secret":"` + canary + `"}`)
	f.Add(`{"gatewayId":1,"secret":"` + canary + `"}`)
	f.Add(`{"gatewayId":"gw-1","secret":" "}`)
	f.Add(canary)
	known := map[string]bool{}
	for _, raw := range []string{"", "{}", `{"gatewayId":"g"}`} {
		_, err := identity.Decode(relay.NewSecret(raw))
		known[err.Error()] = true
	}
	f.Fuzz(func(t *testing.T, raw string) {
		is := is.New(t)
		got, err := identity.Decode(relay.NewSecret(raw))
		is.Equal(err == nil, got.Secret.Usable() && got.GatewayID != "")
		if err != nil {
			is.True(known[err.Error()] && errors.Is(err, provision.ErrAuthUnusable))
			return
		}
		again, err := identity.Decode(identity.Encode(got))
		is.NoErr(err)
		is.Equal(again, got)
	})
}
