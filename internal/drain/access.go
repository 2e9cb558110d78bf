package drain

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// access is how the gateway proves who it is: with pinned credentials, with provisioned ones, or, for development, not at
// all. It is kept for warm invocations; the secret is here and nowhere else. Its methods may be called from any goroutine.
type access struct {
	gatewayID string                                               // as configured
	pinned    func(context.Context) (provision.Credentials, error) // reads them; set: nothing is provisioned
	auth      config.Auth                                          // which of the ways
	stored    bool                                                 // they are in a store, where they may be replaced
	tokens    provision.TokenSource                                // nil and nothing pinned: dial without credentials
	client    *provision.Client
	request   provision.Request
	log       *slog.Logger

	mu      sync.Mutex
	current provision.Credentials // those in hand; without a usable secret: none
}

func newAccess(s config.DrainSettings, dialer *dialer, p Parts) *access {
	return &access{
		gatewayID: s.GatewayID,
		pinned:    identity.Pinned(s, p.Clients),
		auth:      s.Auth,
		stored:    s.Auth == config.AuthPinned && s.CredentialsARN != "",
		tokens:    identity.Source(s, p.Clients),
		client:    provision.New(provision.Config{URL: s.URL, NetDial: dialer.DialContext, Log: p.Log}),
		request: provision.Request{
			Fronts:      s.Fronts,
			Endpoint:    s.Endpoint,
			RouteKeys:   s.RouteKeys,
			InstanceID:  s.InstanceID,
			WakeURL:     s.WakeURL,
			DisplayName: s.DisplayName,
		},
		log: p.Log,
	}
}

// prefetch reads the pinned credentials, or fetches the identity token if a provisioning is to come, so that they are
// there when the lease is. It reports no failure: get meets it again and returns it.
func (a *access) prefetch(ctx context.Context) {
	switch {
	case a.inHand():
	case a.pinned != nil:
		a.get(ctx, nil) // a failure comes again
	case a.tokens != nil:
		a.tokens.Token(ctx) // the source keeps it
	}
}

// name is the gateway id that a handshake is remembered under: the one that was enrolled, or the configured one. Fresh ids
// are the same instance.
func (a *access) name() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pinned != nil && a.current.GatewayID != "" {
		return a.current.GatewayID
	}
	return a.gatewayID
}

func (a *access) inHand() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current.Secret.Usable()
}

// get returns the credentials in hand, or else provisions. fresh says whether a fresh gateway id may be taken, and counts
// it; issued is true if the credentials are new.
func (a *access) get(ctx context.Context, fresh func(context.Context) (bool, error)) (c provision.Credentials, issued bool, err error) {
	if a.pinned == nil && a.tokens == nil {
		return provision.Credentials{GatewayID: a.gatewayID}, false, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current.Secret.Usable() {
		return a.current, false, nil
	}
	if a.pinned != nil {
		if c, err = a.pinned(ctx); err != nil {
			return provision.Credentials{}, false, err
		}
		a.current = c
		return c, false, nil
	}
	c, err = a.provision(ctx, a.gatewayID)
	if errors.Is(err, provision.ErrWithheld) && a.request.InstanceID != "" {
		c, err = a.provisionFresh(ctx, fresh, err)
	}
	if err != nil {
		return provision.Credentials{}, false, err
	}
	a.current = c
	return c, true, nil
}

// bearer makes an upgrade token from the credentials in hand (section 2). Without any it is blank.
func (a *access) bearer() relay.Secret {
	a.mu.Lock()
	defer a.mu.Unlock()
	return upgradeToken(a.current)
}

func upgradeToken(c provision.Credentials) relay.Secret {
	if !c.Secret.Usable() {
		return relay.Secret{}
	}
	return relay.UpgradeToken(c.GatewayID, c.Secret, time.Now(), tokenLife)
}

func (a *access) provision(ctx context.Context, gatewayID string) (provision.Credentials, error) {
	req := a.request
	req.GatewayID = gatewayID
	for {
		token, err := a.tokens.Token(ctx)
		if err != nil {
			return provision.Credentials{}, tokenError{err}
		}
		c, err := a.client.Provision(ctx, token, req)
		status, refused := errors.AsType[*provision.StatusError](err)
		other, ok := a.tokens.(provision.Alternative)
		switch {
		case !refused || status.Status != http.StatusUnauthorized:
			return c, err
		case !ok || !other.Refused():
			return c, fmt.Errorf("%w; shown was %s", err, provision.Describe(token))
		}
		a.log.Warn(logs.TokenRefused, logs.KeyError, err)
	}
}

// provisionFresh provisions the same instance under a gateway id that the connector does not know yet.
func (a *access) provisionFresh(ctx context.Context, fresh func(context.Context) (bool, error), withheld error) (provision.Credentials, error) {
	ok, err := fresh(ctx)
	if err != nil {
		return provision.Credentials{}, err
	}
	if !ok {
		return provision.Credentials{}, fmt.Errorf("%w (fresh gateway ids are taken at most once an hour and ten times a day: try again later)", withheld)
	}
	var suffix [4]byte
	rand.Read(suffix[:])
	id := a.gatewayID + "-" + hex.EncodeToString(suffix[:])
	a.log.Warn(logs.SecretWithheld, logs.KeyGateway, id)
	return a.provision(ctx, id)
}

// renew replaces provisioned credentials that were refused. If the connector withholds the secret, those in hand stay.
func (a *access) renew(ctx context.Context) error {
	if a.pinned != nil || a.tokens == nil {
		return nil
	}
	c, err := a.provision(ctx, a.gatewayID)
	switch {
	case errors.Is(err, provision.ErrWithheld):
		return nil
	case err != nil:
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.current = c
	return nil
}

// reread reads pinned credentials that were refused, as they may have been rotated, and says whether they were.
func (a *access) reread(ctx context.Context) (changed bool, err error) {
	c, err := a.pinned(ctx)
	if err != nil {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	changed = c != a.current
	a.current = c
	return changed, nil
}
