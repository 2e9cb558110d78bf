package awssts_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/provision/awssts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is an http.RoundTripper that answers in the place of STS.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

// stsClient is the SDK's own, as the functions make it, on a wire of the test's.
func stsClient(answer func(form map[string]string) (status int, body string), asked func(*http.Request)) *sts.Client {
	return sts.New(sts.Options{
		Region:      "eu-central-1",
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "sk", ""),
		Retryer:     aws.NopRetryer{},
		HTTPClient: &http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
			asked(r)
			if err := r.ParseForm(); err != nil {
				return nil, err
			}
			form := map[string]string{}
			for name := range r.PostForm {
				form[name] = r.PostForm.Get(name)
			}
			status, body := answer(form)
			return &http.Response{
				StatusCode: status, Header: http.Header{"Content-Type": {"text/xml"}},
				Body: io.NopCloser(strings.NewReader(body)), Request: r,
			}, nil
		})},
	})
}

func stsToken(token string, ends time.Time) string {
	return fmt.Sprintf(`<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetWebIdentityTokenResult>`+
		`<WebIdentityToken>%s</WebIdentityToken><Expiration>%s</Expiration></GetWebIdentityTokenResult>`+
		`</GetWebIdentityTokenResponse>`, token, ends.UTC().Format(time.RFC3339))
}

func stsFault(code, message string) string {
	return fmt.Sprintf(`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>`+
		`<Code>%s</Code><Message>%s</Message></Error><RequestId>r-1</RequestId></ErrorResponse>`, code, message)
}

func TestWebIdentityIsAskedForRegionallyAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		var asks []map[string]string
		client := stsClient(func(form map[string]string) (int, string) {
			asks = append(asks, form)
			return 200, stsToken(fmt.Sprint("t-", len(asks)), time.Now().Add(5*time.Minute))
		}, func(r *http.Request) { is.Equal(r.URL.Host, "sts.eu-central-1.amazonaws.com") }) // the global one does not know it
		source := awssts.New(client, "https://connector.example")

		for range 3 {
			token, err := source.Token(t.Context())
			is.NoErr(err)
			is.Equal(token.Reveal(), "t-1")
			time.Sleep(89 * time.Second)
		}
		is.Equal(asks, []map[string]string{{
			"Action": "GetWebIdentityToken", "Version": "2011-06-15", "Audience.member.1": "https://connector.example",
			"SigningAlgorithm": "ES384", "DurationSeconds": "300",
		}})
		time.Sleep(4 * time.Second) // 29 s before its end
		token, err := source.Token(t.Context())
		is.NoErr(err)
		is.Equal(token.Reveal(), "t-2")
	})
}

func TestWebIdentityGoesOverToRS256(t *testing.T) {
	is := is.New(t)
	answer := func(form map[string]string) (int, string) {
		if form["SigningAlgorithm"] == "ES384" {
			return 403, stsFault("AccessDenied", "not authorized to perform: sts:GetWebIdentityToken")
		}
		return 200, stsToken(form["SigningAlgorithm"], time.Now().Add(5*time.Minute))
	}
	source := awssts.New(stsClient(answer, func(*http.Request) {}), "https://connector.example")
	token, err := source.Token(t.Context())
	is.NoErr(err)
	is.Equal(token.Reveal(), "RS256") // STS would not
	is.True(!source.Refused())        // there is no third one

	source = awssts.New(stsClient(func(form map[string]string) (int, string) {
		return 200, stsToken(form["SigningAlgorithm"], time.Now().Add(5*time.Minute))
	}, func(*http.Request) {}), "https://connector.example")
	token, err = source.Token(t.Context())
	is.NoErr(err)
	is.Equal(token.Reveal(), "ES384")
	is.True(source.Refused()) // the connector would not
	token, err = source.Token(t.Context())
	is.NoErr(err)
	is.Equal(token.Reveal(), "RS256") // not the kept one
}

