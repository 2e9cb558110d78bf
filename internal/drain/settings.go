package drain

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Parts are what a drain needs besides its settings.
type Parts struct {
	Ledger  ledger.Ledger
	Agent   agent.Agent
	Again   func(context.Context, Request) error // invokes drain once more, asynchronously; nil: no hand-offs
	NetDial relay.DialFunc                       // nil: the network
	Log     *slog.Logger
}

// New returns a Drainer. It touches no network.
func New(s config.DrainSettings, p Parts) *Drainer {
	dialer := newDialer(s.URL, p.NetDial)
	return &Drainer{
		settings: s,
		Parts:    p,
		dialer:   dialer,
		instance: cmp.Or(s.InstanceID, s.GatewayID),
		access:   newAccess(s, dialer, p.Log),
	}
}

func newAccess(s config.DrainSettings, dialer *dialer, log *slog.Logger) *access {
	a := &access{gatewayID: s.GatewayID, log: log}
	switch s.Identity {
	case config.IdentityPinned:
		a.pinned = s.Secret
	case config.IdentityEnv:
		a.tokens = provision.StaticToken(s.IdentityToken)
	case config.IdentityOIDC:
		a.tokens = &provision.ClientCredentials{
			TokenURL: s.IDPTokenURL, ClientID: s.IDPClientID, ClientSecret: s.IDPClientSecret, Scope: s.IDPScope,
		}
	}
	a.client = provision.New(provision.Config{URL: s.URL, NetDial: dialer.DialContext, Log: log})
	a.request = provision.Request{
		Identities:  s.Identities,
		Endpoint:    s.Endpoint,
		RouteKeys:   s.RouteKeys,
		InstanceID:  s.InstanceID,
		WakeURL:     s.WakeURL,
		DisplayName: s.DisplayName,
	}
	return a
}
