package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

var timelineLine = regexp.MustCompile(`^ *(-?\d+)  (connector|wake|drain) +(\S.*)$`)

// acts takes a transcript's timelines apart: for each the lines, "who what", in their order.
func acts(t *testing.T, transcript string) [][]string {
	t.Helper()
	var acts [][]string
	last, inside := 0, false
	for text := range strings.Lines(transcript) {
		match := timelineLine.FindStringSubmatch(strings.TrimSuffix(text, "\n"))
		if match == nil {
			inside = false
			continue
		}
		ms, err := strconv.Atoi(match[1])
		is.New(t).NoErr(err)
		if !inside {
			acts, last, inside = append(acts, nil), ms, true
		}
		if ms < last {
			t.Errorf("out of order: %s", text)
		}
		last = ms
		acts[len(acts)-1] = append(acts[len(acts)-1], match[2]+" "+match[3])
	}
	return acts
}

// inOrder wants lines that begin so, one after another, with others in between.
func inOrder(t *testing.T, lines []string, beginnings ...string) {
	t.Helper()
	for _, beginning := range beginnings {
		at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, beginning) })
		if at < 0 {
			t.Errorf("no %q where it belongs", beginning)
			return
		}
		lines = lines[at+1:]
	}
}

func TestDemoShowsTheWholeLoop(t *testing.T) {
	is := is.New(t)
	t.Setenv(wakeURLVariable, "http://127.0.0.1:1/") // settings of a connector of one's own are not the demonstration's
	code, out, errs := dormouse(t.Context(), "demo", "--functions", functions)
	t.Log(out)
	is.Equal(errs, "")
	is.Equal(code, 0)
	is.True(strings.Count(out, "\n") <= 60)      // one screen
	is.True(!strings.Contains(out, "\x1b"))      // no colours but for a terminal
	is.True(!strings.Contains(out, "/w/"))       // the wake URL is a capability
	tokens := regexp.MustCompile(`[A-Z2-7]{26}`) // the form of the identity token
	is.True(!tokens.MatchString(out))

	acts := acts(t, out)
	is.Equal(len(acts), 2)
	inOrder(t, acts[0], "connector buffers a message", "connector poke", "drain lease", "connector provision: ",
		"drain dial", "connector hello: discord, telegram, slack, whatsapp", "connector reply: ", "connector last of ",
		"drain going idle", "connector going_idle_ack", "drain idle", "connector closed: 1000, by the gateway")
	inOrder(t, acts[0], "connector poke", "wake has invoked drain", "connector answer to the poke: 202")
	inOrder(t, acts[0], "drain dial", "connector typing: Telegram DM, Ada")
	inOrder(t, acts[0], "drain idle", "drain report: drained; received 7, ")
	inOrder(t, acts[1], "connector poke", "drain lease", "drain dial", "connector hello: ", "connector reply: ",
		"connector first ack", "drain going idle", "connector going_idle_ack", "drain idle", "connector closed: 1000")
	for _, line := range acts[1] {
		is.True(!strings.Contains(line, "provision")) // warm
	}
	asleep, again := scripted()
	for i, messages := range [][]message{asleep, again} {
		for _, m := range messages {
			who, text := regexp.QuoteMeta(m.From), regexp.QuoteMeta(m.expectation().Text)
			want := regexp.MustCompile("^connector reply: " + who + " +" + text + "$")
			is.Equal(len(slices.Collect(matching(acts[i], want))), 1) // each message is answered once
		}
	}
}

func matching(lines []string, want *regexp.Regexp) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, line := range lines {
			if want.MatchString(line) && !yield(line) {
				return
			}
		}
	}
}

func TestDemoFailsWithTheReason(t *testing.T) {
	tests := map[string]struct{ setting, want string }{
		"the connector cannot be reached": {"GATEWAY_RELAY_URL=http://127.0.0.1:1", "connection refused"},
		"a message is not answered":       {"DORMOUSE_STOP='/status billing'", "Discord #releases, Grace: answered 0 times"},
		"settings are refused":            {"DORMOUSE_CONCURRENCY=none", "DORMOUSE_CONCURRENCY"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			dir := t.TempDir()
			is.NoErr(os.Symlink(filepath.Join(functions, wakeFunction), filepath.Join(dir, wakeFunction)))
			is.NoErr(os.Mkdir(filepath.Join(dir, drainFunction), 0o700))
			bootstrap := filepath.Join(functions, drainFunction, "bootstrap")
			script := fmt.Sprintf("#!/bin/sh\nexport %s\nexec '%s'\n", tt.setting, bootstrap)
			is.NoErr(os.WriteFile(filepath.Join(dir, drainFunction, "bootstrap"), []byte(script), 0o700))
			code, out, errs := dormouse(t.Context(), "demo", "--functions", dir)
			t.Log(out, errs)
			is.Equal(code, 1)
			is.True(strings.Contains(errs, tt.want))
			is.True(!strings.Contains(out, "All well"))
			is.True(!strings.Contains(errs, "still there")) // and it has cleaned up
		})
	}
}

func TestDemoCleansUpWhenItIsInterrupted(t *testing.T) {
	is := is.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &buffer{grown: func(all string) {
		if strings.Contains(all, "Armed") {
			cancel()
		}
	}}
	var errs bytes.Buffer
	is.Equal(run(ctx, []string{"dormouse", "demo", "--functions", functions}, strings.NewReader(""), out, &errs), 1)
	is.Equal(errs.String(), "dormouse: demo: first poke: interrupted\n") // nothing about a process that is still there
}

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
		{at.Add(12 * time.Millisecond), wakeFunction, "x"},
		{at.Add(time.Second), drainFunction, "y"},
	}
	screen{out: &plain}.show(at, lines)
	screen{out: &colored, color: true}.show(at, lines)
	is.Equal(plain.String(), "     0  connector  poke\n    12  wake       x\n  1000  drain      y\n")
	is.Equal(regexp.MustCompile(`\x1b\[\d+m`).ReplaceAllString(colored.String(), ""), plain.String())
	is.Equal(strings.Count(colored.String(), "\x1b"), 6)
}

// flawless is what comes of the first poke.
func flawless() outcome {
	messages, _ := scripted()
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
	o.after.Instances = []devconnector.Instance{{ID: gatewayID, Flipped: true}}
	o.scene.observations = []devconnector.Observation{
		{What: devconnector.ObsGoingIdleAck, Socket: 1},
		{What: devconnector.ObsClosed, Socket: 1, Code: 1000, By: "gateway"},
	}
	n := len(messages)
	o.scene.logs = []logLine{{Function: drainFunction, Report: &drain.Report{
		Status: drain.Drained, Received: n, Acked: n, Turns: n, Outbound: n,
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
