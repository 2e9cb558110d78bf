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

	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// access is how the gateway proves who it is: with pinned credentials, with provisioned ones, or, for development,
// not at all. It is kept for warm invocations; the secret lives here and nowhere else.
type access struct {
	gatewayID string                                               // as configured
	pinned    func(context.Context) (provision.Credentials, error) // reads them; set: nothing is provisioned
	tokens    provision.TokenSource                                // nil and nothing pinned: dial without credentials
	client    *provision.Client
	request   provision.Request
	log       *slog.Logger

	mu   sync.Mutex
	held provision.Credentials
}

// prefetch reads the pinned credentials, or fetches the identity token if a provisioning is to come, so that they are
// there when the lease is. A failure is met again, and told, by whoever needs them.
func (a *access) prefetch(ctx context.Context) {
	switch {
	case a.inHand():
	case a.pinned != nil:
		a.get(ctx, nil)
	case a.tokens != nil:
		a.tokens.Token(ctx) // the source keeps it
	}
}

// name is the gateway id that a handshake is remembered under: the one that was enrolled, or the configured one, whose
// fresh ones are the same instance.
func (a *access) name() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pinned != nil && a.held.GatewayID != "" {
		return a.held.GatewayID
	}
	return a.gatewayID
}

func (a *access) inHand() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held.Secret.Usable()
}

// get returns the credentials in hand, or else provisions. fresh asks for leave to take a fresh gateway id; issued says
// that the credentials are new.
func (a *access) get(ctx context.Context, fresh func(context.Context) (bool, error)) (c provision.Credentials, issued bool, err error) {
	if a.pinned == nil && a.tokens == nil {
		return provision.Credentials{GatewayID: a.gatewayID}, false, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held.Secret.Usable() {
		return a.held, false, nil
	}
	if a.pinned != nil {
		if c, err = a.pinned(ctx); err != nil {
			return provision.Credentials{}, false, err
		}
		a.held = c
		return c, false, nil
	}
	c, err = a.provision(ctx, a.gatewayID)
	if errors.Is(err, provision.ErrWithheld) && a.request.InstanceID != "" {
		c, err = a.provisionFresh(ctx, fresh, err)
	}
	if err != nil {
		return provision.Credentials{}, false, err
	}
	a.held = c
	return c, true, nil
}

// bearer mints an upgrade token from the credentials in hand (section 2). Without any it is blank.
func (a *access) bearer() relay.Secret {
	a.mu.Lock()
	defer a.mu.Unlock()
	return upgradeToken(a.held)
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
			return provision.Credentials{}, err
		}
		c, err := a.client.Provision(ctx, token, req)
		status, refused := errors.AsType[*provision.StatusError](err)
		other, ok := a.tokens.(provision.Alternative)
		if !refused || status.Status != http.StatusUnauthorized || !ok || !other.Refused() {
			return c, err
		}
		a.log.Warn("the identity token was not accepted: trying another one", "error", err)
	}
}

// provisionFresh provisions the same instance under a gateway id that the connector does not know yet.
func (a *access) provisionFresh(ctx context.Context, fresh func(context.Context) (bool, error), withheld error) (provision.Credentials, error) {
	ok, err := fresh(ctx)
	if err != nil {
		return provision.Credentials{}, err
	}
	if !ok {
		return provision.Credentials{}, fmt.Errorf("%w (fresh gateway ids are taken once an hour and ten times a day, and this is over it)", withheld)
	}
	var suffix [4]byte
	rand.Read(suffix[:])
	id := a.gatewayID + "-" + hex.EncodeToString(suffix[:])
	a.log.Warn("the secret of this gateway id is withheld: provisioning under a fresh one; enroll and pin instead", "gateway", id)
	return a.provision(ctx, id)
}

// renew provisions once more for whoever was refused with credentials from before, or reads the pinned ones anew: they
// may have been rotated. A withheld secret leaves those in hand in their place.
func (a *access) renew(ctx context.Context) (err error) {
	var c provision.Credentials
	switch {
	case a.pinned != nil:
		c, err = a.pinned(ctx)
	case a.tokens != nil:
		c, err = a.provision(ctx, a.gatewayID)
	default:
		return nil
	}
	if errors.Is(err, provision.ErrWithheld) {
		return nil
	}
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = c
	return nil
}
