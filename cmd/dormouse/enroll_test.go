package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

const (
	enrollCanary   = "canary-of-the-enrollment"
	identityCanary = "canary-of-the-identity"
)

// parameters stands in for SSM Parameter Store.
type parameters struct {
	mu     sync.Mutex
	values map[string]string
	refuse bool // writes
}

func (p *parameters) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var in struct {
		Name, Value, Type string
		WithDecryption    bool
	}
	json.NewDecoder(r.Body).Decode(&in)
	in.Name = strings.TrimPrefix(in.Name, "arn:aws:ssm:eu-central-1:1:parameter")
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	switch {
	case action == "PutParameter" && p.refuse:
		w.WriteHeader(400)
		io.WriteString(w, `{"__type":"AccessDeniedException","message":"no"}`)
	case action == "PutParameter":
		p.values[in.Name] = in.Value
		io.WriteString(w, `{"Version":1}`)
	case p.values[in.Name] == "":
		w.WriteHeader(400)
		io.WriteString(w, `{"__type":"ParameterNotFound"}`)
	default:
		value := "encrypted"
		if in.WithDecryption {
			value = p.values[in.Name]
		}
		json.NewEncoder(w).Encode(map[string]any{"Parameter": map[string]any{
			"ARN": "arn:aws:ssm:eu-central-1:1:parameter" + in.Name, "Type": "SecureString", "Value": value,
		}})
	}
}

