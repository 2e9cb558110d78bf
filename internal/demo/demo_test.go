package demo

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// The narration compares the demonstration's quiet times with the ordinary ones.
func TestQuietTimesAreShortened(t *testing.T) {
	is := is.New(t)
	ordinary, err := config.Drain(map[string]string{
		"GATEWAY_RELAY_URL": "https://connector.example", "GATEWAY_RELAY_ID": "gw",
	})
	is.NoErr(err)
	is.Equal(ordinary.IdleAfter, 20*time.Second)
	is.Equal(devconnector.Hosted().PokeCooldown, 60*time.Second)
	is.True(shortIdle < ordinary.IdleAfter)
	is.True(shortCooldown < devconnector.Hosted().PokeCooldown)
}

func TestColoursLeaveTheColumnsAligned(t *testing.T) {
	is := is.New(t)
	var plain, colored bytes.Buffer
	at := time.Now()
	lines := []line{
		{at, connectorName, "poke"},
		{at.Add(12 * time.Millisecond), rig.Wake, "x"},
		{at.Add(time.Second), rig.Drain, "y"},
	}
	screen{out: &plain}.show(at, lines)
	screen{out: &colored, color: true}.show(at, lines)
	is.Equal(plain.String(), "     0  connector  poke\n    12  wake       x\n  1000  drain      y\n")
	is.Equal(regexp.MustCompile(`\x1b\[\d+m`).ReplaceAllString(colored.String(), ""), plain.String())
	is.Equal(strings.Count(colored.String(), "\x1b"), 6)
}

// flawless is what comes of the first poke.
func flawless() outcome {
	messages, _ := Script()
	o := outcome{act: act{cold: true, messages: messages}, pid: 1, result: locallambda.Result{Cold: true}}
	for i, m := range messages {
		want := m.expectation().Source
		facts := map[string]any{}
		for name, fact := range map[string]string{
			"scope_id": want.ScopeID, "user_id": want.UserID, "thread_id": want.ThreadID,
		} {
			if fact != "" {
				facts[name] = fact
			}
		}
		reply := devconnector.Outbound{
			Platform: want.Platform, Op: "send", ChatID: want.ChatID, Content: m.expectation().Text, Metadata: facts,
			Result: relay.Result{Success: true},
		}
		typing := reply
		typing.Op, typing.Content = "typing", ""
		o.after.Outbounds = append(o.after.Outbounds, typing, reply)
		o.bufferIDs = append(o.bufferIDs, fmt.Sprint("buf-", i))
		o.after.Acks = append(o.after.Acks, devconnector.Ack{BufferID: fmt.Sprint("buf-", i)})
	}
	for _, platform := range platforms {
		o.after.Provisions = append(o.after.Provisions, devconnector.Provision{Platform: platform, Status: http.StatusOK})
	}
	o.after.Pokes = []devconnector.Poke{{Status: http.StatusAccepted}}
	o.after.Instances = []devconnector.Instance{{ID: Gateway, Flipped: true}}
	o.scene.observations = []devconnector.Observation{
		{What: devconnector.ObsGoingIdleAck, Socket: 1},
		{What: devconnector.ObsClosed, Socket: 1, Code: 1000, By: "gateway"},
	}
	n := len(messages)
	o.scene.logs = []logLine{{Function: rig.Drain, Report: &drain.Report{
		Status: drain.Drained, Received: n, Acked: n, Turns: n, Answered: n, Outbound: n,
	}}}
	return o
}

func TestWhateverIsWrongIsTold(t *testing.T) {
	is := is.New(t)
	right := flawless()
	is.NoErr(right.check())
	tests := map[string]struct {
		spoil func(*outcome)
		want  string
	}{
		"a reply is missing": {
			func(o *outcome) { o.after.Outbounds = o.after.Outbounds[:13] },
			"6 replies to 7 messages",
		},
		"a reply comes twice": {
			func(o *outcome) { o.after.Outbounds = append(o.after.Outbounds, o.after.Outbounds[1]) },
			"answered 2 times",
		},
		"another chat's reply": {
			func(o *outcome) { o.after.Outbounds[1].ChatID = "1" },
			"Telegram DM, Ada: answered 0 times",
		},
		"another platform's reply": {
			func(o *outcome) { o.after.Outbounds[1].Platform = "slack" },
			"Telegram DM, Ada: answered 0 times",
		},
		"a reply was refused": {
			func(o *outcome) { o.after.Outbounds[3].Result = relay.Result{Error: "no"} },
			`"send" was refused`,
		},
		"the scope is lost": {func(o *outcome) { o.spoilFact("scope_id") }, "scope_id is <nil>"},
		"the user is lost":  {func(o *outcome) { o.spoilFact("user_id") }, "user_id is <nil>"},
		"the thread is lost": {
			func(o *outcome) { o.spoilFact("thread_id") },
			"Slack thread in #ops, Margaret: the reply's thread_id",
		},
		"nobody saw typing": {
			func(o *outcome) { o.after.Outbounds[0].Op = "edit" },
			"Ada: the chat was not shown typing",
		},
		"an ack is missing":  {func(o *outcome) { o.after.Acks = o.after.Acks[1:] }, "acked were"},
		"an ack comes twice": {func(o *outcome) { o.after.Acks = append(o.after.Acks, o.after.Acks[6]) }, "acked were"},
		"acks out of order":  {func(o *outcome) { slices.Reverse(o.after.Acks) }, "acked were"},
		"a second poke": {
			func(o *outcome) { o.after.Pokes = append(o.after.Pokes, o.after.Pokes[0]) },
			"2 pokes, want 1",
		},
		"the poke was not taken": {func(o *outcome) { o.after.Pokes[0].Status = 503 }, "answered 503"},
		"a platform is missing":  {func(o *outcome) { o.after.Provisions = o.after.Provisions[1:] }, "provisioned were"},
		"provisioned when warm":  {func(o *outcome) { o.cold, o.result.Cold = false, false }, "provisioned were"},
		"another process":        {func(o *outcome) { o.result.Cold = false }, "process was new: false, want true"},
		"the process is gone":    {func(o *outcome) { o.pid = 0 }, "process is gone"},
		"closed without an ack":  {func(o *outcome) { slices.Reverse(o.scene.observations) }, "without a going_idle_ack"},
		"closed by the other side": {
			func(o *outcome) { o.scene.observations[1].By = "connector" },
			"closed 1000 by the connector",
		},
		"never dialled":     {func(o *outcome) { o.scene.observations = nil }, "has not dialled"},
		"still connected":   {func(o *outcome) { o.after.Instances[0].Connected = true }, "not asleep"},
		"something is left": {func(o *outcome) { o.after.Instances[0].Buffered = 1 }, "1 messages wait"},
		"an ack of nothing": {
			func(o *outcome) { o.scene.observations[0].What = devconnector.ObsAckIgnored },
			"ack_ignored",
		},
		"another report":      {func(o *outcome) { o.scene.logs[0].Report.Unknown = 1 }, `"unknown":1`},
		"the function failed": {func(o *outcome) { o.result.FunctionError = "Unhandled" }, "drain failed"},
		"a breach": {
			func(o *outcome) { o.after.Breaches = []string{"unknown frame type"} },
			"broke the contract: unknown frame type",
		},
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			o := flawless()
			tests[name].spoil(&o)
			err := o.check()
			is.True(err != nil)
			t.Log(err)
			is.True(strings.Contains(err.Error(), tests[name].want))
		})
	}
}

func (o *outcome) spoilFact(name string) {
	for _, action := range o.after.Outbounds {
		delete(action.Metadata, name)
	}
}
