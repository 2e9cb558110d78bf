package turn

import (
	"encoding/json"
	"errors"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// Recover queues what earlier runs left, which is what Journal.Recover returns, in the order it arrived and before anything
// that Take brings. What was running when a process died is a suspect: suspects run first, one at a time, each marked
// before it starts.
func (w *Worker) Recover(entries []ledger.Entry) {
	var suspects []*item
	w.mu.Lock()
	w.room = make(chan struct{}, maxQueued+len(entries))
	for _, e := range entries {
		it := &item{
			key: e.Key, state: e.State, attempts: e.Attempts, actions: e.Actions, done: e.Done, open: e.Open,
			ready: make(chan struct{}),
		}
		if err := json.Unmarshal(e.Body, &it.body); err != nil || it.Event == nil {
			w.cfg.Log.Error("an entry of the journal cannot be read: left there", "delivery", e.Key, "error", err)
			continue
		}
		it.session = it.Event.SessionKey()
		it.recall()
		w.counts.Recovered++
		w.open[it.key] = it
		w.room <- struct{}{}
		if w.isStop(it.Event) { // what it was to stop has been cut short already
			w.wg.Go(func() { w.finish(it) })
			continue
		}
		if !it.whole() && it.state != ledger.New {
			suspects = append(suspects, it)
		} else {
			close(it.ready)
		}
		w.pushLocked(it)
	}
	w.mu.Unlock()
	if len(entries) > 0 {
		w.cfg.Log.Info("taking up what an earlier run left", "messages", len(entries), "suspects", len(suspects))
	}
	w.wg.Go(func() {
		defer close(w.alone)
		for _, it := range suspects {
			w.suspect(it)
			close(it.ready)
		}
	})
}

// suspect gives it one turn with nothing beside it; if that fails, the rest is its session's business.
func (w *Worker) suspect(it *item) {
	if w.overtakes(it) {
		w.conclude(it, errLeft)
		return
	}
	if it.state == ledger.Alone {
		over, err := w.failed(it, errors.New("the process died while this message ran alone"))
		if over {
			w.conclude(it, err)
			return
		}
	}
	w.mu.Lock()
	s := w.sessions[it.session]
	w.mu.Unlock()
	r, over := w.begin(s, it)
	err := w.attempt(r, ledger.Alone)
	over()
	if err != nil && !errors.Is(err, errLeft) {
		over, why := w.failed(it, err)
		if !over {
			return
		}
		err = why
	}
	w.conclude(it, err)
}