// operator sets what an operator has in the environment, and starts the connector and the store.
func operator(t *testing.T) (*devconnector.Connector, *parameters) {
	t.Helper()
	connector := devconnector.New(devconnector.Config{
		Identities:  map[string]string{identityCanary: "acme"},
		Enrollments: map[string]string{enrollCanary: "acme", enrollCanary + "-2": "acme"},
	})
	store := &parameters{values: map[string]string{}}
	relaying, storing := httptest.NewServer(connector), httptest.NewServer(store)
	t.Cleanup(func() {
		relaying.Close()
		storing.Close()
		if err := connector.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	noAccount(t, map[string]string{
		"AWS_ENDPOINT_URL": storing.URL, "GATEWAY_RELAY_URL": relaying.URL, "GATEWAY_RELAY_ID": "gw-1",
		"GATEWAY_RELAY_IDENTITY_TOKEN": identityCanary, enrollVariable: enrollCanary,
	})
	return connector, store
}

func TestEnrollStoresWhatItGetsAndSaysWhatToDeploy(t *testing.T) {
	is := is.New(t)
	connector, store := operator(t)
	code, out, errs := dormouse(t.Context(), "enroll")
	is.Equal(errs, "")
	is.Equal(code, 0)
	for _, want := range []string{
		"has accepted gw-1, tenant acme", "the SSM parameter /dormouse/gw-1", "CredentialsArn=arn:aws:ssm:eu-central-1:1:parameter/dormouse/gw-1",
		"RelayId=gw-1", "register the stack's output WakeUrl",
	} {
		is.True(strings.Contains(out, want))
	}
	var first struct{ GatewayID, Secret, DeliveryKey string }
	is.NoErr(json.Unmarshal([]byte(store.values["/dormouse/gw-1"]), &first))
	is.Equal(first.GatewayID, "gw-1")
	is.True(len(first.Secret) == 64 && len(first.DeliveryKey) == 64)
	is.Equal(os.Getenv(enrollVariable), "") // not left for whatever is started later

	t.Setenv(enrollVariable, enrollCanary+"-2")
	code, _, errs = dormouse(t.Context(), "enroll")
	is.Equal(code, 1)
	is.True(strings.Contains(errs, "is there already: to replace what it holds use dormouse rotate"))

	file := filepath.Join(t.TempDir(), "token")
	is.NoErr(os.WriteFile(file, []byte(enrollCanary+"-2\n"), 0o600))
	code, rotated, errs := dormouse(t.Context(), "rotate", "--token-file", file)
	is.Equal(errs, "")
	is.Equal(code, 0)
	is.True(strings.Contains(rotated, "nothing has to be\ndeployed"))
	is.True(strings.Contains(rotated, "Between connector and store lay at most "))
	is.True(!strings.Contains(store.values["/dormouse/gw-1"], first.Secret))
	enrolled := 0
	for _, o := range connector.State().Observations {
		if o.What == devconnector.ObsEnroll {
			enrolled++
		}
	}
	is.Equal(enrolled, 2)
	for _, secret := range []string{enrollCanary, identityCanary, first.Secret, first.DeliveryKey} {
		is.True(!strings.Contains(out+rotated+errs, secret))
	}
}

// instead is where something else answers than a connector.
func instead(t *testing.T, answer http.HandlerFunc) string {
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestEnrollSaysWhatIsWrong(t *testing.T) {
	tests := map[string]struct {
		args   []string
		change func(*testing.T, *parameters)
		want   string
	}{
		"no token": {nil, func(t *testing.T, _ *parameters) { t.Setenv(enrollVariable, " ") },
			"no enrollment token in $GATEWAY_RELAY_ENROLL_TOKEN: give it in --token-file"},
		"no token file":    {[]string{"--token-file", "testdata/none"}, nil, "--token-file: open testdata/none"},
		"empty input":      {[]string{"--token-file", "-"}, nil, "no enrollment token in standard input"},
		"no connector":     {nil, func(t *testing.T, _ *parameters) { t.Setenv("GATEWAY_RELAY_URL", "") }, "give --connector-url"},
		"no gateway":       {nil, func(t *testing.T, _ *parameters) { t.Setenv("GATEWAY_RELAY_ID", "") }, "give --gateway-id"},
		"nobody":           {nil, func(t *testing.T, _ *parameters) { t.Setenv("GATEWAY_RELAY_IDENTITY_TOKEN", "") }, "nothing says who enrolls"},
		"no region":        {nil, func(t *testing.T, _ *parameters) { t.Setenv("AWS_REGION", "") }, "no AWS region: set AWS_REGION"},
		"two places":       {[]string{"--parameter", "a", "--secret", "b"}, nil, "the credentials go to one of them"},
		"an ARN":           {[]string{"--parameter", "arn:aws:ssm:r:1:parameter/x"}, nil, "take a name, not an ARN"},
		"unknown identity": {nil, func(t *testing.T, _ *parameters) { t.Setenv("GATEWAY_RELAY_IDENTITY_TOKEN", "x-"+identityCanary) }, "HTTP 401: the identity was not verified"},
		"used token": {nil, func(t *testing.T, _ *parameters) { t.Setenv(enrollVariable, "x-"+enrollCanary) },
			"HTTP 403: the enrollment token is invalid, expired, used"},
		"no identity to be had": {nil, func(t *testing.T, _ *parameters) {
			t.Setenv("GATEWAY_RELAY_IDENTITY_TOKEN", "")
			t.Setenv("GATEWAY_RELAY_IDP_TOKEN_URL", instead(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, enrollCanary, 500) }))
		}, "HTTP 500: no token given: an endpoint that wants a client id and secret gets them if both are set; nothing was redeemed\n"},
		"no answer": {nil, func(t *testing.T, _ *parameters) {
			t.Setenv("GATEWAY_RELAY_URL", instead(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
		}, ": EOF; the enrollment token may have been redeemed: if it is refused the next time, ask for a new one\n"},
		"elsewhere": {nil, func(t *testing.T, _ *parameters) {
			t.Setenv("GATEWAY_RELAY_URL", instead(t, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://elsewhere.example/"+enrollCanary, http.StatusTemporaryRedirect)
			}))
		}, "redirect to http://elsewhere.example:80 refused: a credential stays with the origin that it is for"},
		"no connector there": {nil, func(t *testing.T, _ *parameters) {
			t.Setenv("GATEWAY_RELAY_URL", instead(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, enrollCanary, 404) }))
		}, "dormouse: enroll: the connector answered HTTP 404: this connector does not enroll: have its operator give you the " +
			"credentials, and store them yourself\n"},
		"not stored": {nil, func(_ *testing.T, p *parameters) { p.refuse = true }, "are lost: secretstore: the secret cannot be used: write /dormouse/gw-1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			_, store := operator(t)
			if tt.change != nil {
				tt.change(t, store)
			}
			code, out, errs := dormouse(t.Context(), append([]string{"enroll"}, tt.args...)...)
			is.Equal(code, 1)
			is.Equal(out, "")
			if !strings.Contains(errs, tt.want) {
				t.Errorf("got %q, want %q", errs, tt.want)
			}
			is.True(!strings.Contains(errs, "canary"))
			is.Equal(len(store.values), 0)
		})
	}
	is := is.New(t)
	operator(t)
	code, _, errs := dormouse(t.Context(), "rotate")
	is.Equal(code, 1)
	is.True(strings.Contains(errs, "is not there: for the first credentials use dormouse enroll"))
}

func TestARotationSaysHowLongTheGapWas(t *testing.T) {
	for gap, want := range map[time.Duration][]string{
		300 * time.Millisecond: {"lay at most 300ms.", "was refused meanwhile reads them anew for 1m0s, and goes on"},
		time.Minute:            {"lay at most 1m0s.", "has taken that for\nan opt-out and is off"},
	} {
		var out strings.Builder
		tellGap(&out, gap)
		for _, part := range want {
			is.New(t).True(strings.Contains(out.String(), part))
		}
	}
}
