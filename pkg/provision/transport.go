package provision

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	maxMessage   = 200 // characters of the other side's words in an error
	maxRedirects = 3
	maxHeader    = 64 << 10 // bytes of an answer's header, which takes twenty times as much in memory
)

// newHTTPClient makes a client for requests with credentials: HTTP/1.1, no proxy, no redirect to another origin. The caller
// closes its idle connections.
func newHTTPClient(dial relay.DialFunc) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Client{
		Transport: userAgent{&http.Transport{
			DialContext:        dial,
			DialTLSContext:     dial,
			Protocols:          &protocols,
			DisableCompression: true,

			MaxResponseHeaderBytes: maxHeader,
		}},
		CheckRedirect: sameOrigin,
	}
}

// userAgent names the program in each request, also in those that oauth2 makes.
type userAgent struct{ *http.Transport }

func (t userAgent) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", "dormouse")
	return t.Transport.RoundTrip(req)
}

// sameOrigin allows a redirect that repeats the same request to the same origin.
func sameOrigin(req *http.Request, via []*http.Request) error {
	from, to := origin(via[0].URL), origin(req.URL)
	status := req.Response.StatusCode
	switch {
	case from != to:
		return fmt.Errorf("redirect to %s refused: a credential stays with the origin that it is for; "+
			"if the service has moved there, set its new URL", to)
	case status != http.StatusTemporaryRedirect && status != http.StatusPermanentRedirect:
		return fmt.Errorf("redirect with HTTP %d refused: only 307 and 308 repeat a POST; set the final URL", status)
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects: set the final URL", maxRedirects)
	}
	return nil
}

// origin is scheme, host and port of u. The port is there even if it is the default.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// netFault makes the error for an answer that was not read. It leaves out the URL that net/http puts into its errors: after
// a redirect that URL comes from the other side and may hold anything.
func netFault(ctx context.Context, act string, limit time.Duration, err error, secrets ...relay.Secret) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: given up: %w", act, context.Cause(ctx))
	case ok && timeout.Timeout():
		return fmt.Errorf("%s: no whole answer within %v: try again, or check that it can be reached: %w",
			act, limit, context.DeadlineExceeded)
	}
	return &fault{act + ": " + redact(err.Error(), secrets), err}
}

// fault is an error of the network with a text in which secrets are redacted: net/http quotes what it cannot parse.
type fault struct {
	text  string
	cause error
}

func (e *fault) Error() string { return e.text }
func (e *fault) Unwrap() error { return e.cause }

func redact(text string, secrets []relay.Secret) string {
	for _, secret := range secrets {
		if secret.Usable() {
			text = strings.ReplaceAll(text, secret.Reveal(), secret.String())
			text = strings.ReplaceAll(text, url.QueryEscape(secret.Reveal()), secret.String())
		}
	}
	return text
}

// sanitize makes the other side's words fit for an error text: no secrets, one printable line, cut short.
func sanitize(text string, secrets ...relay.Secret) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, redact(text, secrets))
	return cut(strings.Join(strings.Fields(text), " "), maxMessage)
}

// cut shortens text to limit characters.
func cut(text string, limit int) string {
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit])
	}
	return text
}
