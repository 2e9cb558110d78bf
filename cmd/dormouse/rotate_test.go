package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/matryer/is"
)

// stacked has a stack "gw" whose drain function has these variables, beside what operator starts.
func stacked(t *testing.T, variables map[string]string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/functions/gw-drain/configuration") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"Environment": map[string]any{"Variables": variables}})
	}))
	t.Cleanup(srv.Close)
	t.Setenv("AWS_ENDPOINT_URL_LAMBDA", srv.URL)
}

const storedARN = "arn:aws:ssm:eu-central-1:1:parameter/kept/here"

func TestAStackIsRotatedWhereItsCredentialsAre(t *testing.T) {
	is := is.New(t)
	_, store := operator(t)
	stacked(t, map[string]string{
		"GATEWAY_RELAY_URL": os.Getenv("GATEWAY_RELAY_URL") + "/", "GATEWAY_RELAY_CREDENTIALS_ARN": storedARN, "GATEWAY_RELAY_ID": "gw-gw-0123",
	})
	t.Setenv("GATEWAY_RELAY_URL", "")
	t.Setenv("GATEWAY_RELAY_ID", "")
	store.values["/kept/here"] = `{"gatewayId":"gw-7","secret":"canary-of-old"}`
	code, out, errs := dormouse(t.Context(), "rotate", "--stack", "gw")
	is.Equal(errs, "")
	is.Equal(code, 0)
	is.True(strings.Contains(out, "has accepted gw-7, tenant acme")) // the id is that of the credentials, not the function's own
	is.True(strings.Contains(out, "the SSM parameter /kept/here:\n  "+storedARN))
	is.Equal(len(store.values), 1)
	is.True(strings.Contains(store.values["/kept/here"], `"gatewayId":"gw-7"`))
	is.True(!strings.Contains(out+store.values["/kept/here"], "canary"))
}

func TestAStackThatCannotBeRotatedLosesNoToken(t *testing.T) {
	for name, tt := range map[string]struct {
		stored, arn string // what is stored, and where the stack says that it is
		env         map[string]string
		args        []string
		want        string
		code        int
	}{
		"it provisions":   {arn: "", want: "gw has no pinned credentials (parameter CredentialsArn)", code: 1},
		"not an ARN":      {arn: "/kept/here", want: "give --parameter or --secret", code: 1},
		"nothing stored":  {arn: storedARN, env: map[string]string{"GATEWAY_RELAY_ID": ""}, want: "cannot be read: give --gateway-id", code: 1},
		"another shell's": {arn: storedARN, env: map[string]string{"GATEWAY_RELAY_URL": "http://127.0.0.1:8787"}, want: "leave the first one out", code: 2},
		"another gateway": {
			arn: storedARN, stored: `{"gatewayId":"gw-7","secret":"s"}`, args: []string{"--gateway-id", "gw-8"},
			want: "the gateway id is gw-8 by --gateway-id or $GATEWAY_RELAY_ID, and gw-7 by the credentials", code: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			connector, store := operator(t)
			stacked(t, map[string]string{"GATEWAY_RELAY_URL": os.Getenv("GATEWAY_RELAY_URL"), "GATEWAY_RELAY_CREDENTIALS_ARN": tt.arn})
			for variable, value := range tt.env {
				t.Setenv(variable, value)
			}
			if tt.stored != "" {
				store.values["/kept/here"] = tt.stored
			}
			code, out, errs := dormouse(t.Context(), append([]string{"rotate", "--stack", "gw"}, tt.args...)...)
			is.Equal(code, tt.code)
			is.Equal(out, "")
			if !strings.Contains(errs, tt.want) {
				t.Errorf("got %q, want %q", errs, tt.want)
			}
			is.Equal(len(connector.State().Observations), 0) // nothing was redeemed
			is.Equal(store.values["/kept/here"], tt.stored)
		})
	}
}
