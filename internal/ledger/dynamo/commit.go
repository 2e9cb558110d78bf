package dynamo

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// A transaction may hold 100 actions and 4 MB. One action is the condition on state; JSON and base64 take the rest of the
// bytes.
const (
	mostWrites = 99
	mostBytes  = 2 << 20
)

// write is one journal write.
type write struct {
	sk    string
	tag   string // unique to it
	input types.TransactWriteItem
	size  int

	refused bool // its own condition has refused it: it is in no further transaction
	found   item // what refused it; nil if that has the write's own tag: then it was made before
}

// group is writes of one caller, of one epoch. They are made in one transaction, without those that their own condition
// refuses; or none of them is made.
type group struct {
	epoch     int64
	writes    []*write
	claims    []*claim // whose writes are among them
	needs     *write   // unless this one of them is made, none is; nil: each is on its own
	void      bool     // that was refused
	size      int
	day       ledger.Day // written to state with them; zero: nothing is
	abandoned bool       // its caller waits no more; guarded by Ledger.mu

	done chan struct{} // closed once err, and what became of each write, are set
	err  error
}

// single is a group of one write.
func single(epoch int64, w *write) *group {
	g := &group{epoch: epoch}
	g.add(w)
	return g
}

// takes reports whether writes may be in the same transaction: there is room, and no other write of their items.
func (g *group) takes(writes ...*write) bool {
	bytes := g.size
	for _, w := range writes {
		bytes += w.size
		if slices.ContainsFunc(g.writes, func(other *write) bool { return other.sk == w.sk }) {
			return false
		}
	}
	return len(g.writes)+len(writes) <= mostWrites && bytes <= mostBytes
}

func (g *group) add(writes ...*write) {
	for _, w := range writes {
		g.writes = append(g.writes, w)
		g.size += w.size
	}
}

// remove takes writes out again that have not been made.
func (g *group) remove(writes ...*write) {
	kept := slices.DeleteFunc(g.writes, func(w *write) bool { return slices.Contains(writes, w) })
	g.writes, g.size = nil, 0
	g.add(kept...)
}

func (g *group) end(err error) {
	g.err = err
	close(g.done)
}

// batch is groups that go into one transaction.
type batch []*group

func (b batch) end(err error) {
	for _, g := range b {
		g.end(err)
	}
}

// writes are those that nothing has refused.
func (b batch) writes() (list []*write) {
	for _, g := range b {
		for _, w := range g.writes {
			if !w.refused && !g.void {
				list = append(list, w)
			}
		}
	}
	return list
}

// without ends the groups that match with err and returns the others.
func (b batch) without(err error, match func(*group) bool) batch {
	return slices.DeleteFunc(b, func(g *group) bool {
		if match(g) {
			g.end(err)
			return true
		}
		return false
	})
}

// commit makes the writes of a group, together with those of other callers that wait. One caller at a time makes a
// transaction: for itself and for as many others as fit.
func (l *lease) commit(ctx context.Context, g *group) error {
	if l.givenBack.Load() {
		return ledger.ErrLost
	}
	if len(g.writes) == 0 && g.day == (ledger.Day{}) {
		return nil
	}
	g.done = make(chan struct{})
	l.mu.Lock()
	l.queue = append(l.queue, g)
	l.mu.Unlock()
	for {
		select {
		case <-g.done:
			return g.err
		case <-ctx.Done():
			l.withdraw(g)
			select {
			case <-g.done: // at the same time
				return g.err
			default:
				return ctx.Err()
			}
		case l.committing <- struct{}{}:
		}
		runtime.Gosched() // callers that the last transaction has let go on may join this one
		if err := l.decide(ctx, g); err != nil {
			l.withdraw(g)
			g.end(err)
		} else {
			l.transact(ctx, g, l.gather(g))
		}
		<-l.committing
	}
}

// withdraw takes a group out of the queue. If a transaction with it is under way, that may still be made.
func (l *Ledger) withdraw(g *group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g.abandoned = true
	l.queue = slices.DeleteFunc(l.queue, func(other *group) bool { return other == g })
}

// requeue puts groups back in front, without the abandoned: their writes would be made after what the caller did next.
func (l *Ledger) requeue(b batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b = slices.DeleteFunc(b, func(g *group) bool { return g.abandoned })
	l.queue = append(b, l.queue...)
}

