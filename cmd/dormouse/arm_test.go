package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"
)

const armPath = "/w/canary-of-the-path"

// deployment stands in for Lambda and for the API in front of wake.
func deployment(t *testing.T, answer, functionError string, wakeStatus int, variables map[string]string) {
	t.Helper()
	var wakeURL string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == armPath:
			if r.Method != http.MethodHead {
				t.Error("somebody is woken:", r.Method)
			}
			w.WriteHeader(wakeStatus)
		case strings.HasSuffix(r.URL.Path, "/functions/gw-drain/configuration"):
			all := map[string]string{"GATEWAY_RELAY_WAKE_URL": wakeURL}
			for name, value := range variables {
				all[name] = value
			}
			json.NewEncoder(w).Encode(map[string]any{"Environment": map[string]any{"Variables": all}})
		case strings.HasSuffix(r.URL.Path, "/functions/gw-drain/invocations"):
			body, err := io.ReadAll(r.Body)
			if err != nil || string(body) != `{"reason":"arm"}` {
				t.Errorf("invoked with %s, %v", body, err)
			}
			if functionError != "" {
				w.Header().Set("X-Amz-Function-Error", functionError)
			}
			io.WriteString(w, answer)
		default:
			w.Header().Set("X-Amzn-ErrorType", "ResourceNotFoundException")
			w.WriteHeader(404)
			io.WriteString(w, `{"Message":"Function not found"}`)
		}
	}))
	t.Cleanup(srv.Close)
	wakeURL = srv.URL + armPath
	noAccount(t, map[string]string{"AWS_ENDPOINT_URL": srv.URL})
}

func TestArmSaysArmedOrWhatIsMissing(t *testing.T) {
	const empty = `{"status":"empty","received":0,"turns":0,"ms":{}}`
	pinned := map[string]string{"GATEWAY_RELAY_CREDENTIALS_ARN": "arn:x"}
	tests := map[string]struct {
		args, answer, functionError string
		wake                        int
		variables                   map[string]string
		out, errs                   string
	}{
		"armed":    {"--stack gw", empty, "", 204, nil, "armed\n", ""},
		"pinned":   {"--function gw-drain", empty, "", 204, pinned, "register it there", ""},
		"disabled": {"--stack gw", `{"status":"disabled"}`, "", 204, nil, "", "not armed: drain: disabled: the connector has refused"},
		"taken":    {"--stack gw", `{"status":"taken"}`, "", 204, nil, "", "it takes what waits; try again when it has ended, or use --wait"},
		"held": {"--stack gw", `{"status":"taken","holder":"gw-drain, for wake","held_until":"2026-01-02T03:04:05Z"}`, "", 204, nil, "",
			"(gw-drain, for wake), until 2026-01-02T03:04:05Z unless it renews its lease"},
		"revoked": {"--stack gw", `{"status":"revoked"}`, "", 204, nil, "", "drain: revoked"},
		"seat":    {"--stack gw", `{"status":"seat_taken"}`, "", 204, nil, "", "another socket has this gateway's seat"},
		"not let in": {"--stack gw", `{"status":"handed_off","ms":{"all":900000}}`, "", 204, nil, "",
			"not armed: drain: handed_off before the connector let it in"},
		"unflipped": {"--stack gw", `{"status":"handed_off","unflipped":1}`, "", 204, nil, "", "not armed: drain: handed_off, but the connector did not answer going_idle"},
		"failed":    {"--stack gw", `{"errorMessage":"drain: gave up"}`, "Unhandled", 204, nil, "", "drain failed (Unhandled): drain: gave up"},
		"other":     {"--stack gw", `"hello"`, "", 204, nil, "", "did not answer as a drain function does"},
		"no route":  {"--stack gw", empty, "", 404, nil, "drain: empty", "leads nowhere (HTTP 404)"},
		"no start":  {"--stack gw", empty, "", 500, nil, "", "answers HTTP 500, want 204"},
		"no URL":    {"--stack gw", empty, "", 204, map[string]string{"GATEWAY_RELAY_WAKE_URL": ""}, "", "nobody can poke it"},
		"nothing":   {"--stack other", empty, "", 204, nil, "", "there is no function other-drain in eu-central-1: check the name"},
		"throttled": {"--stack gw", empty, "", 429, nil, "", "is throttled (HTTP 429)"},
		"which one": {"", empty, "", 204, nil, "", "give --stack or --function"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			deployment(t, tt.answer, tt.functionError, tt.wake, tt.variables)
			code, out, errs := dormouse(t.Context(), append([]string{"arm"}, strings.Fields(tt.args)...)...)
			is.Equal(code == 0, tt.errs == "")
			is.Equal(strings.HasSuffix(out, "armed\n"), tt.errs == "")
			if !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.errs) {
				t.Errorf("got %q and %q", out, errs)
			}
			is.True(!strings.Contains(out+errs, "canary"))
		})
	}
}

func TestArmWaitsForTheHolder(t *testing.T) {
	is := is.New(t)
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked++; {
		case strings.HasSuffix(r.URL.Path, "/configuration"):
			asked--
			json.NewEncoder(w).Encode(map[string]any{"Environment": map[string]any{"Variables": map[string]any{"GATEWAY_RELAY_WAKE_URL": "http://" + r.Host + armPath}}})
		case r.URL.Path == armPath:
			w.WriteHeader(204)
		case asked == 1:
			io.WriteString(w, `{"status":"taken","holder":"gw-drain, for wake","held_until":"2026-01-02T03:04:05Z"}`)
		default:
			io.WriteString(w, `{"status":"empty"}`)
		}
	}))
	t.Cleanup(srv.Close)
	noAccount(t, map[string]string{"AWS_ENDPOINT_URL": srv.URL})
	code, out, errs := dormouse(t.Context(), "arm", "--stack", "gw", "--wait")
	is.Equal(code, 0)
	is.True(strings.HasPrefix(errs, "waiting: drain: taken: another drain holds the lease of this gateway (gw-drain, for wake), until 2026-"))
	is.True(!strings.Contains(errs, "--wait")) // which it does
	is.True(strings.HasSuffix(out, "armed\n"))
}

func TestArmStopsWaitingWhenItIsInterrupted(t *testing.T) {
	is := is.New(t)
	ctx, interrupt := context.WithCancel(t.Context())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/configuration"):
			json.NewEncoder(w).Encode(map[string]any{"Environment": map[string]any{"Variables": map[string]any{"GATEWAY_RELAY_WAKE_URL": "http://" + r.Host + armPath}}})
		case r.URL.Path == armPath:
			w.WriteHeader(204)
		default:
			io.WriteString(w, `{"status":"taken","holder":"gw-drain, for wake","held_until":"2999-01-02T03:04:05Z"}`)
		}
	}))
	t.Cleanup(srv.Close)
	noAccount(t, map[string]string{"AWS_ENDPOINT_URL": srv.URL})
	var out buffer
	errs := buffer{grown: func(text string) {
		if strings.Contains(text, "waiting:") {
			interrupt()
		}
	}}
	is.Equal(run(ctx, []string{"dormouse", "arm", "--stack", "gw", "--wait"}, strings.NewReader(""), &out, &errs), 1)
	is.Equal(strings.Count(errs.String(), "waiting:"), 1)
	is.True(strings.Contains(errs.String(), "not armed: drain: taken"))
	is.True(!strings.Contains(errs.String(), "wake URL")) // which nobody has asked
}
