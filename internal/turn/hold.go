package turn

import (
	"context"
	"slices"
	"time"
)

// mostHeld is how many bytes of deliveries may wait that no journal has. Without a table that is all that there is.
func (cfg Config) mostHeld() int {
	if cfg.Journal.Durable() {
		return cfg.Window / 8
	}
	return cfg.Window / 8 * 5
}

// hold waits until there is room for a delivery that no journal has, of so many bytes. One is let in whatever its size.
func (i *intake) hold(r *receipt, bytes int) error {
	for {
		i.mu.Lock()
		if i.held == 0 || i.held+bytes <= i.most {
			i.held += bytes
			i.unkept++
			i.open++
			r.held = bytes
			i.mu.Unlock()
			return nil
		}
		freed := i.freed
		i.mu.Unlock()
		select {
		case <-freed:
		case <-i.run.ctx.Done():
			return context.Cause(i.run.ctx)
		}
	}
}

// letGoLocked is for a delivery that a journal has, or that has ended.
func (i *intake) letGoLocked(r *receipt) {
	if r.held == 0 {
		return
	}
	i.held -= r.held
	if i.unkept--; i.unkept == 0 {
		i.signal()
	}
	r.held = 0
	close(i.freed)
	i.freed = make(chan struct{})
}

// mostLag is how long a live delivery may wait before it is journalled. If the invocation ends before it is, nobody has it.
const mostLag = 5 * time.Second

// lagging tells if a live one of the oldest that are to be journalled has waited too long.
func (i *intake) lagging(list []arrival) {
	at := slices.IndexFunc(list[:min(len(list), journalBatch)], func(a arrival) bool { return a.d.BufferID == "" })
	if at < 0 || list[at].d.ReceivedAt.IsZero() || time.Since(list[at].d.ReceivedAt) < mostLag {
		return
	}
	select {
	case i.lags <- struct{}{}:
	default:
	}
}

// await waits until what was taken is in the journal, or ctx ends, for as long as a write is insisted on.
func (i *intake) await(ctx context.Context) {
	i.mu.Lock()
	writing, written := i.writing, i.written
	i.mu.Unlock()
	if !writing {
		return
	}
	select {
	case <-written:
	case <-time.After(insistence):
	case <-ctx.Done():
	}
}

// busy takes the lock so that what has ended before it returns false has happened before, too.
func (i *intake) busy() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	left, _ := i.schedule.left()
	return i.open > left || i.schedule.readsKeys()
}

func (i *intake) signal() {
	select {
	case i.changed <- struct{}{}:
	default:
	}
}

func (i *intake) fault() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.broken
}

// holding reports whether there are deliveries that no journal has, or not yet.
func (i *intake) holding() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.unkept > 0
}
