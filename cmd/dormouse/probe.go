package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/gorilla/websocket"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/internal/secretstore"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	connectorTime = 10 * time.Second
	trialTime     = 60 * time.Second
	awsTime       = 15 * time.Second
)

// probe tries what dormouse init was told.
type probe struct {
	*preparation
	cloud aws.Config
}

// connector opens one socket without credentials. A connector takes the upgrade, and closes, or asks for credentials; in each
// case it is one.
func (p *probe) connector(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, connectorTime)
	defer cancel()
	at := relay.NewBaseURL(p.parameters["RelayUrl"]).RelayURL()
	u, err := url.Parse(at)
	if err != nil {
		return "", errors.New("the connector's URL cannot be used")
	}
	dialer := &websocket.Dialer{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	conn, answer, err := dialer.DialContext(ctx, at, nil)
	switch {
	case err == nil:
		conn.Close()
		return "the connector at " + u.Host + " takes sockets", nil
	case answer == nil:
		return "", fmt.Errorf("the connector at %s cannot be reached: %w: check its URL, and the network from here", u.Host, withoutURL(err))
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "the connector at " + u.Host + " answers, and wants credentials", nil
	case http.StatusNotFound:
		return "", fmt.Errorf("%s answers, but has no relay at the path %s (HTTP 404): its operator knows the base URL", u.Host, u.Path)
	}
	return "", fmt.Errorf("%s answers HTTP %d to a socket at the path %s: is this a connector's base URL?", u.Host, answer.StatusCode, u.Path)
}

// agent posts a trial turn.
func (p *probe) agent(ctx context.Context) (string, error) {
	who := p.parameters["Agent"]
	if who == "" || p.cmd.Bool("no-trial") {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	signed := "unsigned"
	options := agent.Options{
		Lambda: lambda.NewFromConfig(p.cloud, func(o *lambda.Options) { o.RetryMaxAttempts = 1 }),
		Secret: relay.NewSecret(os.Getenv(agentSecretVariable)),
	}
	if arn := p.parameters["AgentSecretArn"]; arn != "" {
		options.ReadSecret = func(ctx context.Context) (relay.Secret, error) { return secretstore.New(p.cloud).Get(ctx, arn) }
	}
	if options.ReadSecret != nil || options.Secret.Usable() {
		signed = "signed"
	}
	a, done, err := agent.New(who, options)
	if err != nil {
		return "", err
	}
	defer done()
	began := time.Now()
	answer, err := agent.Trial(ctx, a)
	if err != nil {
		return "", fmt.Errorf("the agent did not answer the trial turn (%s): %w", signed, err)
	}
	took := time.Since(began).Round(time.Millisecond)
	return fmt.Sprintf("the agent answered the trial turn (%s) in %s, with %d actions: %.80s", signed, took, answer.Actions, answer.Said), nil
}

// identity asks for what proves who the gateway is, by whoever runs this. What pinned credentials say of the id is kept.
func (p *probe) identity(ctx context.Context) (string, error) {
	s, err := p.template.settings(p.stack, p.parameters)
	if err != nil || s.Auth == config.AuthNone {
		return "", nil // check says what is wrong
	}
	ctx, cancel := context.WithTimeout(ctx, awsTime)
	defer cancel()
	clients := identity.Clients{STS: sts.NewFromConfig(p.cloud), Secrets: secretstore.New(p.cloud)}
	if read := identity.Pinned(s, clients); read != nil {
		credentials, err := read(ctx)
		if err != nil {
			return "", fmt.Errorf("the pinned credentials cannot be read from here: %w", err)
		}
		p.parameters["RelayId"] = credentials.GatewayID
		return "the pinned credentials are those of " + credentials.GatewayID, nil
	}
	if _, err := identity.Source(s, clients).Token(ctx); err != nil {
		return "", fmt.Errorf("no identity token from here (drain asks for it by its own role): %w", err)
	}
	return "an identity token was issued", nil
}

// withoutURL is what a request failed with, without its URL.
func withoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
