package main_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
)

func TestTheWholeLoop(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := deploy(t, setup{env: map[string]string{"DORMOUSE_IDLE_AFTER": "2s"}}) // for live messages to come in time
	var ids, texts []string
	for n := range 20 {
		texts = append(texts, fmt.Sprint("m", n))
		ids = append(ids, s.Deliver(gateway, event(n, texts[n])))
	}
	wait := s.start("wake")
	s.await(acked(20))
	for n := range 4 {
		texts = append(texts, fmt.Sprint("live", n))
		is.Equal(s.Deliver(gateway, event(n, texts[20+n])), "") // not buffered
	}
	out := wait()
	is.Equal(out.FunctionError, "")
	is.True(out.Cold)
	is.Equal(out.Status, drain.Drained)
	is.Equal(out.Acked, 20)
	is.Equal(out.Turns, 24)
	is.Equal(out.Outbound, 24)
	is.Equal(out.Unknown+out.Duplicates, 0)

	state := s.State()
	var acks []string
	for _, ack := range state.Acks {
		acks = append(acks, ack.BufferID)
	}
	is.Equal(acks, ids) // in order, each with its own id, and none for a live one
	is.Equal(state.Instance(gateway).Live, 4)
	is.Equal(sorted(replies(state)), sorted(texts)) // each answered once
	is.Equal(replies(state)[:20], texts[:20])
	for _, o := range state.Outbounds { // typing, too
		is.Equal(o.ChatID, o.Platform+"-chat")
		is.Equal(o.BotID, "bot-"+o.Platform)
		is.Equal(o.Metadata["scope_id"], "scope-of-"+o.ChatID)
		is.True(!o.Repeated)
		is.True(o.Result.Success)
	}
	is.Equal(len(state.Idles), 1)
	is.Equal(state.Idles[0].InFlight, 0)
	is.Equal(len(state.Sockets), 1)
	is.Equal(state.Sockets[0].By, "gateway")
	is.Equal(state.Sockets[0].Code, 1000)
	is.True(before(state, devconnector.ObsGoingIdleAck, devconnector.ObsClosed))
	is.Equal(len(state.Provisions), 4) // one for each platform
	pids := s.host.PIDs(drainFunction)

	s.Deliver(gateway, event(0, "again"))
	out = s.run("wake")
	is.True(!out.Cold)
	is.Equal(out.Status, drain.Drained)
	is.Equal(out.Acked, 1)
	state = s.State()
	is.Equal(replies(state)[24:], []string{"again"})
	is.Equal(len(state.Provisions), 4) // the credentials are kept
	is.Equal(len(state.Sockets), 2)
	is.Equal(s.host.PIDs(drainFunction), pids)
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// before says whether both happened, and the first of the one came before the first of the other.
func before(s devconnector.State, one, other string) bool {
	at := func(what string) int {
		return slices.IndexFunc(s.Observations, func(o devconnector.Observation) bool { return o.What == what })
	}
	return at(one) >= 0 && at(one) < at(other)
}

func TestMalformedFramesAreSkipped(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := deploy(t, setup{})
	s.SendGarbage()
	for n := range 4 {
		s.Deliver(gateway, event(n, fmt.Sprint("m", n)))
	}
	is.Equal(s.run("wake").Status, drain.Drained)
	state := s.State()
	is.Equal(replies(state), []string{"m0", "m1", "m2", "m3"})
	is.Equal(len(state.Acks), 4)
	is.Equal(len(state.Sockets), 1)
}

// Package drain has a test to the millisecond.
func TestAnEmptyDrainEndsSoon(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const empty = 500 * time.Millisecond
	s := deploy(t, setup{env: map[string]string{"DORMOUSE_EMPTY_AFTER": empty.String(), "DORMOUSE_IDLE_AFTER": "1h"}})
	out := s.run("wake") // which only DORMOUSE_EMPTY_AFTER ends so soon
	is.Equal(out.Status, drain.Empty)
	is.True(out.Duration >= empty)
	is.True(out.Duration < 20*time.Second) // long before its time is up
}

func TestSteadyTrafficIsLeftInTime(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const timeout = 8 * time.Second
	s := deploy(t, setup{timeout: timeout, env: map[string]string{
		"DORMOUSE_AGENT_TIMEOUT":  "1s",
		"DORMOUSE_HANDOFF_MARGIN": "2s",
		"DORMOUSE_IDLE_AFTER":     "5s",
		"DORMOUSE_EMPTY_AFTER":    "5s",
	}})
	wait := s.start("wake")
	s.await(connected)
	sent := 0
	over := make(chan struct{})
	var traffic sync.WaitGroup
	traffic.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.Deliver(gateway, event(sent, fmt.Sprint("m", sent)))
				sent++
			case <-over:
				return
			}
		}
	})
	out := wait()
	close(over)
	traffic.Wait()
	is.Equal(out.FunctionError, "") // it was not cut off
	is.True(out.Duration < timeout)
	is.True(out.Received > 4)
	is.Equal(out.Unknown+out.Unflipped, 0)
	if out.Status == drain.HandedOff { // a message came between the last turn's start and the flip
		s.await(func(state devconnector.State) bool { return len(replies(state)) == sent })
		return
	}
	is.Equal(out.Status, drain.Drained)
	state := s.State()
	is.Equal(len(state.Idles), 1)
	is.Equal(len(state.Sockets), 1)
	is.Equal(len(replies(state)), out.Received) // all that came is answered
	instance := state.Instance(gateway)
	is.Equal(instance.Dropped, 0)
	is.Equal(out.Received+instance.Buffered, sent) // and the rest is kept for the next run
}
