package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/demo"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
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
	code, out, errs := dormouse(t.Context(), "demo", "--functions", rigtest.Functions(t))
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
	asleep, again := demo.Script()
	for i, messages := range [][]demo.Message{asleep, again} {
		for _, m := range messages {
			who, text := regexp.QuoteMeta(m.From), regexp.QuoteMeta(m.Text())
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
	t.Parallel()
	tests := map[string]struct{ setting, want string }{
		"the connector cannot be reached": {"GATEWAY_RELAY_URL=http://127.0.0.1:1", "connection refused"},
		"a message is not answered":       {"DORMOUSE_STOP=/status", "Discord #releases, Grace: answered 0 times"},
		"settings are refused":            {"DORMOUSE_CONCURRENCY=none", "DORMOUSE_CONCURRENCY"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			dir := t.TempDir()
			is.NoErr(os.Symlink(filepath.Join(rigtest.Functions(t), rig.Wake), filepath.Join(dir, rig.Wake)))
			is.NoErr(os.Mkdir(filepath.Join(dir, rig.Drain), 0o700))
			bootstrap := filepath.Join(rigtest.Functions(t), rig.Drain, "bootstrap")
			script := fmt.Sprintf("#!/bin/sh\nexport %s\nexec '%s'\n", tt.setting, bootstrap)
			rigtest.Script(t, filepath.Join(dir, rig.Drain, "bootstrap"), script)
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
	t.Parallel()
	is := is.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &buffer{grown: func(all string) {
		if strings.Contains(all, "Armed") {
			cancel()
		}
	}}
	var errs bytes.Buffer
	is.Equal(run(ctx, []string{"dormouse", "demo", "--functions", rigtest.Functions(t)}, strings.NewReader(""), out, &errs), 1)
	is.Equal(errs.String(), "dormouse: demo: first poke: interrupted\n") // nothing about a process that is still there
}
