package drain

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/turn"
)

// errAccepted ends a run that was invoked with a say which somebody else says, or has said.
var errAccepted = errors.New("drain: the say is kept")

// putSay keeps the say that this run was invoked with. One that a drain has taken before is no more reason for a run than a
// schedule is: if that drain has died, its work waits.
func (r *run) putSay(ctx context.Context) error {
	found, err := r.Ledger.PutSay(ctx, ledger.Say{Key: r.req.Say.Key, Body: r.req.Say.Body})
	if err != nil {
		return err
	}
	r.log.Info(logs.SayKept, logs.KeySay, r.req.Say.Key, logs.KeyState, string(found))
	r.saidBefore = found == ledger.SayTaken
	return nil
}

// inbox has what somebody has put for this gateway to say taken: at the start of a run, and whenever an answer of the ledger
// tells that there is more. One look follows the other, beside everything else. Its lock is held for no call.
type inbox struct {
	log     *slog.Logger
	changed chan struct{} // receives after a look

	looking sync.WaitGroup
	mu      sync.Mutex
	ctx     context.Context // nil: nobody can take anything yet, or any more
	cancel  context.CancelFunc
	lease   ledger.Lease
	worker  *turn.Worker
	looks   bool // a look is under way
	again   bool // and another one is to follow it
}

func newInbox(log *slog.Logger) *inbox {
	return &inbox{log: log, changed: make(chan struct{}, 1)}
}

// open has what is there taken by worker, and from now on what comes.
func (i *inbox) open(ctx context.Context, lease ledger.Lease, worker *turn.Worker, log *slog.Logger) {
	i.mu.Lock()
	i.ctx, i.cancel = context.WithCancel(ctx)
	i.lease, i.worker, i.log = lease, worker, log
	i.mu.Unlock()
	i.look()
}

// close ends a look that is under way. What it has not taken stays in the ledger.
func (i *inbox) close() {
	i.mu.Lock()
	cancel := i.cancel
	i.ctx, i.cancel = nil, nil
	i.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	i.looking.Wait()
}

// look has the inbox looked at. It returns at once.
func (i *inbox) look() {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.ctx == nil:
	case i.looks:
		i.again = true
	default:
		i.looks = true
		ctx := i.ctx
		i.looking.Go(func() { i.take(ctx) })
	}
}

// beat is for a heartbeat: it has told whether there is something.
func (i *inbox) beat() {
	i.mu.Lock()
	lease := i.lease
	i.mu.Unlock()
	if lease != nil && lease.Said() {
		i.look()
	}
}

// busy reports whether a look is under way: what it finds is not with the worker yet.
func (i *inbox) busy() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.looks
}

// take takes what is there until there is no more. What fails is tried again.
func (i *inbox) take(ctx context.Context) {
	pause := time.Second
	for {
		list, err := i.lease.Says(ctx)
		if err == nil {
			err = i.worker.Say(ctx, list)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, ledger.ErrLost) {
			i.log.Warn(logs.InboxUnread, logs.KeyError, err, logs.KeyIn, pause.String())
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, 8*time.Second)
			continue
		}
		i.mu.Lock()
		over := !i.again || err != nil
		i.again, i.looks = false, !over
		i.mu.Unlock()
		if over {
			break
		}
	}
	select {
	case i.changed <- struct{}{}:
	default:
	}
}
