package drain

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// owner names this run for people: which function, why and since when.
func (r *run) owner() string {
	return fmt.Sprintf("%s, for %s, since %s, run %s", cmp.Or(r.settings.FunctionName, "a drain"), r.req.Reason,
		r.figures.start.UTC().Format(time.RFC3339), rand.Text()[:8])
}

func (d *Drainer) wasRefused() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refused
}

func (d *Drainer) noteRefused(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused = errors.Is(err, ledger.ErrNotDue) || errors.Is(err, ledger.ErrTaken) || errors.Is(err, ledger.ErrDisabled)
}

func (r *run) takeLease(ctx context.Context) error {
	asked := r.now()
	reason := r.req.Reason
	if r.saidBefore {
		reason = ledger.Schedule
	}
	lease, err := r.Ledger.Acquire(ctx, ledger.Ask{Reason: reason, Owner: r.owner(), Life: r.settings.Lease})
	r.noteRefused(err)
	switch {
	case r.req.Reason == ledger.Speak && (errors.Is(err, ledger.ErrTaken) || errors.Is(err, ledger.ErrNotDue)):
		return fmt.Errorf("%w: %w", errAccepted, err)
	case err != nil:
		return err
	}
	r.lease = lease
	r.handshaken = lease.Grant().Standing.Handshaken
	r.figures.stamp(&r.figures.MS.Lease)
	r.log = r.log.With(logs.KeyEpoch, lease.Grant().Epoch)
	if !r.req.At.IsZero() {
		r.log.Info(logs.Woken, logs.KeyPokeMS, r.figures.start.Sub(r.req.At).Milliseconds())
	}
	r.log.Info(logs.Lease)
	r.heart = &heart{lease: lease, life: r.settings.Lease, now: r.now, log: r.log, good: asked, after: r.inbox.beat}
	r.link.guard = r.heart.check
	r.link.onAck = r.figures.acked
	r.link.onResult = func() { r.figures.stamp(&r.figures.MS.FirstReply) }
	r.link.onTyping = func() { r.figures.stamp(&r.figures.MS.FirstTyping) }
	return nil
}
