package devconnector

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	reasonExpired      = "expired"
	reasonUnauthorized = "unauthorized"
)

// gateway is one gateway id: its credentials, and the instance that it speaks for.
type gateway struct {
	id       string
	inst     *instance
	tenant   string
	secrets  []rotated // newest last
	platform string    // the first one provisioned
}

// rotated is a secret and the end of its rotation window; the zero time means it is current.
type rotated struct {
	value relay.Secret
	until time.Time
}

// rotate makes a new secret and leaves the one before it valid for the window.
func (g *gateway) rotate(now time.Time, window time.Duration) relay.Secret {
	g.secrets = slices.DeleteFunc(g.secrets, func(s rotated) bool { return !s.until.IsZero() && !now.Before(s.until) })
	for i := range g.secrets {
		if g.secrets[i].until.IsZero() {
			g.secrets[i].until = now.Add(window)
		}
	}
	secret := randomSecret()
	g.secrets = append(g.secrets, rotated{value: secret})
	return secret
}

// valid returns the secrets that verify at a point in time.
func (g *gateway) valid(now time.Time) []relay.Secret {
	var valid []relay.Secret
	for _, s := range g.secrets {
		if s.until.IsZero() || now.Before(s.until) {
			valid = append(valid, s.value)
		}
	}
	return valid
}

// checkToken reads an upgrade token (section 2). The id is read first, because it says which secrets may verify. An id may
// hold colons, so the token is split from the right. A fault is "expired" or "unauthorized".
func checkToken(token string, secrets func(id string) []relay.Secret, now time.Time, leeway time.Duration) (
	id, fault string,
) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return "", reasonUnauthorized
	}
	signed, sig, ok := cutLast(string(raw), ":")
	if !ok {
		return "", reasonUnauthorized
	}
	id, exp, ok := cutLast(signed, ":")
	if !ok {
		return "", reasonUnauthorized
	}
	verifies := func(secret relay.Secret) bool {
		mac := hmac.New(sha256.New, []byte(secret.Reveal()))
		mac.Write([]byte(signed))
		return hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(sig))
	}
	if !slices.ContainsFunc(secrets(id), verifies) {
		return "", reasonUnauthorized
	}
	end, err := strconv.ParseInt(exp, 10, 64)
	switch {
	case err != nil:
		return "", reasonUnauthorized
	case end != 0 && now.Unix() > end+int64(leeway/time.Second):
		return "", reasonExpired
	}
	return id, ""
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// bearer returns the request's bearer token, or "".
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return token
}

// authenticate finds the gateway behind an upgrade token. Call with c.mu held.
func (c *Connector) authenticate(r *http.Request) (*gateway, string) {
	now := time.Now()
	secrets := func(id string) []relay.Secret {
		if gw := c.gateways[id]; gw != nil {
			return gw.valid(now)
		}
		return nil
	}
	var gw *gateway
	if c.preset().NoCredentials {
		gw = c.anybody()
	} else if c.cfg.Anonymous != "" && r.Header.Get("Authorization") == "" {
		gw = c.gateway(c.cfg.Anonymous)
	} else {
		id, fault := checkToken(bearer(r), secrets, now, c.preset().ExpiryLeeway)
		if fault != "" {
			return nil, fault
		}
		gw = c.gateways[id]
	}
	if gw.inst.revoked {
		return nil, reasonUnauthorized
	}
	return gw, ""
}

// anybody is the gateway that every dial is taken for, where there are no credentials. Call with c.mu held.
func (c *Connector) anybody() *gateway {
	for _, gw := range c.gateways {
		if c.cfg.Anonymous == "" && len(c.gateways) == 1 {
			return gw
		}
	}
	return c.gateway(cmp.Or(c.cfg.Anonymous, "anybody"))
}

// stranger says so if an upgrade token names a gateway that is not known here; else it is empty. It does not show the name,
// which may be anything. Call with c.mu held.
func (c *Connector) stranger(token string) (said string) {
	checkToken(token, func(id string) []relay.Secret {
		if c.gateways[id] == nil {
			said = ": the gateway that it names is not known here (" + c.knownIDs() + "): it has to provision or enroll first, or start the " +
				"connector with --gateway"
		}
		return nil
	}, time.Now(), 0)
	return said
}

// identify finds the tenant behind an identity token. If the token is not accepted, it returns the status and the text that
// the request is answered with.
func (c *Connector) identify(ctx context.Context, r *http.Request) (tenant string, status int, fault string) {
	const unverified = "identity not verified"
	token := bearer(r)
	if tenant := c.cfg.Identities[token]; token != "" && tenant != "" {
		return tenant, 0, ""
	}
	if c.cfg.Identify == nil || token == "" {
		return "", http.StatusUnauthorized, unverified
	}
	tenant, err := c.cfg.Identify(ctx, token)
	switch {
	case errors.Is(err, ErrCannotAsk):
		return "", http.StatusServiceUnavailable, "the issuer cannot be asked"
	case err != nil || tenant == "":
		return "", http.StatusUnauthorized, unverified
	}
	return tenant, 0, ""
}

// failed counts a bad credential against the request's address. Call with c.mu held.
func (c *Connector) failed(r *http.Request) {
	if c.preset().FailureLimit > 0 {
		c.failures[address(r)] = append(c.failures[address(r)], time.Now())
	}
}

// barred says whether the address has shown too many bad credentials lately. Call with c.mu held.
func (c *Connector) barred(r *http.Request) bool {
	old := time.Now().Add(-c.preset().FailureWindow)
	recent := slices.DeleteFunc(c.failures[address(r)], func(at time.Time) bool { return !at.After(old) })
	c.failures[address(r)] = recent
	return c.preset().FailureLimit > 0 && len(recent) >= c.preset().FailureLimit
}

func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// randomSecret is 64 hex digits, as provisioning returns them.
func randomSecret() relay.Secret { return relay.NewSecret(randomHex(32)) }

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}
