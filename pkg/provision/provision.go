// Package provision turns an identity token into the credentials of a gateway. Sections named in comments are the
// contract's.
//
// A TokenSource says who we are; Client.Provision exchanges that at the connector's /relay/provision for the secret
// that upgrade tokens are minted with (section 14). Provisioning again may rotate the secret, so one process at a time
// does it for a gateway, and keeps what it got. Client.Enroll gets credentials that are to be stored instead, and
// Client.Declare tells the connector which messages to pass on.
//
// Everything here may be used from several goroutines, and nothing runs on after a call has returned. No error text and
// no log line holds a token or a secret, whatever the other side answers.
package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	defaultTimeout = 15 * time.Second
	maxAnswer      = 1 << 20 // bytes
	maxDisplayName = 64      // characters (section 14)
)

// ErrWithheld means that the connector took the provisioning and gave no secret with it, as it knows the gateway id
// already (section 14, secretIssued). Credentials in hand stay good; with none in hand, enroll and pin them.
var ErrWithheld = errors.New("provision: the connector knows this gateway id and withholds its secret: " +
	"credentials in hand stay good; with none, enroll and pin the credentials")

// StatusError is an answer of /relay/provision that is not 2xx. Its text says what to do.
type StatusError struct {
	Status  int    // of HTTP
	Message string // the answer's "error" field, printable and at most 200 characters; may be empty
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("provision: the connector answered HTTP %d: %s", e.Status, advice(e.Status))
	if e.Message != "" {
		text += fmt.Sprintf(" (it says: %s)", e.Message)
	}
	return text
}

func advice(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "the identity token was not accepted: check its issuer, audience, subject and age"
	case status == http.StatusForbidden:
		return "this identity may not have this gateway id: check whose it is, or choose another id"
	case status == http.StatusNotFound:
		return "this connector does not provision: enroll or pin the credentials"
	case status == http.StatusGone:
		return "this gateway was removed there: have its operator enable it again, or choose another id"
	case status == http.StatusTooManyRequests || status >= 500:
		return "try again later"
	case status >= 300 && status < 400:
		return "an answer without a usable address: check the connector's URL"
	default:
		return "it refuses the request: check the gateway id, platforms and bot ids"
	}
}

// Credentials are what the gateway dials with.
type Credentials struct {
	GatewayID   string       // the connector's if it named one, else the one that was sent
	Secret      relay.Secret // mints upgrade tokens (section 2)
	DeliveryKey relay.Secret // kept beside the secret, and not used; may be empty
	Tenant      string       // may be empty
}

// Request says which gateway is to be provisioned. GatewayID and Fronts are required; the rest is sent as it is,
// and what is empty is left out where section 14 says so.
type Request struct {
	GatewayID   string
	Fronts      []relay.Front // one POST each; the first one's secret wins
	Endpoint    string
	RouteKeys   []string
	InstanceID  string
	WakeURL     string // where the connector pokes
	DisplayName string // cut to 64 characters
}

// Config is what New needs. URL is required; a zero duration means its default.
type Config struct {
	URL     relay.BaseURL
	NetDial relay.DialFunc // for an https URL its TLS is already up; nil means a net.Dialer, with TLS for https
	Timeout time.Duration  // of one request, answer included; default 15 s
	Log     *slog.Logger   // nil discards
}

// Client provisions at one connector.
type Client struct {
	cfg Config
}

// New makes a Client. It touches no network.
func New(cfg Config) *Client {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{cfg: cfg}
}

