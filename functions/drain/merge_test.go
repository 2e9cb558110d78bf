package main_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
)

// startsSet is what the write that starts the turn of several messages has in it.
const startsSet = "#leader = :leader"

// lines has so many messages of one session, m0 and so on, come while the gateway sleeps.
func (r *crashRig) lines(n int) {
	for i := range n {
		r.Deliver(gateway, event(0, fmt.Sprint("m", i)))
	}
}

// atOnce is a connector that hands out all that it has buffered, whatever the machine is busy with.
func atOnce(p *devconnector.Preset) { p.Window, p.WindowPerChat = 0, false }

func TestFiveLinesBufferedWhileAsleepAreOneTurn(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	rig := newCrashRig(t, nil, atOnce)
	rig.lines(5)
	out := rig.run("wake")
	is.Equal(out.Status, drain.Drained)
	is.Equal(out.Turns, 1)
	is.Equal(replies(rig.State()), []string{"answer to m4"})
	is.Equal(len(rig.State().Acks), 5)
	is.Equal(rig.times("m4"), 1)
	rig.checkRest(t)
}

func TestASetThatIsKilledAtAnyStepIsAnsweredOnce(t *testing.T) {
	each := []string{"answer to m0", "answer to m1", "answer to m2", "answer to m3", "answer to m4"}
	all := []string{"answer to m4"}
	tests := map[string]struct {
		write   string // the write at which drain dies
		applied bool   // it dies when the write is made; else the table never sees it
		asked   int    // how often the agent is asked about the last message, and about the others
		others  int
		want    []string
	}{
		"before it is a set":         {startsSet, false, 1, 0, all},
		"before the agent is asked":  {startsSet, true, 1, 1, each}, // nobody knows that it was not
		"before the answer is kept":  {keeps, false, 2, 1, each},
		"before the answer is sent":  {keeps, true, 1, 0, all},
		"before all are finished":    {finishes, false, 1, 0, append(all, all...)}, // once more, under the same request id
		"after all were finished":    {finishes, true, 1, 0, all},
		"before the set is parted":   {"#single", false, 2, 1, each},
		"after the set was parted":   {"#single", true, 2, 1, each},
		"before one is tried alone":  {`"S":"alone"`, false, 2, 1, each},
		"after one has been started": {`"S":"alone"`, true, 2, 1, each},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			rig := newCrashRig(t, nil, atOnce)
			var once, first atomic.Bool
			parts := strings.Contains(tt.write, "single") || strings.Contains(tt.write, "alone")
			die := func(write string, applied bool) {
				if parts && strings.Contains(write, keeps) && !strings.Contains(write, "#single") && first.CompareAndSwap(false, true) {
					rig.killed() // a death before the answer is kept, which is what parts a set
				}
				if applied == tt.applied && strings.Contains(write, tt.write) && once.CompareAndSwap(false, true) {
					rig.killed()
				}
			}
			rig.proxy.on(func(write string) { die(write, false) }, func(write string) { die(write, true) })
			rig.lines(5)
			deaths := 0
			for out := rig.start("wake")(); out.FunctionError != ""; out = rig.next() {
				deaths++
				is.True(deaths < 4)
			}
			is.True(once.Load())
			list := sends(rig.State())
			var got []string
			for _, send := range list {
				got = append(got, send.Content)
			}
			is.Equal(got, tt.want)
			if name == "before all are finished" {
				is.Equal(list[0].RequestID, list[1].RequestID)
			}
			is.Equal(rig.times("m4"), tt.asked)
			for i := range 4 {
				is.True(rig.times(fmt.Sprint("m", i)) <= tt.others+1) // a death alone is an attempt of its own
				is.True(rig.times(fmt.Sprint("m", i)) >= tt.others)
			}
			is.Equal(len(rig.State().Acks), 5)
			rig.checkRest(t)
		})
	}
}

func TestOneOfFiveThatKillsTheProcessIsDeadAlone(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	rig := newCrashRig(t, map[string]string{"DORMOUSE_APOLOGY": "off"}, atOnce)
	var turns atomic.Int64
	rig.answer = func(_ *http.Request, id string) {
		if turns.Add(1) == 1 || id == "m2" { // the turn of all five has m2 in it
			rig.killed()
		}
	}
	rig.lines(5)
	deaths := 0
	out := rig.start("wake")()
	for ; out.FunctionError != ""; out = rig.next() {
		deaths++
		is.True(deaths <= 4)
	}
	is.Equal(deaths, 1+3) // once with the others, and three times alone
	is.Equal(out.Dead, 1)
	is.Equal(replies(rig.State()), []string{"answer to m0", "answer to m1", "answer to m3", "answer to m4"})
	dead, err := rig.table.ListDead(t.Context())
	is.NoErr(err)
	is.Equal(len(dead), 1)
	is.Equal(dead[0].Attempts, 3)
	rig.checkRest(t)
}

