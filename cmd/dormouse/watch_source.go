package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/dormouse-relay/dormouse/internal/devstage"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/page"
)

const (
	watchEvery  = 5 * time.Second // from one look into log and table to the next
	chartEvery  = 5 * time.Minute
	watchTime   = 20 * time.Second // for one look
	firstTime   = 3 * time.Minute  // for the first, which may be a day's log
	mostKept    = 200              // messages whose events are read at one look
	rememberFor = time.Hour        // ids of log events, so that none is told twice
)

// watcher tells a page what a deployed gateway does.
type watcher struct {
	deployed
	book  ledger.Operator
	log   *reader
	model *page.Model
	errs  io.Writer
	look  chan struct{} // somebody has changed something

	shown  map[string]time.Time // ids of the log events that were told, with their times
	kept   map[string]string    // states of the messages whose events were told, by key
	charts time.Time            // when they were read
	said   string               // the last fault that was printed

	noCharts error // why there are none
}

// run tells what there is until ctx ends. What cannot be read is said once, and tried again.
func (w *watcher) run(ctx context.Context, from time.Time) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	patience := firstTime
	w.settings(ctx)
	for {
		began := time.Now()
		looking, cancel := context.WithTimeout(ctx, patience)
		err := w.tellLog(looking, from)
		w.tellBooks(looking)
		if time.Since(w.charts) > chartEvery {
			w.charts = began
			w.tellCharts(looking)
		}
		cancel()
		if err == nil {
			from, patience = began.Add(-settle), watchTime
		}
		w.complain(ctx, errors.Join(err, w.noCharts))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-w.look:
		}
	}
}

// complain says what cannot be read, on the page and once in the terminal.
func (w *watcher) complain(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == w.said {
		return
	}
	if w.said = text; text != "" {
		fmt.Fprintln(w.errs, text)
	}
	w.model.SetAbout(func(a *page.About) { a.Trouble = text })
}

// tellLog tells what was logged since a time, in the order of time, but for what was told before.
func (w *watcher) tellLog(ctx context.Context, from time.Time) error {
	lines, err := w.log.lines(ctx, from, "", "")
	if err != nil {
		return err
	}
	slices.SortStableFunc(lines, func(a, b logged) int { return a.at.Compare(b.at) })
	for _, l := range lines {
		if _, told := w.shown[l.id]; told {
			continue
		}
		w.shown[l.id] = l.at
		if e, ok := platformEvent(l); ok {
			w.model.Function(e)
			continue
		}
		if l.field("type") == "" { // Lambda's own others are of no interest
			w.model.Log(page.ReadLog(l.function, l.text, l.at))
		}
	}
	maps.DeleteFunc(w.shown, func(_ string, at time.Time) bool { return at.Before(from.Add(-rememberFor)) })
	return nil
}

// platformEvent is what Lambda itself logs of an invocation: its start, and its report, by which it is billed.
func platformEvent(l logged) (e locallambda.Event, ok bool) {
	var line struct {
		Type   string `json:"type"`
		Record struct {
			RequestID string `json:"requestId"`
			Status    string `json:"status"`
			Metrics   struct {
				DurationMS float64 `json:"durationMs"`
				InitMS     float64 `json:"initDurationMs"`
				MemoryMB   int     `json:"memorySizeMB"`
			} `json:"metrics"`
		} `json:"record"`
		Time time.Time `json:"time"`
	}
	if json.Unmarshal([]byte(l.text), &line) != nil || line.Record.RequestID == "" {
		return e, false
	}
	e = locallambda.Event{At: l.at, Function: l.function, RequestID: line.Record.RequestID}
	if !line.Time.IsZero() {
		e.At = line.Time
	}
	switch line.Type {
	case "platform.start":
		e.What = locallambda.EventInvoked
	case "platform.report":
		ms := func(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }
		e.What = locallambda.EventAnswered
		e.Result = &locallambda.Result{
			RequestID: e.RequestID, Cold: line.Record.Metrics.InitMS > 0, InitDuration: ms(line.Record.Metrics.InitMS),
			Duration: ms(line.Record.Metrics.DurationMS), Began: e.At.Add(-ms(line.Record.Metrics.DurationMS)),
			Memory: line.Record.Metrics.MemoryMB,
		}
		if status := line.Record.Status; status != "" && status != "success" {
			e.Result.FunctionError = "Unhandled"
			e.Result.Payload, _ = json.Marshal(map[string]string{"errorType": "Lambda", "errorMessage": status})
		}
	default:
		return e, false
	}
	return e, true
}

// tellBooks tells what the table has, and the events of messages that wait or are dead.
func (w *watcher) tellBooks(ctx context.Context) {
	began := time.Now()
	books, err := page.ReadBooks(ctx, w.book)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		w.tellKept(ctx, books)
	}
	w.model.SetBooks(books, err, began)
}

func (w *watcher) tellKept(ctx context.Context, books page.Books) {
	read := 0
	tell := func(key, state string, show func(context.Context, string) (ledger.Entry, error)) {
		if w.kept[key] == state || read == mostKept {
			return
		}
		read++
		if e, err := show(ctx, key); err == nil { // else it has ended meanwhile, or the next look finds it
			w.kept[key] = state
			w.model.Kept(e)
		}
	}
	for _, m := range books.Dead {
		tell(m.Key, "dead", w.book.ShowDead)
	}
	for _, m := range books.Waiting {
		if m.Next > 0 {
			tell(m.Key, "waiting", w.book.ShowPending)
		}
	}
}

// settings tells those in force, with secrets redacted. What the stack does not set is at its default.
func (w *watcher) settings(ctx context.Context) {
	found, err := lookUp(ctx, lambda.NewFromConfig(w.cloud), w.function)
	if err != nil || found.Environment == nil {
		return
	}
	given := map[string]devstage.Given{}
	for name, value := range found.Environment.Variables {
		given[name] = devstage.Given{Value: value, Source: "the stack"}
	}
	var list []page.Setting
	for _, s := range devstage.InForce(given) {
		list = append(list, page.Setting{Name: s.Name, Value: s.Value, Source: s.Source})
		if s.Name == "DORMOUSE_AGENT" {
			w.model.SetAbout(func(a *page.About) { a.AgentState = s.Value })
		}
	}
	w.model.SetSettings(list)
}
