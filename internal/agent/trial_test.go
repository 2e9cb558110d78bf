package agent_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestATrialIsATurnThatSaysSo(t *testing.T) {
	is := is.New(t)
	turns := schema(t, "turn.schema.json", "", true)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if err := turns.Validate(value(t, raw)); err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(raw), `"trial":true`) || !strings.Contains(string(raw), `"text":"ping"`) {
			t.Errorf("posted %s", raw)
		}
		if strings.HasSuffix(r.URL.Path, "/stream") {
			w.Header().Set("Content-Type", "application/x-ndjson")
			io.WriteString(w, "{\"text\":\"one\"}\n{\"op\":\"send\",\"content\":\"two\"}\n")
			return
		}
		io.WriteString(w, `{"text":"pong"}`)
	}))
	t.Cleanup(srv.Close)
	for path, want := range map[string]agent.Trialled{"/": {Actions: 1, Said: "pong"}, "/stream": {Actions: 2, Said: "one"}} {
		a, done, err := agent.New(srv.URL+path, agent.Options{})
		is.NoErr(err)
		got, err := agent.Trial(t.Context(), a)
		is.NoErr(err)
		is.True(got.Took > 0)
		got.Took = 0
		is.Equal(got, want)
		done()
	}
}

type failing struct{}

func (failing) Answer(context.Context, agent.Turn) (agent.Answer, error) {
	return agent.Answer{Stream: func(yield func(relay.Action, error) bool) { yield(nil, errors.New("broke")) }}, nil
}

func TestATrialFailsAsItsAgentDoes(t *testing.T) {
	is := is.New(t)
	_, err := agent.Trial(t.Context(), failing{})
	is.True(strings.Contains(err.Error(), "broke"))
}
