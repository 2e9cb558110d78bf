package drain

import (
	"context"
	"log/slog"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Parts are what a drain needs besides its settings.
type Parts struct {
	Ledger  ledger.Ledger
	Agent   agent.Agent
	Clients identity.Clients                     // those that the identity needs
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
		instance: s.Instance(),
		access:   newAccess(s, dialer, p),
	}
}

func newAccess(s config.DrainSettings, dialer *dialer, p Parts) *access {
	a := &access{
		gatewayID: s.GatewayID,
		pinned:    identity.Pinned(s, p.Clients),
		tokens:    identity.Source(s, p.Clients),
		log:       p.Log,
	}
	a.client = provision.New(provision.Config{URL: s.URL, NetDial: dialer.DialContext, Log: p.Log})
	a.request = provision.Request{
		Fronts:      s.Fronts,
		Endpoint:    s.Endpoint,
		RouteKeys:   s.RouteKeys,
		InstanceID:  s.InstanceID,
		WakeURL:     s.WakeURL,
		DisplayName: s.DisplayName,
	}
	return a
}
