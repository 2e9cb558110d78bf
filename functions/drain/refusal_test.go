package main_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// connectedForLong is for tests in which something else ends the drain.
var connectedForLong = map[string]string{"DORMOUSE_IDLE_AFTER": "1m", "DORMOUSE_EMPTY_AFTER": "1m"}

func TestRevokedAfterAHandshakeStaysOff(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := deploy(t, setup{env: connectedForLong})
	s.Deliver(gateway, event(0, "m1"))
	wait := s.start("wake")
	s.await(acked(1))
	is.NoErr(s.Revoke(gateway))
	out := wait()
	is.Equal(out.FunctionError, "")
	is.Equal(out.Status, drain.Revoked)
	state := s.State()
	is.Equal(len(state.Sockets), 2) // the first, and one with a fresh token
	is.Equal(state.Sockets[1].Code, 4401)
	is.Equal(len(state.Provisions), 4)
	pids := s.host.PIDs(drainFunction)
	requests := s.requestCount()

	for _, reason := range []string{"wake", "schedule", "arm", "continue"} {
		out = s.run(reason)
		is.Equal(out.Status, drain.Disabled)
		is.True(!out.Cold)
	}
	is.Equal(s.requestCount(), requests) // neither provisions nor dials
	is.Equal(s.host.PIDs(drainFunction), pids)
	is.Equal(s.logged(`"level":"ERROR",`+msg(logs.Revoked), `"gateway":"gw-1"`, `4401`), 1) // the template's metric counts it
}

func TestExpiredGoesOn(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := deploy(t, setup{env: map[string]string{"DORMOUSE_IDLE_AFTER": "5s", "DORMOUSE_EMPTY_AFTER": "1m"}})
	s.Deliver(gateway, event(0, "m1"))
	wait := s.start("wake")
	s.await(acked(1))
	is.NoErr(s.Expire(gateway))
	s.await(func(state devconnector.State) bool { return len(state.Sockets) == 2 && connected(state) })
	s.Deliver(gateway, event(0, "m2"))
	out := wait()
	is.Equal(out.FunctionError, "")
	is.Equal(out.Status, drain.Drained)
	state := s.State()
	is.Equal(state.Sockets[0].Code, 4401)
	is.Equal(state.Sockets[0].Reason, "expired")
	is.Equal(replies(state), []string{"m1", "m2"})
	is.Equal(len(state.Sockets), 2)
	is.Equal(len(state.Provisions), 4) // a fresh token, not fresh credentials
	is.Equal(len(state.Idles), 1)
}

func TestRefusedBeforeAHandshakeProvisionsOnceMore(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := deploy(t, setup{})
	is.Equal(s.run("arm").Status, drain.Empty)
	is.NoErr(s.Forget(gateway)) // the secret verifies no more, as after a rotation
	s.Deliver(gateway, event(0, "m1"))
	out := s.run("wake")
	is.True(!out.Cold) // with the old secret in memory
	is.Equal(out.Status, drain.Drained)
	state := s.State()
	is.Equal(replies(state), []string{"m1"})
	is.Equal(len(state.Provisions), 8)
	is.Equal(len(state.Sockets), 3)
	is.Equal(state.Sockets[1].Code, 4401)
}

func TestWithoutAnAckItStaysAndHandsOver(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const timeout = 6 * time.Second
	s := deploy(t, setup{timeout: timeout, env: map[string]string{
		"DORMOUSE_AGENT_TIMEOUT":  "1s",
		"DORMOUSE_HANDOFF_MARGIN": "1s",
	}})
	s.Deliver(gateway, event(0, "m1"))
	s.WithholdIdleAck(1) // it waits 10 s for an ack, so it asks once in a run
	out := s.run("wake")
	is.Equal(out.Status, drain.HandedOff)
	is.Equal(out.Unflipped, 1)
	is.True(out.Duration >= timeout-time.Second) // it does not leave while time is left
	is.True(out.Duration < timeout)
	state := s.State()
	is.Equal(state.Idles[0].Acked, false)
	is.True(state.Sockets[0].At.Before(state.Idles[0].At))

	next := s.awaitEvent() // which it has asked Lambda for
	is.Equal(next.FunctionError, "")
	is.Equal(next.Status, drain.Empty)
	state = s.State()
	is.Equal(replies(state), []string{"m1"})
	is.Equal(len(state.Idles), 2)
	is.True(state.Idles[1].Acked)
	is.Equal(len(state.Sockets), 2)
	is.Equal(s.logged(msg(logs.DrainEnded), `"reason":"continue"`, `"hop":1`), 1)
	is.Equal(len(s.done), 0) // and not on and on
}

func TestSIGTERMSaysGoodbye(t *testing.T) {
	t.Run("while it waits", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		s := deploy(t, setup{env: connectedForLong})
		s.Deliver(gateway, event(0, "m1"))
		wait := s.start("wake")
		s.await(acked(1))
		checkGoodbye(t, s)
		wait()
		is.Equal(s.Buffered(gateway), 0)
	})
	t.Run("while a turn runs", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		asked := make(chan struct{}, 1)
		agent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) // unless it is read, the server does not notice that the client is gone
			asked <- struct{}{}
			<-r.Context().Done()
		}))
		t.Cleanup(agent.Close)
		s := deploy(t, setup{env: map[string]string{"DORMOUSE_AGENT": agent.URL}})
		s.Deliver(gateway, event(0, "m1"))
		wait := s.start("wake")
		select {
		case <-asked:
		case <-time.After(patience):
			t.Fatal("the agent was not asked")
		}
		checkGoodbye(t, s)
		wait()
		is.Equal(s.Buffered(gateway), 1) // the connector keeps what was not answered
	})
}

// checkGoodbye shuts drain down. What the connector then reads was written within 500 ms, as the process has no longer.
func checkGoodbye(t *testing.T, s *stack) {
	t.Helper()
	is := is.New(t)
	is.NoErr(s.host.Shutdown(drainFunction))
	is.Equal(len(s.host.PIDs(drainFunction)), 0)
	state := s.await(func(state devconnector.State) bool { return !state.Sockets[0].Open })
	is.Equal(state.Sockets[0].Code, 1000)
	is.Equal(state.Sockets[0].By, "gateway")
	is.Equal(len(state.Idles), 1)
	is.True(before(state, devconnector.ObsGoingIdle, devconnector.ObsClosed))
	is.True(state.Instance(gateway).Flipped)
	is.Equal(len(state.Sockets), 1)
}
