package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"
)

// The connector trusts a subject, which is to be drain's role: doctor says whether the token is that role's.
func TestTheSubjectIsComparedWithDrainsRole(t *testing.T) {
	const (
		role     = "arn:aws:iam::123456789012:role/gw-DrainFunctionRole-1"
		issued   = `"issuer":"https://i.tokens.sts.global.api.aws","audience":["https://connector.example"]`
		refused  = `"status":"identity_refused","hinder":"identity_refused","error":"HTTP 401"`
		accepted = `"status":"empty"`
	)
	for name, tt := range map[string]struct {
		auth, subject, report string
		verdict, says         string // empty: there is no such line
	}{
		"the role's":            {"aws", role, accepted, "ok", "is drain's role"},
		"the role's, refused":   {"aws", role, refused, "ok", "is drain's role"},
		"another's, refused":    {"aws", role + "-old", refused, "bad", role + "-old is not drain's role " + role + "\n"},
		"another's, let in":     {"aws", role + "-old", accepted, "warn", "the connector has to trust the subject of the token"},
		"of another issuer":     {"oidc", "client-7", refused, "", ""}, // what it shows is its own
		"a role with a path":    {"aws", "arn:aws:iam::123456789012:role/gw-DrainFunctionRole-1/", refused, "bad", "is not drain's role"},
		"another account, same": {"aws", strings.Replace(role, "1234", "4321", 1), refused, "bad", "is not drain's role"},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/functions/gw-drain/configuration"):
					json.NewEncoder(w).Encode(map[string]any{"Role": role})
				case strings.HasSuffix(r.URL.Path, "/functions/gw-drain/invocations"):
					io.WriteString(w, `{`+tt.report+`,"check":{"version":"1","identity":{"auth":"`+tt.auth+`","subject":"`+tt.subject+`",`+issued+`}}}`)
				default:
					w.WriteHeader(http.StatusBadRequest)
				}
			}))
			t.Cleanup(srv.Close)
			noAccount(t, map[string]string{"AWS_ENDPOINT_URL": srv.URL})
			_, out, _ := dormouse(t.Context(), "doctor", "--stack", "gw")
			_, said, there := strings.Cut(out, fmt.Sprintf("%-5s %-12s ", tt.verdict, "subject"))
			is.Equal(there, tt.verdict != "")
			if !strings.Contains(said, tt.says) {
				t.Errorf("want %q:\n%s", tt.says, out)
			}
		})
	}
}
