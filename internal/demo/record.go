package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/rig"
)

// logLine is a line of a function's log.
type logLine struct {
	Function string
	At       time.Time     `json:"timestamp"`
	Level    slog.Level    `json:"level"`
	Msg      string        `json:"message"`
	Error    string        `json:"error"`
	Report   *drain.Report `json:"report"`
}

// scene is what has happened since the one before.
type scene struct {
	observations []devconnector.Observation
	logs         []logLine
	results      []locallambda.Result // of drain, for pokes
}

// count says how often the connector told of something.
func (s *scene) count(what string) (n int) {
	for _, o := range s.observations {
		if o.What == what {
			n++
		}
	}
	return n
}

// wakes says how often wake has started a drain.
func (s *scene) wakes() (n int) {
	for _, l := range s.logs {
		if l.Function == rig.Wake && l.Msg == logs.Poke {
			n++
		}
	}
	return n
}

// report is that of the drain that has ended, nil before.
func (s *scene) report() *drain.Report {
	for _, l := range s.logs {
		if l.Function == rig.Drain && l.Report != nil {
			return l.Report
		}
	}
	return nil
}

// record collects what the processes say. In the demonstration nothing may go wrong, so the first fault ends it.
type record struct {
	fail context.CancelCauseFunc
	warn func(text string) // if set, gets the warnings of a function's log, which then are no faults

	mu      sync.Mutex
	scene   scene
	changed chan struct{}
}

func newRecord(fail context.CancelCauseFunc) *record {
	return &record{fail: fail, changed: make(chan struct{})}
}

func (r *record) add(change func(*scene)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.scene)
	close(r.changed)
	r.changed = make(chan struct{})
}

// observe takes a line of the connector's output.
func (r *record) observe(line []byte) {
	var o devconnector.Observation
	if err := json.Unmarshal(line, &o); err != nil {
		r.fail(fmt.Errorf("the connector printed what is no JSON line: %.200q", line))
		return
	}
	r.add(func(s *scene) { s.observations = append(s.observations, o) })
}

// log takes a line of a function's output. A line that is no log line is a fault. So is a warning, unless warn is set.
func (r *record) log(function, text string) {
	line := logLine{Function: function}
	if err := json.Unmarshal([]byte(text), &line); err != nil {
		r.fail(fmt.Errorf("%s printed: %s", function, text))
		return
	}
	if line.Level >= slog.LevelWarn {
		text := function + ": " + strings.Join(nonEmpty([]string{line.Msg, line.Error}), ": ")
		if r.warn != nil {
			r.warn(text)
		} else {
			r.fail(errors.New(text))
		}
	}
	r.add(func(s *scene) { s.logs = append(s.logs, line) })
}

// done takes the result of an invocation that wake asked for.
func (r *record) done(function string, result locallambda.Result) {
	if result.FunctionError != "" {
		r.fail(fmt.Errorf("%s failed: %s", function, result.Payload))
	}
	r.add(func(s *scene) { s.results = append(s.results, result) })
}

// change is closed at the next thing that happens.
func (r *record) change() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// await returns once ok holds for what has happened, or ctx has ended.
func (r *record) await(ctx context.Context, ok func(*scene) bool) error {
	for {
		r.mu.Lock()
		yes, changed := ok(&r.scene), r.changed
		r.mu.Unlock()
		if yes {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// cut returns what has happened and begins a new scene.
func (r *record) cut() scene {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.scene
	r.scene = scene{}
	return s
}

func nonEmpty(words []string) []string {
	return slices.DeleteFunc(words, func(word string) bool { return word == "" })
}

// because returns why ctx ended, if it did, as err is then only a consequence; else err.
func because(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case err == nil || cause == nil:
		return err
	case errors.Is(cause, context.Canceled):
		return errors.New("interrupted")
	}
	return cause
}
