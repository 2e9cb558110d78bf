package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devtable"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// region is where package locallambda runs its functions unless told otherwise.
const region = "us-east-1"

// onTable makes a table and returns the variables that lead a function to it, and the gateway's ledger on it.
func onTable(t *testing.T) (env map[string]string, l *dynamo.Ledger) {
	t.Helper()
	endpoint := os.Getenv("DORMOUSE_TEST_DYNAMODB")
	if endpoint == "" {
		t.Skip("DORMOUSE_TEST_DYNAMODB is not set: make test starts a server for this test")
	}
	return onTableAt(t, endpoint)
}

// onOwnTable is onTable on our own development table, which is quick and needs no server.
func onOwnTable(t *testing.T) (env map[string]string, l *dynamo.Ledger) {
	t.Helper()
	store, err := devtable.Open(filepath.Join(t.TempDir(), "table.db"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(store.Handler())
	t.Cleanup(func() {
		server.Close()
		store.Close()
	})
	return onTableAt(t, server.URL)
}

func onTableAt(t *testing.T, endpoint string) (env map[string]string, l *dynamo.Ledger) {
	t.Helper()
	is := is.New(t)
	is.True(strings.HasPrefix(endpoint, "http://127.0.0.1:")) // no test leaves this machine
	env = map[string]string{
		"DORMOUSE_TABLE":            strings.NewReplacer("/", "-", ",", "").Replace(t.Name()),
		"AWS_ENDPOINT_URL_DYNAMODB": endpoint,
	}
	client := tableClientAt(t, endpoint)
	definition := dynamo.Definition(env["DORMOUSE_TABLE"])
	_, err := client.CreateTable(t.Context(), definition)
	is.NoErr(err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: definition.TableName})
	})
	return env, dynamo.New(client, env["DORMOUSE_TABLE"], gateway)
}

func TestATableOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	env, table := onTable(t)
	var asked atomic.Int64
	first := make(chan struct{}) // the agent was asked
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if asked.Add(1) == 1 {
			close(first)
			<-r.Context().Done() // until the process is killed
			return
		}
		io.WriteString(w, `{"text":"an answer"}`)
	}))
	t.Cleanup(server.Close)
	env["DORMOUSE_AGENT"] = server.URL
	s := deploy(t, setup{env: env})
	s.Deliver(gateway, event(0, "m0"))
	wait := s.start("wake")
	s.await(acked(1)) // before its turn is done
	<-first
	for _, pid := range s.host.PIDs(drainFunction) {
		is.NoErr(syscall.Kill(pid, syscall.SIGKILL))
	}
	is.True(wait().FunctionError != "")

	lapse(t, env["DORMOUSE_TABLE"]) // which the dead process holds
	out := s.run("wake")
	is.Equal(out.Status, drain.Drained)
	is.Equal(out.Recovered, 1)
	state := s.State()
	is.Equal(len(state.Acks), 1)
	is.Equal(len(sends(state)), 1) // answered once
	is.Equal(asked.Load(), int64(2))

	standing, err := table.Standing(t.Context())
	is.NoErr(err)
	is.Equal(standing.Handshaken, gateway)
	g, err := table.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "test", Life: time.Minute}) // it was given back
	is.NoErr(err)
	left, err := ledgertest.Recover(t.Context(), g)
	is.NoErr(err)
	is.Equal(len(left), 0)
}

func TestWhatWasJournalledTenDaysAgoIsAnswered(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	ctx := t.Context()
	env, table := onTable(t)
	table.Now = func() time.Time { return time.Now().Add(-10 * 24 * time.Hour) }
	g, err := table.Acquire(ctx, ledger.Ask{Reason: ledger.Wake, Owner: "died", Life: time.Minute})
	is.NoErr(err)
	var entries []ledger.Entry
	for i, state := range []ledger.State{ledger.Running, ledger.New} {
		e := event(i, fmt.Sprint("m", i))
		body, err := json.Marshal(map[string]any{"event": e, "buffer_id": fmt.Sprint("b", i), "received_at": table.Now()})
		is.NoErr(err)
		key := turn.Key(gateway, relay.Delivery{Kind: relay.KindInbound, Event: &e})
		entries = append(entries, ledger.Entry{Key: key, Seq: int64(i + 1), State: state, Body: body})
	}
	_, err = g.Receive(ctx, entries...)
	is.NoErr(err)

	s := deploy(t, setup{env: env})
	out := s.run("schedule")
	is.Equal(out.Status, drain.Drained)
	is.Equal(out.Recovered, 2)
	list := sends(s.State())
	is.Equal(len(list), 2)
	is.Equal(list[0].Content, event(0, "m0").Text)
	is.Equal(s.run("arm").Recovered, 0)
}

func TestARevocationOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	env, table := onTable(t)
	s := deploy(t, setup{env: env})
	is.Equal(s.run("wake").Status, drain.Empty)
	g, err := table.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "test", Life: time.Minute})
	is.NoErr(err)
	is.NoErr(g.Disable(t.Context(), "4401 unauthorized"))
	_, err = g.HandOff(t.Context(), g.Grant().Plan, false)
	is.NoErr(err)

	other := deploy(t, setup{env: env}) // a cold start
	for _, reason := range []string{"wake", "schedule", "arm", "continue"} {
		is.Equal(other.run(reason).Status, drain.Disabled)
	}
	is.Equal(other.requestCount(), 0) // it neither provisions nor dials
	is.NoErr(table.Enable(t.Context()))
	is.Equal(other.run("wake").Status, drain.Empty)
}
