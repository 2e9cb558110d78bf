package turn_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// under starts a worker for a benchmark, over a link that do answers.
func under(b *testing.B, a agent.Agent, side int, do func(relay.Outbound)) *turn.Worker {
	b.Helper()
	memory := ledger.NewMemory()
	g, err := memory.Acquire(b.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "run", Life: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	w := turn.New(b.Context(), turn.Config{
		Journal: memory, Prompts: memory, Epoch: g.Epoch, Agent: a, Log: slog.New(slog.DiscardHandler), Instance: "inst",
		Link: &wire{do: func(_ context.Context, out relay.Outbound) (relay.Result, error) {
			do(out)
			return relay.Result{Success: true, MessageID: "m"}, nil
		}},
		Concurrency: side, MaxAttempts: 3, AgentTimeout: time.Minute,
	})
	if err := w.Recover(); err != nil {
		b.Fatal(err)
	}
	return w
}

// BenchmarkFirstLine is from an HTTP agent's write of its first line to the action's way out. The bar is 20 ms.
func BenchmarkFirstLine(b *testing.B) {
	left, end := make(chan time.Time, 1), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		left <- time.Now()
		fmt.Fprintln(w, `{"text":"one"}`)
		http.NewResponseController(w).Flush()
		<-end
	}))
	defer srv.Close()
	a, done, err := agent.New(srv.URL, agent.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer done()
	out := make(chan time.Time, 1)
	w := under(b, a, 8, func(relay.Outbound) { out <- time.Now() })
	defer w.Close()
	var worst, all time.Duration
	n := 0
	for b.Loop() {
		n++
		if err := w.Take(message("c1", fmt.Sprint("m", n), "x")); err != nil {
			b.Fatal(err)
		}
		start := <-left
		took := (<-out).Sub(start)
		all, worst = all+took, max(worst, took)
		end <- struct{}{}
		idle(w)
	}
	b.ReportMetric(float64(all.Microseconds())/1000/float64(n), "ms/line")
	b.ReportMetric(float64(worst.Microseconds())/1000, "ms/worst")
}

// BenchmarkSideBySide is 200 sessions of 5 messages, 16 at a time, with an agent that takes 100 ms. The bar is 1.15 of
// the ideal time.
func BenchmarkSideBySide(b *testing.B) {
	const sessions, each, side, takes = 200, 5, 16, 100 * time.Millisecond
	a := agentFunc(func(ctx context.Context, t agent.Turn) (agent.Answer, error) {
		time.Sleep(takes)
		return agent.Echo{}.Answer(ctx, t)
	})
	ideal := (sessions*each + side - 1) / side * takes
	var took time.Duration
	n := 0
	for b.Loop() {
		n++
		w := under(b, a, side, func(relay.Outbound) {})
		start := time.Now()
		for i := range each {
			for s := range sessions {
				if err := w.Take(message(fmt.Sprint("c", s), fmt.Sprint("m", i), "x")); err != nil {
					b.Fatal(err)
				}
			}
		}
		idle(w)
		took += time.Since(start)
		w.Close()
	}
	b.ReportMetric(float64(took)/float64(n)/float64(ideal), "x-ideal")
}