// leaveSets has the drain die with sets: one that runs, one whose answer is kept, one that waits for the agent.
func (w *work) leaveSets() {
	w.t.Helper()
	is := is.New(w.t)
	w.leaves = true
	w.LeaveUnanswered("react", -1)
	for _, chat := range []string{"kept", "away", "run"} {
		for n := range 3 {
			w.Deliver(gateway, message(fmt.Sprint(chat, "-", n), chat, fmt.Sprint(eventText, " ", n)))
		}
	}
	wait := w.start("wake")
	w.until(func() bool {
		waits := 0
		for _, it := range w.items() {
			if _, is := it["tries"].(*types.AttributeValueMemberN); is {
				waits++
			}
		}
		return len(w.turns("run-2")) == 1 && waits == 3 && w.halted("kept") && len(w.State().Acks) == 9
	})
	is.NoErr(w.host.Kill(drainFunction))
	is.True(wait().FunctionError != "")
	w.LeaveUnanswered("react", 0)
	w.leaves = false
	is.Equal(len(w.turns("run-2")[0].Events), 3)
}

// setsAreTakenUp looks at what becomes of what leaveSets has left. together says that what waits stays together.
func (w *work) setsAreTakenUp(together bool) {
	w.t.Helper()
	is := is.New(w.t)
	sent := w.takenUp()
	is.Equal(sent["run"], []string{"answer to run-0", "answer to run-1", "answer to run-2"}) // one by one, as their process died
	is.Equal(sent["kept"], []string{"answer to kept-2"})                                     // the answer that was there
	is.Equal(len(w.turns("kept-0"))+len(w.turns("kept-1"))+len(w.turns("kept-2")), 1)
	if together {
		is.Equal(sent["away"], []string{"answer to away-2"})
	} else {
		is.Equal(sent["away"], []string{"answer to away-0", "answer to away-1", "answer to away-2"})
	}
	is.Equal(w.Buffered(gateway), 0)
}

func TestSetsOverDeathsAndVersions(t *testing.T) {
	t.Run("the same version goes on", func(t *testing.T) {
		t.Parallel()
		w := newWork(t)
		w.env["DORMOUSE_MERGE"], w.atOnce = "on", true
		w.deploy("")
		w.leaveSets()
		w.deploy("")
		w.setsAreTakenUp(true)
	})
	for _, version := range versionsAgo {
		t.Run(version+" goes on", func(t *testing.T) {
			t.Parallel()
			w, old := newWork(t), builtOf(t, version)
			w.env["DORMOUSE_MERGE"], w.atOnce = "on", true
			w.deploy("")
			w.leaveSets()
			w.deploy(old)
			w.setsAreTakenUp(false)
		})
		t.Run(version+" dies, too", func(t *testing.T) {
			t.Parallel()
			testSetsThatADeathOfTheVersionBeforeParts(t, version)
		})
	}
}

func testSetsThatADeathOfTheVersionBeforeParts(t *testing.T, version string) {
	is := is.New(t)
	w, old := newWork(t), builtOf(t, version)
	w.env["DORMOUSE_MERGE"], w.atOnce = "on", true
	w.deploy("")
	w.leaveSets()
	w.deploy(old)
	w.leaves = true
	lapse(t, w.env["DORMOUSE_TABLE"])
	wait := w.start("wake")
	w.until(func() bool { return len(w.turns("run-0")) > 0 })
	w.until(func() bool { return len(w.turns("run-2")) > 1 }) // it hangs once more, alone
	is.NoErr(w.host.Kill(drainFunction))
	is.True(wait().FunctionError != "")
	w.leaves = false
	w.deploy("")
	lapse(t, w.env["DORMOUSE_TABLE"])
	w.run("wake")
	w.until(func() bool {
		if w.open() > 0 {
			w.run("arm")
		}
		return w.open() == 0
	})
	seen := map[string]int{}
	for _, o := range sends(w.State()) {
		seen[o.Content]++
	}
	for _, content := range []string{"answer to run-0", "answer to run-1", "answer to run-2", "answer to kept-2"} {
		is.Equal(seen[content], 1)
	}
	is.Equal(len(w.turns("kept-0"))+len(w.turns("kept-1"))+len(w.turns("kept-2")), 1)
}
