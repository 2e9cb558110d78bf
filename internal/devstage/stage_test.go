package devstage_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/devstage"
	"github.com/dormouse-relay/dormouse/internal/devtable"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestMain(m *testing.M) {
	if file := os.Getenv(agentVariable); file != "" {
		actAsAgent(file)
	}
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second

// start starts a stage whose functions are the built ones, and arms it.
func start(t *testing.T, cfg devstage.Config) *devstage.Stage {
	t.Helper()
	built := rigtest.Bootstraps(t)
	cfg.Wake, cfg.Drain = []string{built.Wake}, []string{built.Drain}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := devstage.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Arm(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// hello is a message of Ann's.
func hello(id, text string) relay.Event {
	return relay.Event{Text: text, MessageType: "text", MessageID: id, Source: relay.Source{
		Platform: "telegram", ChatID: "42", ChatType: "dm", UserID: "42", UserName: "Ann",
	}}
}

// replies waits for n sends at the connector and returns what they said.
func replies(t *testing.T, s *devstage.Stage, n int) (said []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Connector().Wait(ctx, func(state devconnector.State) bool {
		said = nil
		for _, o := range state.Outbounds {
			if o.Op == "send" {
				said = append(said, o.Content)
			}
		}
		return len(said) >= n
	}); err != nil {
		t.Fatal(err, said)
	}
	return said
}

// await waits until ok holds for what has happened.
func await(t *testing.T, s *devstage.Stage, ok func([]devstage.Event) bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		events, changed := s.Log().Since(0)
		if ok(events) {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatal("it did not happen")
		}
	}
}

func TestAMessageIsAnsweredAndAllOfItIsInTheLog(t *testing.T) {
	is := is.New(t)
	s := start(t, devstage.Config{})
	s.Connector().Deliver("", hello("1", "Good morning"))
	is.Equal(replies(t, s, 1), []string{"Good morning"}) // of the echo agent

	exchanges := s.Exchanges("")
	is.Equal(len(exchanges), 1)
	is.Equal(s.Exchanges(exchanges[0].Key)[0].Attempt, 1)
	is.Equal(len(s.Exchanges("another key")), 0)

	await(t, s, func(events []devstage.Event) bool { // it sleeps, frozen
		last := slices.IndexFunc(events, func(e devstage.Event) bool { return e.Exchange != nil && !e.Exchange.Ended.IsZero() })
		return last >= 0 && slices.ContainsFunc(events[last:], func(e devstage.Event) bool {
			return e.Function != nil && e.Function.Function == rig.Drain && e.Function.What == locallambda.EventFrozen
		})
	})
	events, _ := s.Log().Since(0)
	seen := map[string]bool{}
	for i, e := range events {
		is.Equal(e.Seq, i+1)
		switch {
		case e.Observation != nil:
			seen[e.Observation.What] = true
		case e.Function != nil:
			seen[e.Function.Function+" "+e.Function.What] = true
		case e.Line != nil:
			seen["line of "+e.Line.From] = true
		}
	}
	for _, what := range []string{
		devconnector.ObsProvision, devconnector.ObsPoke, devconnector.ObsHello, devconnector.ObsInboundAck, devconnector.ObsOutbound,
		"wake started", "wake invoked", "drain invoked", "drain answered", "line of wake", "line of drain",
	} {
		is.True(seen[what]) // each of them is in the log
	}
	since, _ := s.Log().Since(len(events) - 1)
	is.Equal(len(since), 1)
}

// The ledger is a deployed one's: what was received outlives the stage, and a stop ends what runs.
func TestTheLedgerOutlivesTheStage(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	dir, asked := t.TempDir(), make(chan struct{}, 10)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked <- struct{}{}
		switch {
		case strings.Contains(string(body), `"text":"wait"`):
			<-r.Context().Done()
		case strings.Contains(string(body), `"text":"never"`):
			w.WriteHeader(http.StatusUnprocessableEntity) // dead at once
		}
	}))
	defer agent.Close()
	cfg := devstage.Config{Dir: dir, Agent: devstage.Agent{URL: agent.URL}}
	s := start(t, cfg)
	s.Connector().Deliver("", hello("1", "wait"))
	<-asked
	pending, err := s.Ledger().ListPending(ctx)
	is.NoErr(err)
	is.Equal(len(pending), 1)
	stop := hello("2", "/stop")
	s.Connector().Deliver("", stop)
	s.Connector().Deliver("", hello("3", "never"))
	<-asked
	untilLedger(t, s, func(o ledger.Overview, dead []ledger.Entry) bool { return o.Pending == 0 && len(dead) == 1 })
	is.NoErr(s.Close(ctx))

	s = start(t, cfg)
	dead, err := s.Ledger().ListDead(ctx)
	is.NoErr(err)
	is.Equal(len(dead), 1)
	is.NoErr(s.Ledger().RetryDead(ctx, dead[0].Key, false))
	is.NoErr(s.Host().InvokeEvent(rig.Drain, []byte(`{"reason":"arm"}`)))
	<-asked
	_, err = devstage.Start(ctx, cfg) // a table has one owner
	is.True(errors.Is(err, devtable.ErrInUse))
	is.True(strings.Contains(err.Error(), "--dir"))
	writes, reads := s.Table().Units()
	is.True(writes > 0 && reads > 0)
}

// untilLedger waits until the ledger is as ok says.
func untilLedger(t *testing.T, s *devstage.Stage, ok func(ledger.Overview, []ledger.Entry) bool) {
	t.Helper()
	await(t, s, func([]devstage.Event) bool { // the functions log whatever they write
		o, err := s.Ledger().Overview(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		dead, err := s.Ledger().ListDead(t.Context())
		return err == nil && ok(o, dead)
	})
}

func TestTheScheduleFires(t *testing.T) {
	s := start(t, devstage.Config{Schedule: 50 * time.Millisecond})
	await(t, s, func(events []devstage.Event) bool {
		n := 0
		for _, e := range events {
			if e.Function != nil && e.Function.Function == rig.Drain && e.Function.What == locallambda.EventInvoked {
				n++
			}
		}
		return n >= 3 // the first is arming
	})
}
