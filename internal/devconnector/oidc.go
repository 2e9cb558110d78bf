package devconnector

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/coreos/go-oidc/v3/oidc"
)

// ErrCannotAsk means that the issuer could not be asked about an identity token. The request is answered with HTTP 503.
var ErrCannotAsk = errors.New("devconnector: the issuer cannot be asked")

// OIDC says whose identity tokens are accepted.
type OIDC struct {
	Issuer   string       // its URL, as in the tokens' iss; discovery is below it
	Audience string       // the aud that the tokens must have
	Subject  string       // the sub that they must have; empty: any
	Tenant   string       // the tenant that they stand for; default: "dev"
	Client   *http.Client // nil: http.DefaultClient
}

// Identify returns a Config.Identify that verifies signature, issuer, audience, subject and expiry of a JWT, as real
// connectors do. The issuer's keys are fetched when the first token comes, and again for an unknown key.
func (o OIDC) Identify() IdentifyFunc {
	client := o.Client
	if client == nil {
		client = http.DefaultClient
	}
	if o.Tenant == "" {
		o.Tenant = "dev"
	}
	var mu sync.Mutex
	var verifier *oidc.IDTokenVerifier
	discover := func(ctx context.Context) (*oidc.IDTokenVerifier, error) {
		mu.Lock()
		defer mu.Unlock()
		if verifier != nil {
			return verifier, nil
		}
		provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), o.Issuer)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCannotAsk, err)
		}
		verifier = provider.VerifierContext(oidc.ClientContext(context.Background(), client), &oidc.Config{
			ClientID: o.Audience, SupportedSigningAlgs: []string{oidc.ES384, oidc.RS256, oidc.ES256},
		})
		return verifier, nil
	}
	return func(ctx context.Context, token string) (string, error) {
		verifier, err := discover(ctx)
		if err != nil {
			return "", err
		}
		claims, err := verifier.Verify(ctx, token)
		if err != nil {
			return "", fmt.Errorf("devconnector: the identity token: %w", err)
		}
		if o.Subject != "" && claims.Subject != o.Subject {
			return "", errors.New("devconnector: the identity token is of another subject")
		}
		return o.Tenant, nil
	}
}
