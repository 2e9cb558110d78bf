package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const maxToken = 64 << 10 // bytes of an answer with a token

// Ambient is a TokenSource for an endpoint that gives a token to everyone who can reach it. It sends a GET without id and
// secret, and the answer is the token (section 14). Do not copy or change it once it is in use.
type Ambient struct {
	TokenURL string         // https, or http for loopback
	NetDial  relay.DialFunc // nil means a net.Dialer, with TLS for https
	Timeout  time.Duration  // of a request, answer included; default 15 s

	kept keeper
}

var _ Alternative = (*Ambient)(nil)

// Token returns the kept token, or asks for a new one.
func (a *Ambient) Token(ctx context.Context) (relay.Secret, error) { return a.kept.get(ctx, a.ask) }

// Refused drops the token. It reports whether that token had been kept, so that the next one is another.
func (a *Ambient) Refused() bool { return a.kept.refused() }

func (a *Ambient) ask(ctx context.Context) (relay.Secret, time.Time, error) {
	endpoint, err := checkTokenURL(a.TokenURL)
	if err != nil {
		return relay.Secret{}, time.Time{}, err
	}
	limit := a.Timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	client := newHTTPClient(a.NetDial)
	defer client.CloseIdleConnections()
	act := "provision: token endpoint " + origin(endpoint)

	req, err := http.NewRequestWithContext(limited, http.MethodGet, endpoint.String(), nil)
	if err != nil {
		return relay.Secret{}, time.Time{}, errors.New("provision: the token URL cannot be used")
	}
	resp, err := client.Do(req)
	if err != nil {
		return relay.Secret{}, time.Time{}, netFault(ctx, act, limit, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxToken+1))
	if err != nil {
		return relay.Secret{}, time.Time{}, netFault(ctx, act, limit, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return relay.Secret{}, time.Time{}, fmt.Errorf("%s: HTTP %d: no token given: "+
			"an endpoint that wants a client id and secret gets them if both are set", act, resp.StatusCode)
	}
	token := ambientToken(raw)
	if token == "" {
		return relay.Secret{}, time.Time{}, errors.New(act + ": the answer is no token: want a JSON object with a string " +
			"access_token, a JWT, or at least 32 of A-Z a-z 0-9 _ -")
	}
	return relay.NewSecret(token), time.Time{}, nil
}

// Compiled when it is first needed: few gateways ask an endpoint, and each cold start would pay.
var tokenShape = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2,}|[A-Za-z0-9_-]{32,})$`)
})

// ambientToken is the token in the endpoint's answer, or "" if there is none.
func ambientToken(raw []byte) string {
	if len(raw) > maxToken {
		return ""
	}
	body := strings.TrimSpace(string(raw))
	if strings.HasPrefix(body, "{") {
		var fields map[string]json.RawMessage
		if json.Unmarshal([]byte(body), &fields) != nil {
			return ""
		}
		return strings.TrimSpace(text(fields["access_token"]))
	}
	if tokenShape().MatchString(body) {
		return body
	}
	return ""
}
