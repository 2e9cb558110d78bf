package provision

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// TokenSource gives the identity token that provisioning takes as its bearer. It may be asked from several goroutines.
type TokenSource interface {
	Token(ctx context.Context) (relay.Secret, error)
}

// StaticToken is a TokenSource for a token that somebody else looks after.
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

// ended refuses a token that is over by our own clock. A connector would, too, and that would count as its word on us.
func ended(at time.Time) error {
	if at.IsZero() || time.Now().Before(at) {
		return nil
	}
	return fmt.Errorf("%w: the identity token ended at %s: put a new one in its place", ErrAuthUnusable, at.UTC().Format(time.RFC3339))
}

// ClientCredentials is a TokenSource that asks an identity provider by the OAuth 2.0 client-credentials grant, the
// credentials in the form body (section 14). A token is kept until shortly before its end, or for a minute if it does not
// say when that is. Not to be copied or changed once used.
type ClientCredentials struct {
	TokenURL     string       // https, or http for loopback
	ClientID     string       // required, like ClientSecret or ReadSecret
	ClientSecret relay.Secret // sent as it is
	Scope        string       // empty leaves it out
	NetDial      relay.DialFunc
	Timeout      time.Duration // of a request, answer included; default 15 s

	// ReadSecret, if set, is asked for the client secret before each request, in place of ClientSecret: a rotation needs
	// no restart.
	ReadSecret func(context.Context) (relay.Secret, error)

	kept keeper
}

var _ Alternative = (*ClientCredentials)(nil)

// Token returns the kept token, or asks for a new one. A refusal of the identity provider is not a *StatusError: that
// says what the connector thinks.
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
		ends := token.Expiry
		if ends.IsZero() {
			ends = tokenEnd(token.AccessToken)
		}
		return relay.NewSecret(token.AccessToken), ends, nil
	})
}

// Refused lets go of a token that was kept.
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
	case err != nil && limited.Err() != nil: // of an error while the answer is read, oauth2 keeps only the text
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
