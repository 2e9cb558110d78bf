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
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	defaultTimeout = 15 * time.Second // of one request
	maxAnswer      = 1 << 20          // bytes
)

// Credentials are what a gateway dials with.
type Credentials struct {
	GatewayID   string       // the id in the connector's answer, or the one that was sent if the answer has none
	Secret      relay.Secret // mints upgrade tokens (section 2)
	DeliveryKey relay.Secret // may be empty; this version of the contract does not use it
	Tenant      string       // may be empty
}

// Config is what New needs. URL is required; a zero duration means its default.
type Config struct {
	URL     relay.BaseURL
	NetDial relay.DialFunc // nil means a net.Dialer, with TLS for https
	Timeout time.Duration  // of one request, answer included; default 15 s
	Log     *slog.Logger   // nil discards
}

// Client talks to the HTTP routes of one connector: Provision, Enroll and Declare. It keeps no connection open.
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

// send posts body as JSON with a bearer and returns the answer, whatever its status. secrets are what else in body is
// secret. No error shows them or the bearer.
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
