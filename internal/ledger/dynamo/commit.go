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

// What a transaction may hold is 100 actions and 4 MB; one is the condition, and JSON and base64 want room.
const (
	mostWrites = 99
	mostBytes  = 2 << 20
)

// write is a journal write on its way.
type write struct {
	sk    string
	mark  string
	input types.TransactWriteItem
	size  int

	over    bool // its own condition has refused it
	refused item // what was found then; nil if that holds the write's own mark
}

// group is writes of one epoch that are made in one transaction, those that their own condition refuses left out, or not
// at all.
type group struct {
	epoch  int64
	writes []*write
	size   int
	gone   bool // nobody waits for it any more; guarded by Ledger.mu

	done chan struct{} // closed once err, and refused of each write, are set
	err  error
}

func alone(epoch int64, w *write) *group {
	g := &group{epoch: epoch}
	g.add(w)
	return g
}

// takes says whether w may be in the same transaction: there is room, and no other write of its item.
func (g *group) takes(w *write) bool {
	return len(g.writes) < mostWrites && g.size+w.size <= mostBytes &&
		!slices.ContainsFunc(g.writes, func(other *write) bool { return other.sk == w.sk })
}

func (g *group) add(w *write) {
	g.writes = append(g.writes, w)
	g.size += w.size
}

func settle(groups []*group, err error) {
	for _, g := range groups {
		g.err = err
		close(g.done)
	}
}

// commit makes the writes of a group under its epoch, together with those of other callers that wait for the same.
func (l *lease) commit(ctx context.Context, g *group) error {
	if l.givenBack.Load() {
		return ledger.ErrLost
	}
	if len(g.writes) == 0 {
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
		case l.turn <- struct{}{}:
		}
		runtime.Gosched() // those whom the last transaction has let go on may join this one
		l.transact(ctx, g, l.batch(g))
		<-l.turn
	}
}

// withdraw takes a group out of the queue; in a transaction that is under way it may still be made.
func (l *Ledger) withdraw(g *group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g.gone = true
	l.queue = slices.DeleteFunc(l.queue, func(other *group) bool { return other == g })
}

// requeue puts groups back in front. One whose caller has gone would be made behind what he did next.
func (l *Ledger) requeue(batch []*group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch = slices.DeleteFunc(batch, func(g *group) bool { return g.gone })
	l.queue = append(batch, l.queue...)
}

// batch takes own and what else may go with it out of the queue: of the same epoch, and no two writes of one item. It is
// empty if own was made by somebody else meanwhile.
func (l *Ledger) batch(own *group) (batch []*group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.queue, own) {
		return nil
	}
	batch = append(batch, own)
	taken, count, size := map[string]bool{}, len(own.writes), own.size
	for _, w := range own.writes {
		taken[w.sk] = true
	}
	l.queue = slices.DeleteFunc(l.queue, func(other *group) bool {
		if other == own {
			return true
		}
		if other.epoch != own.epoch || count+len(other.writes) > mostWrites || size+other.size > mostBytes ||
			slices.ContainsFunc(other.writes, func(w *write) bool { return taken[w.sk] }) {
			return false
		}
		for _, w := range other.writes {
			taken[w.sk] = true
		}
		count, size = count+len(other.writes), size+other.size
		batch = append(batch, other)
		return true
	})
	return batch
}

// transact makes the writes of a batch, own among them. One whose own condition refuses it is left out and the others
// tried again. If the caller's time is up, the others wait for somebody else's turn.
func (l *Ledger) transact(ctx context.Context, own *group, batch []*group) {
	for try := 0; ; try++ {
		var writes []*write
		for _, g := range batch {
			for _, w := range g.writes {
				if !w.over {
					writes = append(writes, w)
				}
			}
		}
		if len(writes) == 0 {
			settle(batch, nil)
			return
		}
		_, err := l.client.TransactWriteItems(ctx, l.transaction(batch[0].epoch, writes))
		canceled, is := errors.AsType[*types.TransactionCanceledException](err)
		switch {
		case err == nil:
			settle(batch, nil)
			return
		case ctx.Err() != nil:
			l.requeue(slices.DeleteFunc(batch, func(g *group) bool {
				if g == own { // unless it has failed already
					settle([]*group{own}, ctx.Err())
				}
				return g == own
			}))
			return
		case !is || len(canceled.CancellationReasons) != len(writes)+1:
			settle(batch, l.failed("writing the journal", err))
			return
		}
		fence, reasons := canceled.CancellationReasons[0], canceled.CancellationReasons[1:]
		if aws.ToString(fence.Code) == "ConditionalCheckFailed" {
			settle(batch, ledger.ErrLost)
			return
		}
		fewer := false
		for i, w := range writes {
			switch code := aws.ToString(reasons[i].Code); code {
			case "ConditionalCheckFailed":
				w.over, w.refused, fewer = true, unless(w.mark, reasons[i].Item), true
			case "", "None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded":
			default:
				err := fmt.Errorf("ledger: writing %s: %s: %s", w.sk, code, aws.ToString(reasons[i].Message))
				batch = slices.DeleteFunc(batch, func(g *group) bool {
					failed := slices.Contains(g.writes, w)
					if failed {
						settle([]*group{g}, err)
					}
					return failed
				})
				fewer = true
			}
		}
		if fewer {
			continue
		}
		if try >= patience {
			settle(batch, l.failed("writing the journal", err))
			return
		}
		if pause(ctx, try) != nil {
			continue // to the call that fails with the caller's error
		}
	}
}

// unless is found, or nil if it holds the mark: then the write had been made, and its answer was lost.
func unless(mark string, found item) item {
	switch {
	case found.text("w") == mark:
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

// put is a write of a whole item.
func (l *Ledger) put(mark string, it item, when string, values item) *write {
	it["pk"], it["w"] = text(l.instance), text(mark)
	w := &write{sk: it.text("sk"), mark: mark, size: size(it)}
	w.input.Put = &types.Put{
		TableName:                           &l.table,
		Item:                                it,
		ConditionExpression:                 &when,
		ExpressionAttributeNames:            names(when),
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	return w
}

// update changes an item unless it has done so before. c.update begins with assignments, without their SET. It returns
// the item that refused it, if one did.
func (l *lease) update(ctx context.Context, c change) (refused item, err error) {
	mark := l.mark()
	c.update = "SET #w = :w, " + c.update
	c.when += " AND #w <> :w"
	c.values[":w"] = text(mark)
	w := &write{sk: c.sk, mark: mark, size: size(c.values)}
	w.input.Update = &types.Update{
		TableName:                           &l.table,
		Key:                                 l.key(c.sk),
		UpdateExpression:                    &c.update,
		ConditionExpression:                 &c.when,
		ExpressionAttributeNames:            names(c.update, c.when),
		ExpressionAttributeValues:           c.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	if err := l.commit(ctx, alone(l.grant.Epoch, w)); err != nil {
		return nil, err
	}
	return w.refused, nil
}

// size is about what values take in a request.
func size(values item) int {
	n := 200
	for name, v := range values {
		n += len(name) + 20
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			n += len(v.Value)
		case *types.AttributeValueMemberB:
			n += len(v.Value) * 4 / 3
		case *types.AttributeValueMemberL:
			for _, part := range v.Value {
				n += size(item{"": part}) - 200
			}
		}
	}
	return n
}
