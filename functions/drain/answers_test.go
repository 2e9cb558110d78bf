package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/matryer/is"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
)

func TestASignedStreamReachesTheChatAsItComes(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const secret = "whsec_Y2FuYXJ5LW9mLXRoZS1zaWduYXR1cmU="
	verifier, err := standardwebhooks.NewWebhook(secret)
	is.NoErr(err)
	seen := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := verifier.Verify(body, r.Header); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		fmt.Fprintln(w, `{"op":"send","content":"Let me see"}`)
		http.NewResponseController(w).Flush()
		select {
		case <-seen:
		case <-r.Context().Done():
		}
		for i := range 20 { // faster than any platform bears
			fmt.Fprintf(w, "{\"op\":\"edit\",\"content\":\"Let me see %d\"}\n", i)
		}
	}))
	t.Cleanup(server.Close)
	s := deploy(t, setup{canaries: []string{secret}, env: map[string]string{
		"DORMOUSE_AGENT": server.URL, "DORMOUSE_AGENT_SECRET": secret,
	}})
	s.Deliver(gateway, event(0, "m1"))
	wait := s.start("wake")
	s.await(func(st devconnector.State) bool { return len(sends(st)) == 1 }) // the stream is still open
	close(seen)
	out := wait()
	is.Equal(out.Status, drain.Drained)
	is.Equal(out.Dead, 0)
	var edits []string
	for _, o := range s.State().Outbounds {
		if o.Op == "edit" {
			is.Equal(o.Action["message_id"], "m-1")
			edits = append(edits, o.Content)
		}
	}
	is.True(len(edits) < 5)
	is.Equal(edits[len(edits)-1], "Let me see 19")
	is.Equal(s.Buffered(gateway), 0)
}

func TestAnInterruptEndsOneOfTwoRunningTurns(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var mu sync.Mutex
	keys := map[string]string{} // session keys by message id
	running, cancelled, finish := make(chan string, 2), make(chan string, 2), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var turn agent.Turn
		if err := json.NewDecoder(r.Body).Decode(&turn); err != nil {
			t.Error(err)
		}
		id := turn.Event.MessageID
		mu.Lock()
		keys[id] = turn.SessionKey
		mu.Unlock()
		running <- id
		select {
		case <-r.Context().Done():
			cancelled <- id
		case <-finish:
			fmt.Fprintf(w, `{"text":"answer to %s"}`, id)
		}
	}))
	t.Cleanup(server.Close)
	s := deploy(t, setup{env: map[string]string{"DORMOUSE_AGENT": server.URL}})
	wait := s.start("wake")
	s.await(connected)
	s.Deliver(gateway, event(0, "m1"))
	s.Deliver(gateway, event(2, "m2"))
	both := []string{<-running, <-running}
	slices.Sort(both)
	is.Equal(both, []string{"m1", "m2"}) // side by side
	mu.Lock()
	key := keys["m1"]
	mu.Unlock()
	is.Equal(s.Interrupt(key, "discord-chat"), 1)
	is.Equal(<-cancelled, "m1") // its request is cancelled
	close(finish)
	out := wait()
	is.Equal(out.Status, drain.Drained)
	is.Equal(replies(s.State()), []string{"answer to m2"})
	is.Equal(out.Dead, 0)
	is.Equal(len(cancelled), 0)
}

func TestALambdaAgentAnswers(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var mu sync.Mutex
	var paths []string
	lambda := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var turn agent.Turn
		json.NewDecoder(r.Body).Decode(&turn)
		mu.Lock()
		defer mu.Unlock()
		paths = append(paths, r.URL.Path)
		if len(paths) == 1 {
			w.Header().Set("X-Amzn-ErrorType", "TooManyRequestsException")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		fmt.Fprintf(w, `{"text":"answer to %s"}`, turn.Event.MessageID)
	}))
	t.Cleanup(lambda.Close)
	s := deploy(t, setup{env: map[string]string{
		"DORMOUSE_AGENT": "lambda:my-agent", "AWS_ENDPOINT_URL_LAMBDA": lambda.URL,
	}})
	s.Deliver(gateway, event(0, "m1"))
	out := s.run("wake")
	is.Equal(out.Turns, 1) // the throttle was no attempt
	is.Equal(replies(s.State()), []string{"answer to m1"})
	is.Equal(len(slices.Compact(paths)), 1)
	is.Equal(paths[0], "/2015-03-31/functions/my-agent/invocations")
}