// gather takes first out of the queue, and what else may go into the same transaction: groups of the same epoch, and no
// two writes of one item; one with a claim to decide waits for its own caller. It is empty if first was made by another caller meanwhile.
func (l *Ledger) gather(first *group) batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.queue, first) {
		return nil
	}
	b := batch{first}
	written, count, size := map[string]bool{}, len(first.writes), first.size
	for _, w := range first.writes {
		written[w.sk] = true
	}
	l.queue = slices.DeleteFunc(l.queue, func(g *group) bool {
		if g == first {
			return true
		}
		if g.epoch != first.epoch || g.undecided() || count+len(g.writes) > mostWrites || size+g.size > mostBytes ||
			slices.ContainsFunc(g.writes, func(w *write) bool { return written[w.sk] }) {
			return false
		}
		for _, w := range g.writes {
			written[w.sk] = true
		}
		count, size = count+len(g.writes), size+g.size
		b = append(b, g)
		return true
	})
	return b
}

// transact makes the writes of a batch, first among them, for first's caller. What is refused is left out, and the others
// are tried again; if a claim is to be decided, all go back into the queue. Once the caller's time is up, the others wait for another caller's transaction.
func (l *Ledger) transact(ctx context.Context, first *group, b batch) {
	for try := 0; ; try++ {
		writes, day := b.writes(), b.day().Later(l.counted)
		counts := day != l.counted
		if len(writes) == 0 && !counts {
			b.end(nil)
			return
		}
		in := l.transaction(b[0].epoch, writes)
		if counts {
			in.TransactItems[0] = l.counting(b[0].epoch, day)
		}
		_, err := l.client.TransactWriteItems(ctx, in)
		canceled, is := errors.AsType[*types.TransactionCanceledException](err)
		switch {
		case err == nil:
			l.counted = day
			b.end(nil)
			return
		case ctx.Err() != nil:
			l.requeue(b.without(ctx.Err(), func(g *group) bool { return g == first }))
			return
		case !is || len(canceled.CancellationReasons) != len(writes)+1:
			b.end(l.failed("writing the journal", err))
			return
		}
		fence, reasons := canceled.CancellationReasons[0], canceled.CancellationReasons[1:]
		if aws.ToString(fence.Code) == conditionFailed {
			b.end(ledger.ErrLost)
			return
		}
		var fewer bool
		b, fewer = b.leaveOut(writes, reasons)
		if slices.ContainsFunc(b, (*group).undecided) {
			l.requeue(b) // what a claim becomes may be in the way of another group
			return
		}
		if fewer {
			continue
		}
		if try >= patience {
			b.end(l.failed("writing the journal", err))
			return
		}
		_ = pause(ctx, try) // if ctx has ended, the next call fails with that
	}
}

const conditionFailed = "ConditionalCheckFailed"

// leaveOut notes why writes of a cancelled transaction were refused, and ends the groups of those that failed for good.
// fewer is false if every reason may pass: another transaction met it, or a throttle.
func (b batch) leaveOut(writes []*write, reasons []types.CancellationReason) (rest batch, fewer bool) {
	for i, w := range writes {
		switch code := aws.ToString(reasons[i].Code); code {
		case conditionFailed:
			w.refused, w.found, fewer = true, unlessTagged(w.tag, reasons[i].Item), true
		case "", "None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded":
		default:
			err := fmt.Errorf("ledger: writing %s: %s: %s", w.sk, code, aws.ToString(reasons[i].Message))
			b = b.without(err, func(g *group) bool { return slices.Contains(g.writes, w) })
			fewer = true
		}
	}
	for _, g := range b {
		g.void = g.void || g.isVoid()
	}
	return b, fewer
}

// isVoid reports whether what a group needs was refused, before its first write was made.
func (g *group) isVoid() bool {
	return g.needs != nil && g.needs.refused && g.needs.found != nil && !g.writes[0].refused
}

// unlessTagged is the item that refused a write; nil if it has the write's tag: then the write had been made, and its
// answer was lost.
func unlessTagged(tag string, found item) item {
	switch {
	case found.text("w") == tag:
		return nil
	case found == nil:
		return item{}
	}
	return found
}

func (l *Ledger) transaction(epoch int64, writes []*write) *dynamodb.TransactWriteItemsInput {
	in := &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{{
		ConditionCheck: &types.ConditionCheck{
			TableName:                 &l.table,
			Key:                       l.key(state),
			ConditionExpression:       aws.String(held),
			ExpressionAttributeNames:  names(held),
			ExpressionAttributeValues: item{":epoch": number(epoch)},
		},
	}}}
	for _, w := range writes {
		in.TransactItems = append(in.TransactItems, w.input)
	}
	return in
}
