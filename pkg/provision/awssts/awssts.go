// Package awssts has AWS confirm which role the program runs as: its Source gets from STS a JWT that the account's own
// issuer has signed. No secret is stored. It is a package of its own so that pkg/provision does not need the AWS SDK.
//
// A Source may be used from several goroutines. Token waits for STS, at most 15 s, unless it still has a token that does
// not end soon. A Source starts no goroutines, and no error of it holds a token.
package awssts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	tokenLife = 300 * time.Second // of the tokens that STS is asked for
	timeout   = 15 * time.Second  // of one Token, both algorithms included
)

// Client is the one method of the STS client that a Source needs. The client has to be a regional one: the global endpoint
// does not have this method.
type Client interface {
	GetWebIdentityToken(context.Context, *sts.GetWebIdentityTokenInput, ...func(*sts.Options)) (*sts.GetWebIdentityTokenOutput, error)
}

// Source is a provision.TokenSource. It asks STS for a token signed with ES384. It changes to RS256 for good if STS
// refuses ES384, or if the connector refuses a new token: more connectors can verify RS256.
type Source struct {
	client   Client
	audience string
	kept     *provision.Kept

	mu     sync.Mutex
	weaker bool // RS256 is used from now on
}

var _ provision.Alternative = (*Source)(nil)

// New returns the source of tokens for one audience. It touches no network.
func New(client Client, audience string) *Source {
	s := &Source{client: client, audience: audience}
	s.kept = provision.Keep(s.ask)
	return s
}

// Token returns the kept token, or asks STS for one that is valid for 300 s. The error wraps provision.ErrAuthUnusable if
// somebody has to change something in AWS first.
func (s *Source) Token(ctx context.Context) (relay.Secret, error) { return s.kept.Token(ctx) }

// Refused drops the token. If that token had not been kept, all later ones are signed with RS256. It reports whether the
// next token differs from the last one.
func (s *Source) Refused() bool {
	if s.kept.Refused() {
		return true
	}
	return s.weaken()
}

// weaken changes to RS256. It reports whether it was not RS256 before.
func (s *Source) weaken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := !s.weaker
	s.weaker = true
	return changed
}

func (s *Source) algorithm() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.weaker {
		return "RS256"
	}
	return "ES384"
}

func (s *Source) ask(ctx context.Context) (relay.Secret, time.Time, error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		algorithm := s.algorithm()
		out, err := s.client.GetWebIdentityToken(limited, &sts.GetWebIdentityTokenInput{
			Audience:         []string{s.audience},
			SigningAlgorithm: &algorithm,
			DurationSeconds:  aws.Int32(int32(tokenLife / time.Second)),
		})
		switch {
		case err == nil && strings.TrimSpace(aws.ToString(out.WebIdentityToken)) == "":
			return relay.Secret{}, time.Time{}, errors.New("provision: AWS STS answered without a token: try again later")
		case err == nil:
			return relay.NewSecret(strings.TrimSpace(*out.WebIdentityToken)), aws.ToTime(out.Expiration), nil
		case algorithm == "ES384" && refusedAlgorithm(err):
			s.weaken()
		default:
			return relay.Secret{}, time.Time{}, s.fault(ctx, err)
		}
	}
}

// refusedAlgorithm reports whether the algorithm may be the cause: STS does not know it, or a policy denies it.
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

// fault makes the error for an answer of STS, and says what to do. The SDK's text has the request id and no token.
func (s *Source) fault(ctx context.Context, err error) error {
	const act = "provision: AWS STS gives no web identity token: "
	// AWS's API reference names this code without Exception, its SDKs with it.
	if strings.TrimSuffix(errorCode(err), "Exception") == "OutboundWebIdentityFederationDisabled" {
		return fmt.Errorf("%w: %soutbound web identity federation is off in this AWS account. Switch it on with: "+
			"aws iam enable-outbound-web-identity-federation (once per account, not per stack; its answer names the issuer "+
			"that the connector has to trust)", provision.ErrAuthUnusable, act)
	}
	if code := errorCode(err); denied(code) {
		return fmt.Errorf("%w: %sthe role may not call sts:GetWebIdentityToken for the audience %s: "+
			"allow it in the role's policy (%s)", provision.ErrAuthUnusable, act, s.audience, code)
	}
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%sno answer within %v: try again: %w", act, timeout, context.DeadlineExceeded)
	}
	return fmt.Errorf("%s%w", act, err)
}
