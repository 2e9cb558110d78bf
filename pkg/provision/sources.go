package provision

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	webTokenLife = 300 * time.Second // of the tokens that STS is asked for
	early        = 30 * time.Second  // so long before its end a token is not handed out any more
	endless      = time.Minute       // how long a token is kept that does not say when it ends
	maxToken     = 64 << 10          // bytes
)

// ErrAuthUnusable means that no identity token will come until somebody changes something: trying again is of no use.
var ErrAuthUnusable = errors.New("provision: the identity cannot be used as it is set up")

// Alternative is a TokenSource that may have another token for a connector that does not accept the one it got.
type Alternative interface {
	TokenSource
	// Refused says that the last token was not accepted (HTTP 401). It returns whether the next one is another: of another
	// kind, or a new one in place of one that was kept.
	Refused() bool
}

// keeper keeps one token until shortly before its end.
type keeper struct {
	mu    sync.Mutex
	token relay.Secret
	until time.Time // by the wall clock: the monotonic one stands still while a function is frozen
	again bool      // it has been handed out again
}

// get returns the token that is kept, or else fetches one. ends is when that ends, zero if it does not say.
func (k *keeper) get(ctx context.Context, fetch func(context.Context) (token relay.Secret, ends time.Time, err error)) (relay.Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now().Round(0)
	if k.token.Usable() && now.Before(k.until) {
		k.again = true
		return k.token, nil
	}
	token, ends, err := fetch(ctx)
	if err != nil {
		return relay.Secret{}, err
	}
	k.token, k.until, k.again = token, now.Add(endless), false
	if !ends.IsZero() {
		k.until = ends.Round(0).Add(-early)
	}
	return token, nil
}

// refused lets go of the token, and says whether the last one that was handed out had been kept.
func (k *keeper) refused() (kept bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept, k.again = k.again, false
	k.token = relay.Secret{}
	return kept
}

// STS is the one method of the STS client that WebIdentity needs. The client has to be a regional one: the global
// endpoint does not know it.
type STS interface {
	GetWebIdentityToken(context.Context, *sts.GetWebIdentityTokenInput, ...func(*sts.Options)) (*sts.GetWebIdentityTokenOutput, error)
}

// WebIdentity is a TokenSource that lets AWS itself say which role this is: a JWT of the account's own issuer, with no
// stored secret at all. It asks for ES384 and, once STS refuses that or the connector a new one, for RS256.
type WebIdentity struct {
	client   STS
	audience string
	timeout  time.Duration
	kept     keeper

	mu     sync.Mutex
	weaker bool // RS256 from now on
}

// NewWebIdentity returns the source of tokens for one audience. It touches no network.
func NewWebIdentity(client STS, audience string) *WebIdentity {
	return &WebIdentity{client: client, audience: audience, timeout: defaultTimeout}
}

var _ Alternative = (*WebIdentity)(nil)

// Token returns the kept token, or asks STS for one that is good for 300 s.
func (w *WebIdentity) Token(ctx context.Context) (relay.Secret, error) { return w.kept.get(ctx, w.ask) }

// Refused lets go of a token that was kept. If that was a new one, it goes over to RS256, which more connectors can verify.
func (w *WebIdentity) Refused() bool {
	if w.kept.refused() {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := !w.weaker
	w.weaker = true
	return changed
}

func (w *WebIdentity) algorithm() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.weaker {
		return "RS256"
	}
	return "ES384"
}

func (w *WebIdentity) ask(ctx context.Context) (relay.Secret, time.Time, error) {
	limited, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	for {
		algorithm := w.algorithm()
		out, err := w.client.GetWebIdentityToken(limited, &sts.GetWebIdentityTokenInput{
			Audience:         []string{w.audience},
			SigningAlgorithm: &algorithm,
			DurationSeconds:  aws.Int32(int32(webTokenLife / time.Second)),
		})
		switch {
		case err == nil && strings.TrimSpace(aws.ToString(out.WebIdentityToken)) == "":
			return relay.Secret{}, time.Time{}, errors.New("provision: AWS STS answered without a token: try again later")
		case err == nil:
			token := strings.TrimSpace(*out.WebIdentityToken)
			ends := aws.ToTime(out.Expiration)
			if ends.IsZero() {
				ends = tokenEnd(token)
			}
			return relay.NewSecret(token), ends, nil
		case algorithm == "ES384" && refusedAlgorithm(err):
			w.mu.Lock()
			w.weaker = true
			w.mu.Unlock()
		default:
			return relay.Secret{}, time.Time{}, w.fault(ctx, err)
		}
	}
}

