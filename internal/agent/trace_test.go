package agent_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
)

var traceContext = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-0[01]$`)

func onLambda(t *testing.T, header string) context.Context {
	//lint:ignore SA1029 the key is aws-lambda-go's
	return context.WithValue(t.Context(), "x-amzn-trace-id", header) //nolint:staticcheck // the name is the runtime client's
}

func TestTraceparentIsLambdasWhereThereIsOne(t *testing.T) {
	const key = "615cf69d82aba6ca14bf2db7f62304c4"
	tests := map[string]struct{ header, want string }{
		"sampled": {
			"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:0",
			"00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01",
		},
		"not sampled": {
			"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0",
			"00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-00",
		},
		"undecided":       {"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=?", "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-00"},
		"no parent":       {"Root=1-5759e988-bd862e3fe1be46a994272793", "00-5759e988bd862e3fe1be46a994272793-"},
		"a parent of 0":   {"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=0000000000000000", "00-5759e988bd862e3fe1be46a994272793-"},
		"none":            {"", "00-" + key + "-"},
		"another version": {"Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1", "00-" + key + "-"},
		"no hex":          {"Root=1-5759e988-bd862e3fe1be46a99427279z;Parent=53995c3f42cd8ad8;Sampled=1", "00-" + key + "-"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			got := agent.Traceparent(onLambda(t, tt.header), key)
			is.True(traceContext.MatchString(got))              // is a trace context
			is.True(strings.HasPrefix(got, tt.want))            // is that of the invocation
			is.True(!strings.Contains(got, "0000000000000000")) // has no id of zeros
		})
	}
}

func TestTraceparentIsFreshElsewhere(t *testing.T) {
	is := is.New(t)
	one, other := agent.Traceparent(t.Context(), "live"), agent.Traceparent(t.Context(), "live")
	is.True(traceContext.MatchString(one))
	is.True(one != other)
	key := strings.Repeat("ab", 16)
	first, second := agent.Traceparent(t.Context(), key), agent.Traceparent(t.Context(), key)
	is.Equal(traceContext.FindStringSubmatch(first)[1], key) // attempts of a delivery are in one trace
	is.True(first != second)                                 // and each is a span of its own
	is.True(strings.HasSuffix(first, "-00"))                 // which nobody has sampled
}

func FuzzTraceparent(f *testing.F) {
	f.Add("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1", "k")
	f.Add("root=1-0-0;parent=;=;;", strings.Repeat("0", 32))
	f.Fuzz(func(t *testing.T, header, key string) {
		if got := agent.Traceparent(onLambda(t, header), key); !traceContext.MatchString(got) {
			t.Error(got)
		}
	})
}

func TestTheTraceGoesToURLsAsAHeaderAndToAllInTheTurn(t *testing.T) {
	is := is.New(t)
	const trace = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"
	tn := turn("x")
	tn.Traceparent = trace

	var header string
	var got agent.Turn
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header.Get("traceparent")
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	a, done, err := agent.New(srv.URL, agent.Options{})
	is.NoErr(err)
	defer done()
	_, err = a.Answer(t.Context(), tn)
	is.NoErr(err)
	is.Equal(header, trace)
	is.Equal(got.Traceparent, trace)

	got = agent.Turn{}
	_, err = function(t, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		io.WriteString(w, "{}")
	}).Answer(t.Context(), tn)
	is.NoErr(err)
	is.Equal(got.Traceparent, trace)
}
