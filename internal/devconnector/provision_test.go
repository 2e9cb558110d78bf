package devconnector_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// field is a member of a JSON object as text, "" if it is not there.
func field(t testing.TB, body []byte, name string) string {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if members[name] == nil {
		return ""
	}
	return fmt.Sprint(members[name])
}

func provisionBody(gateway, platform string) []byte {
	return fmt.Appendf(nil, `{"gatewayId":%q,"platform":%q,"botId":"b","gatewayEndpoint":"","routeKeys":["k"],
		"wakeUrl":%q,"displayName":"Dory"}`, gateway, platform, wakeURL)
}

func TestProvisioning(t *testing.T) {
	type step struct{ gateway, platform, issued string } // issued: secretIssued as answered
	tests := map[string]struct {
		mode  devconnector.ProvisionMode
		steps []step
	}{
		"the first platform's secret, every time": {devconnector.ProvisionFirst, []step{
			{"gw-9", "discord", "true"}, {"gw-9", "slack", "false"}, {"gw-9", "discord", "true"}}},
		"a secret for every call": {devconnector.ProvisionIssue, []step{
			{"gw-9", "discord", ""}, {"gw-9", "slack", ""}}},
		"none for an id that is known": {devconnector.ProvisionWithhold, []step{
			{"gw-1", "discord", "false"}, {"gw-9", "discord", "true"}, {"gw-9", "discord", "false"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				p := devconnector.Hosted()
				p.Provision = tt.mode
				r := start(t, devconnector.Config{Preset: p})
				for _, step := range tt.steps {
					request := provisionBody(step.gateway, step.platform)
					status, body, _ := r.fetch("POST", "/relay/provision", identity, request)
					is.Equal(status, 200)
					is.Equal(field(t, body, "secretIssued"), step.issued)
					is.Equal(field(t, body, "gatewayId"), step.gateway)
					is.Equal(field(t, body, "tenant"), "t")
					is.Equal(field(t, body, "routeKeys"), "[k]")
					given := field(t, body, "secret")
					is.Equal(given == "", step.issued == "false")
					is.Equal(field(t, body, "deliveryKey") == "", step.issued == "false")
					if given != "" {
						r.dial(mint(step.gateway, given, 0)).hello(step.platform)
					}
				}
				last := r.c.State().Provisions[len(tt.steps)-1]
				is.Equal(last.WakeHost, "https://wake.example")
				is.Equal(last.DisplayName, "Dory")
			})
		})
	}
}

func TestProvisionedGatewayIsPoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Gateways: []devconnector.Gateway{}})
		_, body, _ := r.fetch("POST", "/relay/provision", identity, provisionBody("gw-9", "discord"))
		p := r.dial(mint("gw-9", field(t, body, "secret"), 0))
		p.hello("discord")
		p.expect("descriptor")
		p.goIdle()
		p.leave()
		r.c.Deliver("", event("c", "m"))
		is.Equal(<-r.pokes, wakeURL)
	})
}

func TestRotationWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		_, body, _ := r.fetch("POST", "/relay/provision", identity, provisionBody(id, "discord"))
		fresh := field(t, body, "secret")
		is.True(fresh != secret)
		policy := []byte(`{"platform":"discord","requireAddress":true,"freeResponseScopes":["c"],"allowOtherBots":false}`)
		check := func(secret string) int {
			status, _, _ := r.fetch("POST", "/relay/policy", mint(id, secret, 0), policy)
			return status
		}
		is.Equal(check(fresh), 200)
		is.Equal(check(secret), 200) // still
		time.Sleep(10 * time.Minute)
		is.Equal(check(secret), 401)
		is.Equal(check(fresh), 200)

		got := r.c.State().Policies[0]
		is.Equal(got.Platform, "discord")
		is.Equal(got.RequireAddress, true)
		is.Equal(got.FreeResponseScopes, []string{"c"})
	})
}

func TestProvisioningRefused(t *testing.T) {
	tests := map[string]struct {
		bearer, body string
		want         int
	}{
		"no identity":           {"", string(provisionBody("gw-9", "discord")), 401},
		"unknown identity":      {"nobody", string(provisionBody("gw-9", "discord")), 401},
		"another tenant's":      {"other-identity", string(provisionBody("gw-1", "discord")), 403},
		"another one's machine": {"other-identity", `{"gatewayId":"gw-9","platform":"discord","instanceId":"gw-1"}`, 403},
		"no gateway":            {identity, `{"platform":"discord"}`, 400},
		"no platform":           {identity, `{"gatewayId":"gw-9"}`, 400},
		"no JSON":               {identity, `{`, 400},
		"no object":             {identity, `[]`, 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{})
				status, body, _ := r.fetch("POST", "/relay/provision", tt.bearer, []byte(tt.body))
				is.Equal(status, tt.want)
				is.True(field(t, body, "error") != "")
			})
		})
	}
}

func TestIdentifyIsAskedAboutOtherTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Identify: func(_ context.Context, token string) (string, error) {
			if strings.HasPrefix(token, "jwt.") {
				return "t", nil
			}
			return "", fmt.Errorf("not mine")
		}})
		status, _, _ := r.fetch("POST", "/relay/provision", "jwt.a.b", provisionBody("gw-9", "discord"))
		is.Equal(status, 200)
		status, _, _ = r.fetch("POST", "/relay/provision", "x", provisionBody("gw-9", "discord"))
		is.Equal(status, 401)
	})
}

func TestEnrollment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "agentsync"),
			Enrollments: map[string]string{"once": "t", "theirs": "other"}})
		enroll := func(bearer, token string) (int, []byte) {
			status, body, _ := r.fetch("POST", "/relay/enroll", bearer,
				fmt.Appendf(nil, `{"enrollmentToken":%q,"gatewayId":"gw-9"}`, token))
			return status, body
		}
		for _, tt := range []struct {
			bearer, token string
			want          int
		}{
			{"nobody", "once", 401},
			{identity, "theirs", 403},
			{identity, "never", 403},
			{identity, "once", 200},
			{identity, "once", 403},
		} {
			status, body := enroll(tt.bearer, tt.token)
			is.Equal(status, tt.want)
			if status == 200 {
				p := r.dial(mint("gw-9", field(t, body, "secret"), 0))
				p.hello("discord")
				p.expect("descriptor")
				is.True(field(t, body, "deliveryKey") != "")
			}
		}
	})
}

func TestMedia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		key := []relay.Secret{relay.NewSecret(secret)}
		r := start(t, devconnector.Config{Gateways: []devconnector.Gateway{{ID: id, Tenant: "t", Secrets: key},
			{ID: "sibling", Tenant: "t", Secrets: key}, {ID: "stranger", Tenant: "other", Secrets: key}}})
		status, body, _ := r.fetch("POST", "/relay/media", freshToken(), []byte("\x89PNG"),
			"Content-Type", "image/png", "X-Media-Filename", "a.png")
		is.Equal(status, 200)
		is.Equal(field(t, body, "size"), "4")
		path := "/relay/media/" + field(t, body, "id")

		status, got, header := r.fetch("GET", path, freshToken(), nil)
		is.Equal(status, 200)
		is.Equal(string(got), "\x89PNG")
		is.Equal(header.Get("Content-Type"), "image/png")
		sibling, stranger := mint("sibling", secret, 0), mint("stranger", secret, 0)
		for bearer, want := range map[string]int{"": 401, "junk": 401, sibling: 200, stranger: 404} {
			status, _, _ = r.fetch("GET", path, bearer, nil)
			is.Equal(status, want)
		}
		status, _, _ = r.fetch("GET", "/relay/media/none", freshToken(), nil)
		is.Equal(status, 404)
		status, _, _ = r.fetch("POST", "/relay/media", "", []byte("x"))
		is.Equal(status, 401)
		status, _, _ = r.fetch("POST", "/relay/media", freshToken(), nil)
		is.Equal(status, 400) // empty
		long := strings.Repeat("n", 256)
		status, _, _ = r.fetch("POST", "/relay/media", freshToken(), []byte("x"), "X-Media-Filename", long)
		is.Equal(status, 400)
		status, _, _ = r.fetch("POST", "/relay/media", freshToken(), bytes.Repeat([]byte("x"), 25<<20))
		is.Equal(status, 200)

		hosted, err := r.c.AddMedia(id, "text/plain", "b.txt", []byte("hello"))
		is.NoErr(err)
		_, got, _ = r.fetch("GET", "/relay/media/"+hosted, freshToken(), nil)
		is.Equal(string(got), "hello")
		time.Sleep(time.Hour)
		status, _, _ = r.fetch("GET", path, freshToken(), nil)
		is.Equal(status, 404) // its hour is over
	})
}

func TestMediaOverTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, devconnector.Config{})
		status, _, _ := r.fetch("POST", "/relay/media", freshToken(), bytes.Repeat([]byte("x"), 25<<20+1))
		is.New(t).Equal(status, 413)
	})
}
