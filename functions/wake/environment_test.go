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

// Wake needs no secret. Where one was given to it all the same, it is out of its environment before the first poke.
func TestMainTakesTheSecretsOutOfItsEnvironment(t *testing.T) {
	if to := os.Getenv(environmentFile); to != "" {
		mainUntilItIsReady(to)
		return
	}
	t.Parallel()
	is := is.New(t)
	to := filepath.Join(t.TempDir(), "environment")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), environmentFile+"="+to, "DORMOUSE_DRAIN_FUNCTION=drain", "AWS_REGION=us-east-1",
		"GATEWAY_RELAY_SECRET=canary-1", "GATEWAY_RELAY_IDENTITY_TOKEN=canary-2", "DORMOUSE_AGENT_SECRET=canary-3",
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
		if name, value, _ := strings.Cut(variable, "="); strings.Contains(value, "canary") {
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
