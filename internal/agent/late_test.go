package agent_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestSigningSecretIsReadWhenATurnComes(t *testing.T) {
	is := is.New(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Webhook-Signature") == "" {
			t.Error("the turn is not signed")
		}
		io.WriteString(w, `{"text":"yes"}`)
	}))
	t.Cleanup(srv.Close)
	down, reads := true, 0
	a, done, err := agent.New(srv.URL, agent.Options{ReadSecret: func(context.Context) (relay.Secret, error) {
		reads++
		if down {
			return relay.Secret{}, errors.New("the store is down")
		}
		return relay.NewSecret("whsec_c2VjcmV0LW9mLXRoZS1hZ2VudA=="), nil
	}})
	is.NoErr(err)
	t.Cleanup(done)
	is.Equal(reads, 0) // a start reads nothing
	_, err = a.Answer(t.Context(), agent.Turn{})
	is.True(errors.Is(err, agent.ErrUnavailable)) // no attempt: the message waits
	down = false
	for range 2 {
		got, err := a.Answer(t.Context(), agent.Turn{})
		is.NoErr(err)
		is.Equal(got.Actions[0]["content"], "yes")
	}
	is.Equal(reads, 2)
}
