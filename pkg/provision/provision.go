package provision

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const maxDisplayName = 64 // characters (section 14)

// Request says which gateway to provision. GatewayID and Fronts are required. The other fields are sent as they are; an
// empty one is left out of the body if section 14 says so.
type Request struct {
	GatewayID   string
	Fronts      []relay.Front // one POST each; the first answer with a secret counts
	Endpoint    string
	RouteKeys   []string
	InstanceID  string
	WakeURL     string // where the connector pokes
	DisplayName string // cut to 64 characters
}

// Provision registers every front of req under its gateway id: the first one first, then the others side by side. It
// returns when all are answered. If the first front fails, its error is returned; errors of the others are only logged.
//
// The error is a *StatusError for an answer that is not 2xx, and ErrWithheld if no secret was given. Otherwise it is about
// the network, the time limit, a redirect to another origin or an answer that cannot be read; its text says which.
func (c *Client) Provision(ctx context.Context, token relay.Secret, req Request) (Credentials, error) {
	if err := c.check(token, req); err != nil {
		return Credentials{}, err
	}
	client := newHTTPClient(c.cfg.NetDial)
	defer client.CloseIdleConnections()

	answers := make([]Credentials, len(req.Fronts))
	first, err := c.post(ctx, client, token, newBody(req, req.Fronts[0]))
	if err != nil && !errors.Is(err, ErrWithheld) {
		return Credentials{}, err
	}
	answers[0] = first

	var wg sync.WaitGroup
	for i, front := range req.Fronts[1:] {
		wg.Go(func() {
			answer, err := c.post(ctx, client, token, newBody(req, front))
			if err != nil && !errors.Is(err, ErrWithheld) {
				c.cfg.Log.Warn("a platform was not provisioned; going on with the others",
					"platform", front.Platform, "error", err)
			}
			answers[i+1] = answer
		})
	}
	wg.Wait()

	for _, answer := range answers {
		if !answer.Secret.Usable() {
			continue
		}
		if answer.GatewayID == "" {
			answer.GatewayID = req.GatewayID
		}
		return answer, nil
	}
	return Credentials{}, ErrWithheld
}

func (c *Client) check(token relay.Secret, req Request) error {
	var faults []error
	if c.cfg.URL == "" {
		faults = append(faults, errors.New("provision: no connector URL"))
	}
	if !token.Usable() {
		faults = append(faults, errors.New("provision: the identity token is empty or blank"))
	}
	if req.GatewayID == "" {
		faults = append(faults, errors.New("provision: no gateway id"))
	}
	if len(req.Fronts) == 0 {
		faults = append(faults, errors.New("provision: no front: front at least one platform"))
	}
	return errors.Join(faults...)
}

// body is what is posted (section 14).
type body struct {
	GatewayID   string   `json:"gatewayId"`
	Platform    string   `json:"platform"`
	BotID       string   `json:"botId"`
	Endpoint    string   `json:"gatewayEndpoint"`
	RouteKeys   []string `json:"routeKeys"` // a list even when empty
	InstanceID  string   `json:"instanceId,omitempty"`
	WakeURL     string   `json:"wakeUrl,omitempty"`
	DisplayName string   `json:"displayName,omitempty"`
}

func newBody(req Request, front relay.Front) body {
	return body{
		GatewayID:   req.GatewayID,
		Platform:    front.Platform,
		BotID:       front.BotID,
		Endpoint:    req.Endpoint,
		RouteKeys:   append([]string{}, req.RouteKeys...),
		InstanceID:  req.InstanceID,
		WakeURL:     req.WakeURL,
		DisplayName: cut(req.DisplayName, maxDisplayName),
	}
}

func (c *Client) post(ctx context.Context, client *http.Client, token relay.Secret, b body) (Credentials, error) {
	wakePath := capability(b.WakeURL)
	status, raw, err := c.send(ctx, client, c.cfg.URL.Provision(), token, b, wakePath...)
	if err != nil {
		return Credentials{}, err
	}
	if status < 200 || status > 299 {
		return Credentials{}, &StatusError{status, sanitize(errorField(raw), append(wakePath, token)...)}
	}
	return decodeAnswer(raw)
}

// capability is the part of a wake URL that must not be shown: all that follows its host, and each long segment of that. A
// connector may quote it in an answer, net/http a part of an answer.
func capability(wakeURL string) []relay.Secret {
	u, err := url.Parse(wakeURL)
	if err != nil {
		return []relay.Secret{relay.NewSecret(wakeURL)}
	}
	list := []relay.Secret{relay.NewSecret(strings.TrimPrefix(u.RequestURI(), "/"))} // the longest first: it holds the others
	for segment := range strings.SplitSeq(u.Path, "/") {
		if len(segment) >= 8 { // shorter ones are words
			list = append(list, relay.NewSecret(segment))
		}
	}
	return list
}
