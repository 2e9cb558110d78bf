package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matryer/is"
)

// environmentFile is where this test binary, run as the function, writes its environment.
const environmentFile = "DORMOUSE_TEST_ENVIRONMENT_FILE"

// Before the function asks Lambda for its first invocation, no secret is in its environment any more: neither a child process
// nor a dump of it has one.
func TestMainTakesTheSecretsOutOfItsEnvironment(t *testing.T) {
	if to := os.Getenv(environmentFile); to != "" {
		mainUntilItIsReady(to)
		return
	}
	t.Parallel()
	is := is.New(t)
	to := filepath.Join(t.TempDir(), "environment")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), environmentFile+"="+to, "DORMOUSE_ALLOW_ENV_SECRETS=1",
		"GATEWAY_RELAY_URL=http://127.0.0.1:1", "GATEWAY_RELAY_ID=gw-1", "GATEWAY_RELAY_PLATFORMS=discord",
		"GATEWAY_RELAY_SECRET=canary-1", "GATEWAY_RELAY_IDENTITY_TOKEN=canary-2", "DORMOUSE_AGENT_SECRET=whsec_Y2FuYXJ5LTNjYW5hcnktMw==",
		"GATEWAY_RELAY_IDP_CLIENT_SECRET=canary-4")
	out, err := cmd.CombinedOutput()
	is.NoErr(err)
	raw, err := os.ReadFile(to)
	if err != nil {
		t.Fatalf("the function did not get ready: %s", out)
	}
	var environ []string
	is.NoErr(json.Unmarshal(raw, &environ))
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if strings.Contains(value, "canary") || strings.HasPrefix(value, "whsec_") {
			t.Errorf("%s is still there", name)
		}
	}
	is.True(len(environ) > 3) // the others are
}

// mainUntilItIsReady runs the function until it turns to Lambda's runtime API.
func mainUntilItIsReady(to string) {
	runtime := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		raw, err := json.Marshal(os.Environ())
		if err == nil {
			err = os.WriteFile(to, raw, 0o600)
		}
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}))
	os.Setenv("AWS_LAMBDA_RUNTIME_API", strings.TrimPrefix(runtime.URL, "http://"))
	main()
}
