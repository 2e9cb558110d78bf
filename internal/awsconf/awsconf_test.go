package awsconf_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/awsconf"
)

// both makes our configuration and the config module's from the same variables, with nothing else around.
func both(t *testing.T, environ map[string]string) (ours, theirs aws.Config) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range awsconf.Variables() {
		t.Setenv(name, "") // unset, to both
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	for _, name := range []string{
		"AWS_PROFILE", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_DEFAULTS_MODE", "AWS_CA_BUNDLE",
	} {
		t.Setenv(name, "")
	}
	for name, value := range environ {
		t.Setenv(name, value)
	}
	theirs, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return awsconf.New(environ), theirs
}

func with(more map[string]string) map[string]string {
	environ := map[string]string{
		"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "canary-key",
		"AWS_SESSION_TOKEN": "session",
	}
	maps.Copy(environ, more)
	return environ
}

var environments = map[string]map[string]string{
	"as Lambda sets it": with(nil),
	"no session":        with(map[string]string{"AWS_SESSION_TOKEN": ""}),
	"default region":    with(map[string]string{"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-2"}),
	"two regions":       with(map[string]string{"AWS_DEFAULT_REGION": "us-west-2"}),
	"another partition": with(map[string]string{"AWS_REGION": "cn-north-1"}),
	"one endpoint":      with(map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}),
	"Lambda's endpoint": with(map[string]string{"AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:2/base"}),
	"STS's endpoint":    with(map[string]string{"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:3"}),
	"both endpoints": with(map[string]string{
		"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:2",
	}),
	"each its own": with(map[string]string{
		"AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:2", "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:3",
		"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:4", "AWS_ENDPOINT_URL_SSM": "http://127.0.0.1:5",
		"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:6",
	}),
}

// recorder keeps what would have been sent.
type recorder struct{ last *http.Request }

func (r *recorder) Do(req *http.Request) (*http.Response, error) {
	r.last = req
	return &http.Response{StatusCode: http.StatusAccepted, Header: http.Header{}, Body: http.NoBody}, nil
}

func TestSameAsTheConfigModule(t *testing.T) {
	for name, environ := range environments {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			ours, theirs := both(t, environ)
			is.Equal(sent(t, ours), sent(t, theirs))

			our, their := lambda.NewFromConfig(ours).Options(), lambda.NewFromConfig(theirs).Options()
			is.Equal(our.Region, their.Region)
			is.Equal(our.BaseEndpoint, their.BaseEndpoint)
			is.Equal(sts.NewFromConfig(ours).Options().BaseEndpoint, sts.NewFromConfig(theirs).Options().BaseEndpoint)

			ourKeys, err := our.Credentials.Retrieve(t.Context())
			is.NoErr(err)
			theirKeys, err := their.Credentials.Retrieve(t.Context())
			is.NoErr(err)
			is.Equal(ourKeys, theirKeys)
			for _, sdkID := range []string{"Lambda", "DynamoDB", "SSM", "Secrets Manager", "STS"} {
				is.Equal(endpoint(ours, sdkID), endpoint(theirs, sdkID)) // what each service client looks up
			}
		})
	}
}

// The global endpoint of STS does not know GetWebIdentityToken.
func TestSTSIsAskedRegionally(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1": "sts.us-east-1.amazonaws.com", "eu-central-1": "sts.eu-central-1.amazonaws.com", "cn-north-1": "sts.cn-north-1.amazonaws.com.cn",
	} {
		is := is.New(t)
		var wire recorder
		client := sts.NewFromConfig(awsconf.New(with(map[string]string{"AWS_REGION": region})), func(o *sts.Options) {
			o.HTTPClient, o.Retryer = &wire, aws.NopRetryer{}
		})
		client.GetWebIdentityToken(t.Context(), &sts.GetWebIdentityTokenInput{Audience: []string{"a"}, SigningAlgorithm: aws.String("ES384")})
		is.Equal(wire.last.URL.Host, want)
	}
}

// sent is a request's address and the parts of its headers that do not change from call to call.
func sent(t *testing.T, cfg aws.Config) map[string]string {
	t.Helper()
	var wire recorder
	client := lambda.NewFromConfig(cfg, func(o *lambda.Options) { o.HTTPClient = &wire })
	if _, err := client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("drain")}); err != nil {
		t.Fatal(err)
	}
	scope := strings.Split(wire.last.Header.Get("Authorization"), "/") // key, date, region, service, rest
	return map[string]string{
		"url": wire.last.URL.String(), "host": wire.last.Host, "key": scope[0], "region": scope[2], "service": scope[3],
		"session": wire.last.Header.Get("X-Amz-Security-Token"), "agent": wire.last.Header.Get("User-Agent"),
	}
}

