package main_test

import (
	"strings"
	"testing"

	"github.com/matryer/is"
)

func TestBadSettingsAreToldTogether(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const password = "canary-of-a-password"
	s := deploy(t, setup{canaries: []string{password}, env: map[string]string{
		"GATEWAY_RELAY_URL":      "https://user:" + password + "@connector.example",
		"GATEWAY_RELAY_WAKE_URL": "ftp://wake.example/w/" + wakePath,
		"DORMOUSE_IDLE_AFTER":    "soon",
		"DORMOUSE_CONCURRENCY":   "none",
		"DORMOUSE_MAX_ATTEMPTS":  "0",
		"DORMOUSE_AGENT":         "telnet://agent.example",
		"DORMOUSE_SWEEP_MAX":     "1s",
		"DORMOUSE_LOG_LEVEL":     "loud",
	}})
	checkRefused(t, s, 8, "GATEWAY_RELAY_URL", "GATEWAY_RELAY_WAKE_URL", "DORMOUSE_IDLE_AFTER", "DORMOUSE_CONCURRENCY",
		"DORMOUSE_MAX_ATTEMPTS", "DORMOUSE_AGENT", "DORMOUSE_SWEEP_MAX", "DORMOUSE_LOG_LEVEL")
	is.Equal(s.requestCount(), 0)
}

func TestSecretsInVariablesAreRefused(t *testing.T) {
	for _, name := range []string{
		"GATEWAY_RELAY_IDENTITY_TOKEN", "GATEWAY_RELAY_SECRET", "GATEWAY_RELAY_IDP_CLIENT_SECRET", "DORMOUSE_AGENT_SECRET",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const value = "canary-of-a-variable"
			env := map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN": "", "DORMOUSE_ALLOW_ENV_SECRETS": ""}
			if name == "GATEWAY_RELAY_IDP_CLIENT_SECRET" {
				env["GATEWAY_RELAY_IDP_TOKEN_URL"] = "https://idp.example/token"
				env["GATEWAY_RELAY_IDP_CLIENT_ID"] = "client"
			}
			env[name] = value
			s := deploy(t, setup{canaries: []string{value}, env: env})
			checkRefused(t, s, 1, name, "DORMOUSE_ALLOW_ENV_SECRETS")
		})
	}
}

// checkRefused starts drain, which must say in one line what is wrong, naming the variables, and end.
func checkRefused(t *testing.T, s *stack, faults int, variables ...string) {
	t.Helper()
	is := is.New(t)
	out := s.start("wake")()
	is.Equal(out.FunctionError, "Unhandled")
	is.Equal(len(s.host.PIDs(drainFunction)), 0)
	s.stop()
	lines := s.lines()
	is.Equal(len(lines), 1)
	is.True(strings.Contains(lines[0], `"level":"ERROR"`))
	for _, name := range variables {
		is.True(strings.Contains(lines[0], name+" ")) // names each
	}
	is.Equal(strings.Count(lines[0], `\n`), faults-1) // and there are no others
}
