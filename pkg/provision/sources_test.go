package provision_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

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
		source := provision.NewWebIdentity(client, "https://connector.example")

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
	source := provision.NewWebIdentity(stsClient(answer, func(*http.Request) {}), "https://connector.example")
	token, err := source.Token(t.Context())
	is.NoErr(err)
	is.Equal(token.Reveal(), "RS256") // STS would not
	is.True(!source.Refused())        // there is no third one

	source = provision.NewWebIdentity(stsClient(func(form map[string]string) (int, string) {
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
			_, err := provision.NewWebIdentity(client, "https://connector.example").Token(t.Context())
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
		_, err := provision.NewWebIdentity(hangingSTS{}, "a").Token(t.Context())
		is.Equal(time.Since(start), 15*time.Second)
		is.Equal(err.Error(), "provision: AWS STS gives no web identity token: no answer within 15s: try again: context deadline exceeded")
	})
}

func TestAmbientTokenIsAPlainGET(t *testing.T) {
	is := is.New(t)
	var asks atomic.Int32
	jwt := jwtEnding(time.Now().Add(time.Hour))
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asks.Add(1)
		if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" {
			t.Error("unexpected request:", r.Method, r.Header)
		}
		io.WriteString(w, jwt+"\n")
	})
	source := &provision.Ambient{TokenURL: srv.URL + "/token"}
	for range 2 {
		token, err := source.Token(t.Context())
		is.NoErr(err)
		is.Equal(token.Reveal(), jwt)
	}
	is.Equal(asks.Load(), int32(1)) // kept: it says when it ends
}

func jwtEnding(at time.Time) string {
	return "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, at.Unix())) + ".c2ln"
}

func TestAmbientFaultsSayWhatToDo(t *testing.T) {
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	tests := map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"refused":  {answer(403, `{"error":"canary"}`), ": HTTP 403: no token given: an endpoint that wants a client id and secret"},
		"no token": {answer(200, "<html>canary</html>"), ": the answer is no token: want a JSON object with a string access_token"},
		"too long": {answer(200, strings.Repeat("x", 65<<10)), ": the answer is no token"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "refused: a credential stays with the origin"},
		"slow": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ": no whole answer within 50ms: try again"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			srv := serve(t, tt.handler)
			source := &provision.Ambient{TokenURL: srv.URL}
			if name == "slow" {
				source.Timeout = 50 * time.Millisecond
			}
			_, err := source.Token(t.Context())
			is.True(err != nil)
			is.True(strings.Contains(err.Error(), tt.want))
			is.True(!strings.Contains(err.Error(), "canary"))
		})
	}
	_, err := (&provision.Ambient{TokenURL: "http://idp.example/token"}).Token(t.Context())
	is.New(t).True(strings.Contains(err.Error(), "plain http is for loopback only"))
}

func TestStoredTokenIsReadAnewOnceItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		reads := 0
		value := " " + jwtEnding(time.Now().Add(10*time.Minute)) + "\n"
		source := provision.Stored(func(context.Context) (relay.Secret, error) {
			reads++
			return relay.NewSecret(value), nil
		})
		token, err := source.Token(t.Context())
		is.NoErr(err)
		is.Equal(token.Reveal(), strings.TrimSpace(value))
		time.Sleep(9 * time.Minute)
		_, err = source.Token(t.Context())
		is.NoErr(err)
		is.Equal(reads, 1)
		time.Sleep(31 * time.Second)
		value = "opaque"
		token, err = source.Token(t.Context())
		is.NoErr(err)
		is.Equal(token.Reveal(), "opaque")
		time.Sleep(time.Minute) // one that does not say when it ends is kept for the drain that asked, no longer
		_, err = source.Token(t.Context())
		is.NoErr(err)
		is.Equal(reads, 3)
	})
	is := is.New(t)
	_, err := provision.Stored(func(context.Context) (relay.Secret, error) {
		return relay.NewSecret(`{"token":"canary no token"}`), nil
	}).Token(t.Context())
	is.True(errors.Is(err, provision.ErrAuthUnusable))
	is.True(!strings.Contains(err.Error(), "canary"))
}

// A token that was kept may be refused where a new one is not: the issuer has changed its keys. So a first refusal is met
// with a new one, and no more than one.
func TestARefusedTokenIsFetchedAnewOnce(t *testing.T) {
	var asks int
	jwt := jwtEnding(time.Now().Add(time.Hour))
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asks++
		if r.Method == http.MethodGet {
			io.WriteString(w, jwt)
			return
		}
		tokenAnswer(200, `{"access_token":"t","expires_in":3600}`)(w, r)
	})
	sources := map[string]provision.TokenSource{
		"plain": &provision.Ambient{TokenURL: srv.URL},
		"oidc":  client(srv.URL),
		"stored": provision.Stored(func(context.Context) (relay.Secret, error) {
			asks++
			return relay.NewSecret(jwt), nil
		}),
		"aws": provision.NewWebIdentity(stsClient(func(map[string]string) (int, string) {
			asks++
			return 200, stsToken("t", time.Now().Add(time.Hour))
		}, func(*http.Request) {}), "https://connector.example"),
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			asks = 0
			other := source.(provision.Alternative)
			for range 2 {
				_, err := source.Token(t.Context())
				is.NoErr(err)
			}
			is.Equal(asks, 1)
			is.True(other.Refused()) // it was a kept one
			_, err := source.Token(t.Context())
			is.NoErr(err)
			is.Equal(asks, 2)
			if name == "aws" { // it was as new as can be, but there is another algorithm
				is.True(other.Refused())
				_, err := source.Token(t.Context())
				is.NoErr(err)
				is.Equal(asks, 3)
			}
			is.True(!other.Refused())
		})
	}
}