func TestWebIdentityFaultsSayWhatToDo(t *testing.T) {
	tests := map[string]struct {
		status   int
		body     string
		unusable bool
		want     string
	}{
		"switched off": {
			403, stsFault("OutboundWebIdentityFederationDisabledException", "Outbound web identity federation is disabled"), true,
			"aws iam enable-outbound-web-identity-federation (once per account, not per stack;",
		},
		"switched off, by the name in AWS's API reference": {
			403, stsFault("OutboundWebIdentityFederationDisabled", "Outbound web identity federation is disabled"), true,
			"aws iam enable-outbound-web-identity-federation (once per account, not per stack;",
		},
		"denied": {
			403, stsFault("AccessDenied", "no"), true,
			"the role may not call sts:GetWebIdentityToken for the audience https://connector.example",
		},
		"throttled":  {400, stsFault("Throttling", "Rate exceeded"), false, "Throttling"},
		"no token":   {200, stsToken(" ", time.Now()), false, "answered without a token"},
		"not of AWS": {502, "<html>", false, "gives no web identity token"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			client := stsClient(func(map[string]string) (int, string) { return tt.status, tt.body }, func(*http.Request) {})
			_, err := awssts.New(client, "https://connector.example").Token(t.Context())
			is.True(strings.Contains(err.Error(), tt.want))
			is.Equal(errors.Is(err, provision.ErrAuthUnusable), tt.unusable)
		})
	}
}

type hangingSTS struct{}

func (hangingSTS) GetWebIdentityToken(ctx context.Context, _ *sts.GetWebIdentityTokenInput, _ ...func(*sts.Options)) (
	*sts.GetWebIdentityTokenOutput, error,
) {
	<-ctx.Done()
	return nil, fmt.Errorf("operation error STS: %w", ctx.Err())
}

func TestASlowSTSIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		start := time.Now()
		_, err := awssts.New(hangingSTS{}, "a").Token(t.Context())
		is.Equal(time.Since(start), 15*time.Second)
		is.Equal(err.Error(), "provision: AWS STS gives no web identity token: no answer within 15s: try again: context deadline exceeded")
	})
}

// A connector that verifies ES384 alone would take one of RS256 in place of a stale token for an opt-out.
func TestTheAlgorithmIsLeftForARefusedNewTokenOnly(t *testing.T) {
	is := is.New(t)
	var asks []string
	source := awssts.New(stsClient(func(form map[string]string) (int, string) {
		asks = append(asks, form["SigningAlgorithm"])
		return 200, stsToken(fmt.Sprint("t-", len(asks)), time.Now().Add(5*time.Minute))
	}, func(*http.Request) {}), "https://connector.example")
	token := func() string {
		t.Helper()
		token, err := source.Token(t.Context())
		is.NoErr(err)
		return token.Reveal()
	}
	for range 2 { // however often: each time it is the kept one that is stale
		token()
		token()
		is.True(source.Refused())
	}
	is.Equal(token(), "t-3")
	is.Equal(asks, []string{"ES384", "ES384", "ES384"})
	is.True(source.Refused()) // a new one
	is.Equal(token(), "t-4")
	is.True(!source.Refused())
	is.Equal(asks, []string{"ES384", "ES384", "ES384", "RS256"})
}

// A token that was kept may be refused where a new one is not. The second refusal is of a token as new as can be, but there
// is another algorithm.
func TestARefusedTokenIsFetchedAnewOnceForEachAlgorithm(t *testing.T) {
	is := is.New(t)
	asks := 0
	source := awssts.New(stsClient(func(map[string]string) (int, string) {
		asks++
		return 200, stsToken("t", time.Now().Add(time.Hour))
	}, func(*http.Request) {}), "https://connector.example")
	for range 2 {
		_, err := source.Token(t.Context())
		is.NoErr(err)
	}
	is.Equal(asks, 1)
	for range 2 {
		is.True(source.Refused()) // a kept one, then ES384
		_, err := source.Token(t.Context())
		is.NoErr(err)
	}
	is.Equal(asks, 3)
	is.True(!source.Refused())
}