func endpoint(cfg aws.Config, sdkID string) string {
	type provider interface {
		GetServiceBaseEndpoint(context.Context, string) (string, bool, error)
	}
	for _, source := range cfg.ConfigSources {
		if p, ok := source.(provider); ok {
			if value, found, err := p.GetServiceBaseEndpoint(context.Background(), sdkID); found && err == nil {
				return value
			}
		}
	}
	return ""
}

func TestSameDefaultsAsTheConfigModule(t *testing.T) {
	is := is.New(t)
	ours, theirs := both(t, with(nil))
	is.Equal(ours.HTTPClient == nil, theirs.HTTPClient == nil)
	is.Equal(ours.Retryer == nil, theirs.Retryer == nil)
	is.Equal(ours.DefaultsMode, theirs.DefaultsMode)
	is.Equal(ours.RuntimeEnvironment, theirs.RuntimeEnvironment)
	is.Equal(ours.AccountIDEndpointMode, theirs.AccountIDEndpointMode)
	is.Equal(ours.DisableRequestCompression, theirs.DisableRequestCompression)
	is.Equal(ours.RequestMinCompressSizeBytes, theirs.RequestMinCompressSizeBytes)
	is.Equal(ours.DisableClockSkewCorrection, theirs.DisableClockSkewCorrection)
	is.Equal(ours.RequestChecksumCalculation, theirs.RequestChecksumCalculation)
	is.Equal(ours.ResponseChecksumValidation, theirs.ResponseChecksumValidation)
	is.Equal(ours.RestrictFilePermissions, theirs.RestrictFilePermissions)
	is.Equal(ours.AuthSchemePreference, theirs.AuthSchemePreference)
	is.Equal(ours.AppID, theirs.AppID)

	our, their := lambda.NewFromConfig(ours).Options(), lambda.NewFromConfig(theirs).Options()
	is.Equal(our.RetryMode, their.RetryMode)
	is.Equal(our.RetryMaxAttempts, their.RetryMaxAttempts)
	is.Equal(our.Retryer.MaxAttempts(), their.Retryer.MaxAttempts())
	is.Equal(our.Retryer.MaxAttempts(), 3)
	for _, err := range []error{errors.New("other"), &aws.RequestCanceledError{}, context.DeadlineExceeded} {
		is.Equal(our.Retryer.IsErrorRetryable(err), their.Retryer.IsErrorRetryable(err))
	}
	ourHTTP, theirHTTP := our.HTTPClient.(*awshttp.BuildableClient), their.HTTPClient.(*awshttp.BuildableClient)
	is.Equal(ourHTTP.GetTimeout(), theirHTTP.GetTimeout())
	is.Equal(ourHTTP.GetDialer().Timeout, theirHTTP.GetDialer().Timeout)
	is.Equal(ourHTTP.GetTransport().TLSHandshakeTimeout, theirHTTP.GetTransport().TLSHandshakeTimeout)
	is.Equal(ourHTTP.GetTransport().MaxIdleConnsPerHost, theirHTTP.GetTransport().MaxIdleConnsPerHost)
}

func TestMissingVariablesAreNamedAndNobodyIsAsked(t *testing.T) {
	tests := map[string]struct {
		environ map[string]string
		want    []string
	}{
		"nothing set": {nil, []string{"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}},
		"no region":   {with(map[string]string{"AWS_REGION": ""}), []string{"AWS_REGION"}},
		"no credentials": {
			map[string]string{"AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
			[]string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
		},
		"half a key": {with(map[string]string{"AWS_SECRET_ACCESS_KEY": ""}), []string{"AWS_SECRET_ACCESS_KEY"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			var wire recorder
			client := lambda.NewFromConfig(awsconf.New(tt.environ), func(o *lambda.Options) { o.HTTPClient = &wire })
			_, err := client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("drain")})
			is.True(err != nil)
			for _, name := range tt.want {
				is.True(strings.Contains(err.Error(), name+" is not set"))
			}
			is.Equal(strings.Count(err.Error(), "is not set"), len(tt.want))
			is.True(!strings.Contains(err.Error(), "canary"))
			is.True(wire.last == nil) // nothing was sent, to the service or anybody else
		})
	}
}

func TestConfigModuleIsNotLinked(t *testing.T) {
	is := is.New(t)
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	is.NoErr(err)
	for line := range strings.Lines(string(out)) {
		is.True(!strings.HasPrefix(line, "github.com/aws/aws-sdk-go-v2/config")) // it costs start-up time
		is.True(!strings.Contains(line, "/feature/ec2/imds"))
	}
}