// A connector that verifies ES384 alone would take one of RS256 in place of a stale token for an opt-out.
func TestTheAlgorithmIsLeftForARefusedNewTokenOnly(t *testing.T) {
	is := is.New(t)
	var asks []string
	source := provision.NewWebIdentity(stsClient(func(form map[string]string) (int, string) {
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

func TestATokenThatHasEndedIsNotShown(t *testing.T) { // the connector would take it for somebody who may not
	old := jwtEnding(time.Now().Add(-time.Hour))
	for name, source := range map[string]provision.TokenSource{
		"stored": provision.Stored(func(context.Context) (relay.Secret, error) { return relay.NewSecret(old), nil }),
		"static": provision.StaticToken(relay.NewSecret(old)),
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			_, err := source.Token(t.Context())
			is.True(errors.Is(err, provision.ErrAuthUnusable))
			is.True(strings.Contains(err.Error(), "the identity token ended at "))
			is.True(strings.HasSuffix(err.Error(), "Z: put a new one in its place"))
		})
	}
}

func TestClientSecretIsReadForEachRequest(t *testing.T) {
	is := is.New(t)
	secrets := []string{"old", "new"}
	var sent []string
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		sent = append(sent, r.PostForm.Get("client_secret"))
		tokenAnswer(200, `{"access_token":"t","expires_in":5}`)(w, r)
	})
	source := &provision.ClientCredentials{TokenURL: srv.URL, ClientID: "id",
		ReadSecret: func(context.Context) (relay.Secret, error) { return relay.NewSecret(secrets[len(sent)]), nil }}
	for range 2 {
		_, err := source.Token(t.Context())
		is.NoErr(err)
	}
	is.Equal(sent, secrets)
	source.ReadSecret = func(context.Context) (relay.Secret, error) { return relay.Secret{}, errors.New("store is down") }
	_, err := source.Token(t.Context())
	is.Equal(err.Error(), "store is down")
}

func TestPoliciesAreDeclared(t *testing.T) {
	is := is.New(t)
	bodies := make(chan string, 2)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Path != "/relay/policy" || r.Header.Get("Authorization") != "Bearer "+canaryToken {
			t.Error("unexpected request:", r.URL, r.Header)
		}
		bodies <- string(raw)
		if strings.Contains(string(raw), "slack") {
			answer(202, `{"error":"not for `+canaryToken+`"}`)(w, r) // only 200 counts
		}
	})
	err := provision.New(provision.Config{URL: relay.BaseURL(srv.URL)}).Declare(t.Context(), relay.NewSecret(canaryToken),
		[]relay.Policy{{Platform: "discord", RequireAddress: true}})
	is.NoErr(err)
	is.Equal(<-bodies, `{"platform":"discord","requireAddress":true,"freeResponseScopes":[],"allowOtherBots":false}`)
	err = provision.New(provision.Config{URL: relay.BaseURL(srv.URL)}).Declare(t.Context(), relay.NewSecret(canaryToken),
		[]relay.Policy{{Platform: "slack"}, {Platform: "discord"}})
	is.Equal(err.Error(), "provision: policy of slack: the connector answered HTTP 202 (it says: not for [redacted])")
}

func TestEnrollExplainsARefusal(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		want   string
	}{
		"identity": {401, `{"error":"who"}`, "enroll: the connector answered HTTP 401: the identity was not verified: " +
			"check the identity token's issuer, audience, subject and age (it says: who)"},
		"token": {403, `{"error":"` + canarySecret + ` used"}`, "enroll: the connector answered HTTP 403: the enrollment token is " +
			"invalid, expired, used, or another tenant's: ask the connector's operator for a new one (it says: [redacted] used)"},
		"none": {404, ``, "enroll: the connector answered HTTP 404: this connector does not enroll: " +
			"have its operator give you the credentials, and store them yourself"},
		"withheld": {200, `{"secretIssued":false}`, "enroll: the connector took the enrollment and gave no secret with it: " +
			"ask its operator for a new enrollment token"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			srv := serve(t, answer(tt.status, tt.body))
			_, err := provision.New(provision.Config{URL: relay.BaseURL(srv.URL)}).
				Enroll(t.Context(), relay.NewSecret(canaryToken), relay.NewSecret(canarySecret), "gw-1")
			is.Equal(err.Error(), tt.want)
		})
	}
}

func TestEnrollRedeemsTheToken(t *testing.T) {
	is := is.New(t)
	body := make(chan string, 1)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/relay/enroll" || r.Header.Get("Authorization") != "Bearer "+canaryToken {
			t.Error("unexpected request:", r.URL, r.Header, err)
		}
		body <- string(raw)
		io.WriteString(w, `{"secret":"s","deliveryKey":"k","tenant":"t"}`)
	})
	got, err := provision.New(provision.Config{URL: relay.BaseURL(srv.URL)}).
		Enroll(t.Context(), relay.NewSecret(canaryToken), relay.NewSecret("once"), "gw-1")
	is.NoErr(err)
	is.Equal(got, provision.Credentials{
		GatewayID: "gw-1", Secret: relay.NewSecret("s"), DeliveryKey: relay.NewSecret("k"), Tenant: "t",
	})
	is.Equal(<-body, `{"enrollmentToken":"once","gatewayId":"gw-1"}`)
}
