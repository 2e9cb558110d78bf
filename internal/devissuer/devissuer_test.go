package devissuer_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devissuer"
)

func start(t *testing.T) *devissuer.Issuer {
	t.Helper()
	var issuer *devissuer.Issuer
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { issuer.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	issuer, err := devissuer.New(srv.URL)
	is.New(t).NoErr(err)
	return issuer
}

// client is the SDK's own: the answers are as AWS's.
func client(url string) *sts.Client {
	return sts.New(sts.Options{
		Region: "eu-central-1", BaseEndpoint: &url, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "sk", ""),
	})
}

func TestItStandsInForSTS(t *testing.T) {
	is := is.New(t)
	issuer := start(t)
	ask := func(algorithm string, seconds int32) (*sts.GetWebIdentityTokenOutput, error) {
		return client(issuer.URL).GetWebIdentityToken(context.Background(), &sts.GetWebIdentityTokenInput{
			Audience: []string{"aud"}, SigningAlgorithm: &algorithm, DurationSeconds: &seconds,
		})
	}
	out, err := ask("ES384", 3600)
	is.NoErr(err)
	is.Equal(strings.Count(*out.WebIdentityToken, "."), 2)
	is.True(time.Until(*out.Expiration) > 59*time.Minute)
	for algorithm, seconds := range map[string]int32{"HS256": 300, "ES384": 59, "RS256": 3601} { // as AWS documents them
		_, err = ask(algorithm, seconds)
		is.True(strings.Contains(err.Error(), "StatusCode: 400"))
		is.True(strings.Contains(err.Error(), "ValidationError"))
	}
	issuer.Disabled = true
	_, err = ask("RS256", 300)
	is.True(strings.Contains(err.Error(), "StatusCode: 403"))
	_, off := errors.AsType[*types.OutboundWebIdentityFederationDisabledException](err)
	is.True(off)
}

// A page in a browser on this machine gets no token, by its own name for loopback or as itself.
func TestNoPageGetsAToken(t *testing.T) {
	issuer, err := devissuer.New("https://tunnel.example")
	is.New(t).NoErr(err)
	for _, path := range []string{"/token", "/jwks.json", "/.well-known/openid-configuration"} {
		for host, header := range map[string]http.Header{
			"evil.example":   {},
			"127.0.0.1:8789": {"Origin": {"https://evil.example"}},
			"localhost:8789": {"Origin": {"null"}},
		} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host, r.Header = host, header
			w := httptest.NewRecorder()
			issuer.ServeHTTP(w, r)
			is.New(t).Equal(w.Code, http.StatusForbidden)
		}
		for _, host := range []string{"127.0.0.1:8789", "localhost", "[::1]:8789", "tunnel.example"} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			issuer.ServeHTTP(w, r)
			is.New(t).Equal(w.Code, http.StatusOK)
		}
	}
}