// Provision registers every identity of req under its gateway id, the first one first and then the others side by
// side, and returns when all are answered. A fault of the first is returned, one of the others is logged.
//
// The errors: *StatusError for an answer that is not 2xx, ErrWithheld if no secret was given; else the network, the
// time limit, a redirect to another origin or an answer that cannot be read, each with a text of its own.
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
	for i, identity := range req.Fronts[1:] {
		wg.Go(func() {
			answer, err := c.post(ctx, client, token, newBody(req, identity))
			if err != nil && !errors.Is(err, ErrWithheld) {
				c.cfg.Log.Warn("a platform was not provisioned; going on with the others",
					"platform", identity.Platform, "error", err)
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

func newBody(req Request, identity relay.Front) body {
	return body{
		GatewayID:   req.GatewayID,
		Platform:    identity.Platform,
		BotID:       identity.BotID,
		Endpoint:    req.Endpoint,
		RouteKeys:   append([]string{}, req.RouteKeys...),
		InstanceID:  req.InstanceID,
		WakeURL:     req.WakeURL,
		DisplayName: cut(req.DisplayName, maxDisplayName),
	}
}

func (c *Client) post(ctx context.Context, client *http.Client, token relay.Secret, b body) (Credentials, error) {
	wakePath := capability(b.WakeURL)
	status, raw, err := c.send(ctx, client, c.cfg.URL.Provision(), token, b, wakePath)
	if err != nil {
		return Credentials{}, err
	}
	if status < 200 || status > 299 {
		return Credentials{}, &StatusError{status, sanitize(errorField(raw), token, wakePath)}
	}
	return decodeAnswer(raw)
}

// capability is the part of a wake URL that nobody else may know: all behind its host. A connector may quote it.
func capability(wakeURL string) relay.Secret {
	u, err := url.Parse(wakeURL)
	if err != nil {
		return relay.NewSecret(wakeURL)
	}
	return relay.NewSecret(strings.TrimPrefix(u.RequestURI(), "/"))
}

// send posts body as JSON with a bearer and returns the answer, whatever its status. No error shows the bearer or one of
// the other secrets that are in body.
func (c *Client) send(ctx context.Context, client *http.Client, to string, bearer relay.Secret, body any, secrets ...relay.Secret) (
	status int, raw []byte, err error,
) {
	payload, err := json.Marshal(body)
	if err != nil {
		return 0, nil, fmt.Errorf("provision: encode the request: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodPost, to, bytes.NewReader(payload))
	if err != nil {
		return 0, nil, errors.New("provision: the connector's URL cannot be used: " +
			"want http(s)://host or ws(s)://host")
	}
	req.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	req.Header.Set("Content-Type", "application/json")

	secrets = append(secrets, bearer)
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, c.netFault(ctx, req.URL, err, secrets...)
	}
	defer resp.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, c.netFault(ctx, req.URL, err, secrets...)
	}
	return resp.StatusCode, raw, nil
}

func (c *Client) netFault(ctx context.Context, to *url.URL, err error, secrets ...relay.Secret) error {
	return netFault(ctx, "provision: "+origin(to), c.cfg.Timeout, err, secrets...)
}

// decodeAnswer reads a 2xx answer. Whether a secret was issued is told by its presence, whether it was withheld on
// purpose by the presence of secretIssued, whatever that says: the reference does the same (section 14).
func decodeAnswer(raw []byte) (Credentials, error) {
	if len(raw) > maxAnswer {
		return Credentials{}, fmt.Errorf("provision: the connector's answer is over %d bytes: "+
			"check that the URL is a connector's", maxAnswer)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return Credentials{}, errors.New("provision: the connector's answer is not a JSON object: " +
			"check that the URL is a connector's")
	}
	secret := relay.NewSecret(text(fields["secret"]))
	if secret.Usable() {
		return Credentials{
			GatewayID:   text(fields["gatewayId"]),
			Secret:      secret,
			DeliveryKey: relay.NewSecret(text(fields["deliveryKey"])),
			Tenant:      text(fields["tenant"]),
		}, nil
	}
	if issued, ok := fields["secretIssued"]; ok && string(issued) != "null" {
		return Credentials{}, ErrWithheld
	}
	return Credentials{}, errors.New("provision: the connector's answer has neither a secret nor secretIssued: " +
		"enroll and pin the credentials if this connector keeps them")
}

// errorField is the "error" of an answer, or "" if there is none to be had.
func errorField(raw []byte) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return ""
	}
	return text(fields["error"])
}

// text is a JSON string's value, or "" for any other JSON.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
