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

// entryWrite is a journal write on its way.
type entryWrite struct {
	epoch int64
	sk    string
	mark  string
	write types.TransactWriteItem
	size  int

	done    chan struct{} // closed once the two below are set
	refused item          // by its own condition: what was found
	err     error
}

func (w *entryWrite) settle(refused item, err error) {
	w.refused, w.err = refused, err
	close(w.done)
}

// commit makes a write under its epoch, together with those of other callers that wait for the same. It returns the item
// that refused it, if one did: an item that holds the write's own mark has not.
func (l *Ledger) commit(ctx context.Context, w *entryWrite) (refused item, err error) {
	w.done = make(chan struct{})
	l.mu.Lock()
	l.queue = append(l.queue, w)
	l.mu.Unlock()
	for {
		select {
		case <-w.done:
			return w.refused, w.err
		case <-ctx.Done():
			l.withdraw(w)
			return nil, ctx.Err()
		case l.turn <- struct{}{}:
		}
		runtime.Gosched() // those whom the last transaction has let go on may join this one
		l.transact(ctx, w, l.batch(w))
		<-l.turn
	}
}

// withdraw takes a write out of the queue; in a transaction that is under way it may still be made.
func (l *Ledger) withdraw(w *entryWrite) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = slices.DeleteFunc(l.queue, func(other *entryWrite) bool { return other == w })
}

func (l *Ledger) requeue(batch []*entryWrite) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(batch, l.queue...)
}

// batch takes w and what else may go with it out of the queue: of the same epoch, and no two writes of one item. It is
// empty if w was made by somebody else meanwhile.
func (l *Ledger) batch(w *entryWrite) (batch []*entryWrite) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.queue, w) {
		return nil
	}
	batch = append(batch, w)
	taken, size := map[string]bool{w.sk: true}, w.size
	l.queue = slices.DeleteFunc(l.queue, func(other *entryWrite) bool {
		if other == w {
			return true
		}
		if other.epoch != w.epoch || taken[other.sk] || len(batch) == mostWrites || size+other.size > mostBytes {
			return false
		}
		taken[other.sk] = true
		size += other.size
		batch = append(batch, other)
		return true
	})
	return batch
}

// transact makes the writes of a batch, own among them. One whose own condition refuses it is left out and the others
// tried again. If the caller's time is up, the others wait for somebody else's turn.
func (l *Ledger) transact(ctx context.Context, own *entryWrite, batch []*entryWrite) {
	for try := 0; len(batch) > 0; try++ {
		_, err := l.client.TransactWriteItems(ctx, l.transaction(batch))
		canceled, is := errors.AsType[*types.TransactionCanceledException](err)
		switch {
		case err == nil:
			settle(batch, nil)
			return
		case ctx.Err() != nil:
			l.requeue(slices.DeleteFunc(batch, func(w *entryWrite) bool {
				if w == own {
					own.settle(nil, ctx.Err())
				}
				return w == own
			}))
			return
		case !is || len(canceled.CancellationReasons) != len(batch)+1:
			settle(batch, failed("writing the journal", err))
			return
		}
		fence, reasons := canceled.CancellationReasons[0], canceled.CancellationReasons[1:]
		if aws.ToString(fence.Code) == "ConditionalCheckFailed" {
			settle(batch, ledger.ErrLost)
			return
		}
		var rest []*entryWrite
		for i, w := range batch {
			switch code := aws.ToString(reasons[i].Code); code {
			case "ConditionalCheckFailed":
				w.settle(unless(w.mark, reasons[i].Item), nil)
			case "", "None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded":
				rest = append(rest, w)
			default:
				w.settle(nil, fmt.Errorf("ledger: writing %s: %s: %s", w.sk, code, aws.ToString(reasons[i].Message)))
			}
		}
		if len(rest) < len(batch) {
			batch = rest
			continue
		}
		if try == patience {
			settle(batch, failed("writing the journal", err))
			return
		}
		if pause(ctx, try) != nil {
			continue // to the call that fails with the caller's error
		}
	}
}

func settle(batch []*entryWrite, err error) {
	for _, w := range batch {
		w.settle(nil, err)
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

func (l *Ledger) transaction(batch []*entryWrite) *dynamodb.TransactWriteItemsInput {
	in := &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{{
		ConditionCheck: &types.ConditionCheck{
			TableName:                 &l.table,
			Key:                       l.key(state),
			ConditionExpression:       aws.String(held),
			ExpressionAttributeNames:  names(held),
			ExpressionAttributeValues: item{":epoch": number(batch[0].epoch)},
		},
	}}}
	for _, w := range batch {
		in.TransactItems = append(in.TransactItems, w.write)
	}
	return in
}

// put writes a whole item.
func (l *Ledger) put(ctx context.Context, epoch int64, mark string, it item, when string, values item) (refused item, err error) {
	it["pk"], it["w"] = text(l.instance), text(mark)
	w := &entryWrite{epoch: epoch, sk: it.text("sk"), mark: mark, size: size(it)}
	w.write.Put = &types.Put{
		TableName:                           &l.table,
		Item:                                it,
		ConditionExpression:                 &when,
		ExpressionAttributeNames:            names(when),
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	return l.commit(ctx, w)
}

// update changes an item unless it has done so before. c.update begins with assignments, without their SET.
func (l *Ledger) update(ctx context.Context, epoch int64, c change) (refused item, err error) {
	mark := l.mark()
	c.update = "SET #w = :w, " + c.update
	c.when += " AND #w <> :w"
	c.values[":w"] = text(mark)
	w := &entryWrite{epoch: epoch, sk: c.sk, mark: mark, size: size(c.values)}
	w.write.Update = &types.Update{
		TableName:                           &l.table,
		Key:                                 l.key(c.sk),
		UpdateExpression:                    &c.update,
		ConditionExpression:                 &c.when,
		ExpressionAttributeNames:            names(c.update, c.when),
		ExpressionAttributeValues:           c.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	return l.commit(ctx, w)
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