// refusedAlgorithm says whether the algorithm may be what is wrong: an unknown one, or one that a policy denies.
func refusedAlgorithm(err error) bool {
	code := errorCode(err)
	return code == "ValidationError" || code == "InvalidParameterValue" || denied(code)
}

func errorCode(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

func denied(code string) bool { return code == "AccessDenied" || code == "AccessDeniedException" }

// fault explains what STS said. The SDK's text has the request id and no token.
func (w *WebIdentity) fault(ctx context.Context, err error) error {
	const act = "provision: AWS STS gives no web identity token: "
	// Its API reference leaves Exception off, its SDKs do not.
	if strings.TrimSuffix(errorCode(err), "Exception") == "OutboundWebIdentityFederationDisabled" {
		return fmt.Errorf("%w: %soutbound web identity federation is off in this AWS account. Switch it on with: "+
			"aws iam enable-outbound-web-identity-federation (once per account, not per stack; its answer names the issuer "+
			"that the connector has to trust)", ErrAuthUnusable, act)
	}
	if code := errorCode(err); denied(code) {
		return fmt.Errorf("%w: %sthe role may not call sts:GetWebIdentityToken for the audience %s: "+
			"allow it in the role's policy (%s)", ErrAuthUnusable, act, w.audience, code)
	}
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%sno answer within %v: try again: %w", act, w.timeout, context.DeadlineExceeded)
	}
	return fmt.Errorf("%s%w", act, err)
}

// Ambient is a TokenSource for an endpoint that hands a token to whoever asks from the right place, without id and
// secret: a GET, whose answer is the token (section 14). Not to be copied or changed once used.
type Ambient struct {
	TokenURL string // https, or http for loopback
	NetDial  relay.DialFunc
	Timeout  time.Duration // of a request, answer included; default 15 s

	kept keeper
}

var _ Alternative = (*Ambient)(nil)

// Refused lets go of a token that was kept.
func (a *Ambient) Refused() bool { return a.kept.refused() }

// Token returns the kept token, or asks for a new one.
func (a *Ambient) Token(ctx context.Context) (relay.Secret, error) { return a.kept.get(ctx, a.ask) }

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
	return relay.NewSecret(token), tokenEnd(token), nil
}

var (
	jwtShape    = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2,}$`)
	opaqueShape = regexp.MustCompile(`^[A-Za-z0-9_-]{32,}$`)
)

// ambientToken is the token in such an answer, or "" if there is none.
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
	if jwtShape.MatchString(body) || opaqueShape.MatchString(body) {
		return body
	}
	return ""
}

// tokenEnd is the exp of a JWT, unverified as it is for keeping only, or zero if the token has none.
func tokenEnd(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) < 3 {
		return time.Time{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(raw, &claims) != nil || claims.Exp < 1 || claims.Exp > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Exp), 0)
}

// Stored is a TokenSource for a token that lies in a store of secrets. read is called when there is none in hand that is
// good for some time yet, so that a replaced one needs no restart.
func Stored(read func(context.Context) (relay.Secret, error)) TokenSource { return &stored{read: read} }

type stored struct {
	read func(context.Context) (relay.Secret, error)
	kept keeper
}

func (s *stored) Refused() bool { return s.kept.refused() }

func (s *stored) Token(ctx context.Context) (relay.Secret, error) {
	return s.kept.get(ctx, func(ctx context.Context) (relay.Secret, time.Time, error) {
		secret, err := s.read(ctx)
		if err != nil {
			return relay.Secret{}, time.Time{}, err
		}
		token := strings.TrimSpace(secret.Reveal())
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return relay.Secret{}, time.Time{}, fmt.Errorf("%w: what is stored is no identity token: want the bare token", ErrAuthUnusable)
		}
		ends := tokenEnd(token)
		if err := ended(ends); err != nil {
			return relay.Secret{}, time.Time{}, err
		}
		return relay.NewSecret(token), ends, nil
	})
}
