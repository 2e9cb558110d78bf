package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/smithy-go/encoding/cbor"
	"github.com/matryer/is"
)

// cloudWatch answers GetMetricData with the sums that it is given, by the metric's name and the value of its dimension.
func cloudWatch(t *testing.T, w http.ResponseWriter, r *http.Request, sums map[string]float64) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	asked, err := cbor.Decode(body)
	if err != nil {
		t.Error(err)
	}
	results := cbor.List{}
	for _, q := range asked.(cbor.Map)["MetricDataQueries"].(cbor.List) {
		query := q.(cbor.Map)
		metric := query["MetricStat"].(cbor.Map)["Metric"].(cbor.Map)
		dimension := metric["Dimensions"].(cbor.List)[0].(cbor.Map)
		name := fmt.Sprint(metric["Namespace"], " ", metric["MetricName"], " ", dimension["Value"])
		values := cbor.List{}
		if n, ok := sums[name]; ok {
			values = cbor.List{cbor.Float64(n)}
		}
		results = append(results, cbor.Map{"Id": query["Id"], "Values": values})
	}
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	w.Header().Set("Content-Type", "application/cbor")
	w.Write(cbor.Encode(cbor.Map{"MetricDataResults": results}))
}

func TestTheLastHourIsJudged(t *testing.T) {
	for name, tt := range map[string]struct {
		sums map[string]float64
		want []string
	}{
		"well":              {nil, []string{"ok    last hour    no error, no throttle, no message lost"}},
		"of another stack":  {map[string]float64{"Dormouse Lost another": 9}, []string{"ok    last hour    no error"}},
		"errors, throttles": {map[string]float64{"AWS/Lambda Errors gw-drain": 3, "AWS/Lambda Throttles gw-wake": 2}, []string{"warn  last hour    gw-drain: 3 Errors", "warn  last hour    gw-wake: 2 Throttles"}},
		"wakes given up":    {map[string]float64{"AWS/Lambda AsyncEventsDropped gw-drain": 1}, []string{"warn  last hour    gw-drain: 1 AsyncEventsDropped"}},
		"messages lost":     {map[string]float64{"Dormouse Lost gw": 12}, []string{"warn  last hour    gw: 12 Lost", "incident 11"}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/operation/GetMetricData"):
					cloudWatch(t, w, r, tt.sums)
				case strings.HasSuffix(r.URL.Path, "/functions/gw-drain/configuration"):
					io.WriteString(w, "{}")
				default:
					w.WriteHeader(http.StatusBadRequest)
				}
			}))
			t.Cleanup(srv.Close)
			noAccount(t, map[string]string{"AWS_ENDPOINT_URL": srv.URL})
			_, out, _ := dormouse(t.Context(), "doctor", "--stack", "gw")
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("want %q:\n%s", want, out)
				}
			}
			if len(tt.sums) == 0 && strings.Count(out, "last hour") != 1 {
				t.Errorf("want one line of the last hour:\n%s", out)
			}
		})
	}
}

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
