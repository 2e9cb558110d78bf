package turn_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// The context of an invocation has its trace.
func TestEveryAttemptIsPartOfTheInvocationsTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		var traces []string
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			traces = append(traces, tn.Traceparent)
			if len(traces) == 1 {
				return agent.Answer{}, errors.New("failed")
			}
			return agent.Answer{}, nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		synctest.Wait()
		w.Close()
		//lint:ignore SA1029 the key is aws-lambda-go's
		b.run = context.WithValue(t.Context(), "x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1") //nolint:staticcheck // as Lambda's client names it
		w = b.start()
		defer w.Close()
		synctest.Wait()
		is.Equal(len(traces), 2)
		is.True(strings.HasPrefix(traces[0], "00-") && len(traces[0]) == 55)
		is.Equal(traces[1], "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01")
	})
}
