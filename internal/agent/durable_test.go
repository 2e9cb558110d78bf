package agent_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
)

// durable returns a lambda: agent that is a durable function, h, behind the real client.
func durable(t *testing.T, h http.HandlerFunc) agent.Agent {
	return lambdaAgent(t, "lambda:jobs:live", h, func(*lambda.Client) agent.Options { return agent.Options{Durable: 3 * time.Hour} })
}

func TestADurableFunctionIsStartedOnceForADelivery(t *testing.T) {
	is := is.New(t)
	started := map[string]string{} // payloads by name, as Lambda keeps them
	executions := 0
	a := durable(t, func(w http.ResponseWriter, r *http.Request) {
		is.Equal(r.URL.Path, "/2015-03-31/functions/jobs:live/invocations")
		is.Equal(r.Header.Get("X-Amz-Invocation-Type"), "Event")
		name := r.Header.Get("X-Amz-Durable-Execution-Name")
		is.True(regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`).MatchString(name))
		body, err := io.ReadAll(r.Body)
		is.NoErr(err)
		before, known := started[name]
		switch {
		case !known:
			started[name] = string(body)
			executions++
		case before != string(body):
			fault(409, "DurableExecutionAlreadyStartedException")(w, r)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
	for attempt := 1; attempt <= 3; attempt++ { // the process has died twice before the announcement was written down
		tn := turn("do it")
		tn.Delivery.Attempt = attempt
		answer, err := a.Answer(t.Context(), tn)
		is.NoErr(err)
		is.Equal(answer.Later, 3*time.Hour)
		is.Equal(len(answer.Actions), 0)
	}
	is.Equal(executions, 1)
	tn := turn("do it")
	is.True(started[tn.Delivery.Key] != "") // the name is the key
	var got agent.Turn
	is.NoErr(json.Unmarshal([]byte(started[tn.Delivery.Key]), &got))
	is.Equal(got.Event.Text, "do it")
	for _, key := range []string{"say:monday@2026-11-30T08:00:00Z", "615cf69d82aba6ca14bf2db7f62304c4/results/1", strings.Repeat("k", 65)} {
		tn.Delivery.Key = key // whatever the key, its name is one
		_, err := a.Answer(t.Context(), tn)
		is.NoErr(err)
	}
	is.Equal(executions, 4)
}

func TestWhatKeepsADurableFunctionFromStarting(t *testing.T) {
	for name, tt := range map[string]struct {
		h    http.HandlerFunc
		want error
	}{
		"throttled":   {fault(429, "TooManyRequestsException"), agent.ErrUnavailable},
		"not allowed": {fault(403, "AccessDeniedException"), agent.ErrUnavailable},
		"not there":   {fault(404, "ResourceNotFoundException"), agent.ErrUnavailable},
		"not durable": {fault(400, "InvalidParameterValueException"), agent.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := durable(t, tt.h).Answer(t.Context(), turn("hi"))
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	is := is.New(t)
	tn := turn(strings.Repeat("x", 1<<20))
	_, err := durable(t, func(http.ResponseWriter, *http.Request) { t.Error("it is asked") }).Answer(t.Context(), tn)
	is.True(errors.Is(err, agent.ErrRefused))
}
