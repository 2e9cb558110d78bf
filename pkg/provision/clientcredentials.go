package provision

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// ClientCredentials is a TokenSource that asks an identity provider for a token, by the OAuth 2.0 client-credentials grant
// with id and secret in the form body (section 14). It keeps a token until shortly before its end, or for a minute if the
// token does not say when it ends. Do not copy or change it once it is in use.
type ClientCredentials struct {
	TokenURL     string         // https, or http for loopback
	ClientID     string         // required, and so is ClientSecret or ReadSecret
	ClientSecret relay.Secret   // sent as it is
	Scope        string         // empty leaves it out
	NetDial      relay.DialFunc // nil means a net.Dialer, with TLS for https
	Timeout      time.Duration  // of a request, answer included; default 15 s

	// ReadSecret, if set, gives the client secret in place of ClientSecret. It is called before each request, so a secret
	// that is replaced needs no restart.
	ReadSecret func(context.Context) (relay.Secret, error)

	kept keeper
}

var _ Alternative = (*ClientCredentials)(nil)

// Token returns the kept token, or asks for a new one. The error for a refusal by the identity provider is not a
// *StatusError: that is an answer of the connector.
func (c *ClientCredentials) Token(ctx context.Context) (relay.Secret, error) {
	endpoint, err := c.check()
	if err != nil {
		return relay.Secret{}, err
	}
	return c.kept.get(ctx, func(ctx context.Context) (relay.Secret, time.Time, error) {
		secret := c.ClientSecret
		if c.ReadSecret != nil {
			if secret, err = c.ReadSecret(ctx); err != nil {
				return relay.Secret{}, time.Time{}, err
			}
		}
		token, err := c.ask(ctx, endpoint, secret)
		if err != nil {
			return relay.Secret{}, time.Time{}, err
		}
		return relay.NewSecret(token.AccessToken), token.Expiry, nil
	})
}

// Refused drops the token. It reports whether that token had been kept, so that the next one is another.
func (c *ClientCredentials) Refused() bool { return c.kept.refused() }

func (c *ClientCredentials) check() (*url.URL, error) {
	hasSecret := c.ClientSecret.Usable() || c.ReadSecret != nil
	switch {
	case c.ClientID == "" && hasSecret:
		return nil, errors.New("provision: a client secret without a client id: set both")
	case c.ClientID != "" && !hasSecret:
		return nil, errors.New("provision: a client id without a client secret: set both")
	case c.ClientID == "":
		return nil, errors.New("provision: no client id and no client secret: set both")
	}
	return checkTokenURL(c.TokenURL)
}

func (c *ClientCredentials) ask(ctx context.Context, endpoint *url.URL, secret relay.Secret) (*oauth2.Token, error) {
	limit := c.Timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := newHTTPClient(c.NetDial)
	defer client.CloseIdleConnections()

	grant := clientcredentials.Config{
		ClientID:     c.ClientID,
		ClientSecret: secret.Reveal(),
		TokenURL:     endpoint.String(),
		AuthStyle:    oauth2.AuthStyleInParams,
	}
	if c.Scope != "" {
		grant.Scopes = []string{c.Scope}
	}
	act := "provision: identity provider " + origin(endpoint)
	token, err := grant.Token(context.WithValue(limited, oauth2.HTTPClient, client))
	refused, isRefused := errors.AsType[*oauth2.RetrieveError](err)
	_, isNetwork := errors.AsType[*url.Error](err)
	switch {
	case isRefused:
		// Not wrapped: it holds the whole answer.
		text := fmt.Sprintf("%s: HTTP %d: no token given: check the client id, secret and scope",
			act, refused.Response.StatusCode)
		if words := sanitize(refused.ErrorCode+" "+refused.ErrorDescription, secret); words != "" {
			text += fmt.Sprintf(" (it says: %s)", words)
		}
		return nil, errors.New(text)
	case err != nil && limited.Err() != nil: // oauth2 keeps only the text of an error that came with the answer
		return nil, netFault(ctx, act, limit, limited.Err(), secret)
	case isNetwork:
		return nil, netFault(ctx, act, limit, err, secret)
	case err != nil || strings.TrimSpace(token.AccessToken) == "":
		// Not wrapped: it may quote the answer.
		return nil, errors.New(act + ": the answer is cut off or holds no token: " +
			"want a JSON object whose access_token is a string that is not blank")
	}
	return token, nil
}
