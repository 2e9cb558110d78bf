// Package identity makes, from the settings, what a gateway proves itself with: a source of identity tokens, for
// provisioning or enrolling, or pinned credentials. The wiring of drain and dormouse enroll call it.
//
// Nothing here touches the network or blocks before a token or the credentials are asked for. The package keeps no secret
// and starts no goroutine.
package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/provision/awssts"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Secrets reads the secret of an ARN.
type Secrets interface {
	Get(ctx context.Context, arn string) (relay.Secret, error)
}

// Clients reach what the settings name. A client that they do not need may be nil.
type Clients struct {
	STS     awssts.Client
	Secrets Secrets
	NetDial relay.DialFunc // for a token endpoint; nil: the network
}

// Source returns where the identity token comes from, or nil for pinned credentials and for none at all.
func Source(s config.DrainSettings, c Clients) provision.TokenSource {
	switch s.Auth {
	case config.AuthAWS:
		return awssts.New(c.STS, s.IdentityAudience)
	case config.AuthSecret:
		return provision.Stored(func(ctx context.Context) (relay.Secret, error) { return c.Secrets.Get(ctx, s.IdentityTokenARN) })
	case config.AuthEnv:
		return provision.StaticToken(s.IdentityToken)
	case config.AuthOIDC:
		if s.IDPClientID == "" {
			return &provision.Ambient{TokenURL: s.IDPTokenURL, NetDial: c.NetDial}
		}
		source := &provision.ClientCredentials{
			TokenURL: s.IDPTokenURL, ClientID: s.IDPClientID, ClientSecret: s.IDPClientSecret, Scope: s.IDPScope, NetDial: c.NetDial,
		}
		if s.IDPClientSecretARN != "" {
			source.ReadSecret = func(ctx context.Context) (relay.Secret, error) { return c.Secrets.Get(ctx, s.IDPClientSecretARN) }
		}
		return source
	}
	return nil
}

// Pinned returns a function that reads the pinned credentials, anew at each call. It is nil if none are pinned.
func Pinned(s config.DrainSettings, c Clients) func(context.Context) (provision.Credentials, error) {
	if s.Auth != config.AuthPinned {
		return nil
	}
	return func(ctx context.Context) (provision.Credentials, error) {
		if s.CredentialsARN == "" {
			return provision.Credentials{GatewayID: s.GatewayID, Secret: s.Secret}, nil
		}
		stored, err := c.Secrets.Get(ctx, s.CredentialsARN)
		if err != nil {
			return provision.Credentials{}, err
		}
		return Decode(stored)
	}
}

// document is how credentials are written in a store.
type document struct {
	GatewayID   string `json:"gatewayId"`
	Secret      string `json:"secret"`
	DeliveryKey string `json:"deliveryKey,omitempty"`
}

// Encode makes the document that Decode reads. The whole document is a secret.
func Encode(c provision.Credentials) relay.Secret {
	raw, err := json.Marshal(document{c.GatewayID, c.Secret.Reveal(), c.DeliveryKey.Reveal()})
	if err != nil {
		panic("identity: strings always marshal: " + err.Error())
	}
	return relay.NewSecret(string(raw))
}

// Decode reads {"gatewayId","secret","deliveryKey"}. Its error wraps provision.ErrAuthUnusable and quotes nothing.
func Decode(stored relay.Secret) (provision.Credentials, error) {
	var d document
	fault := ""
	switch err := json.Unmarshal([]byte(stored.Reveal()), &d); {
	case err != nil:
		fault = "they are not a JSON object of strings"
	case strings.TrimSpace(d.GatewayID) == "":
		fault = "they have no gatewayId"
	case strings.TrimSpace(d.Secret) == "":
		fault = "they have no secret"
	default:
		return provision.Credentials{
			GatewayID: d.GatewayID, Secret: relay.NewSecret(d.Secret), DeliveryKey: relay.NewSecret(d.DeliveryKey),
		}, nil
	}
	return provision.Credentials{}, fmt.Errorf("%w: the pinned credentials: %s: "+
		`want {"gatewayId":"...","secret":"...","deliveryKey":"..."}, as dormouse enroll writes them`, provision.ErrAuthUnusable, fault)
}
