package dynamo_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
)

// change changes an item behind the ledger's back.
func (tbl *table) change(t *testing.T, sk, update string, values map[string]types.AttributeValue, names map[string]string) {
	t.Helper()
	_, err := tbl.client.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: &tbl.name, UpdateExpression: &update, ExpressionAttributeValues: values, ExpressionAttributeNames: names,
		Key: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: "inst"}, "sk": &types.AttributeValueMemberS{Value: sk},
		},
	})
	is.New(t).NoErr(err)
}

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

// asBefore makes an entry what the version before has written: its place has two parts.
func (tbl *table) asBefore(t *testing.T, key string) {
	t.Helper()
	open := tbl.item(t, "inst", "d#"+key)["open"].(*types.AttributeValueMemberS).Value
	short := str(strings.Join(strings.Split(open, "#")[:3], "#"))
	tbl.change(t, "d#"+key, "SET #open = :short, #order = :short",
		map[string]types.AttributeValue{":short": short}, map[string]string{"#open": "open", "#order": "order"})
}

func TestWhatTheVersionBeforeHasLeftIsReadWhole(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	l, _ := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	for i, key := range []string{"a", "b"} {
		_, err := g.Receive(ctx, ledger.Entry{Key: key, Seq: int64(i), State: ledger.New, Session: "0000000a", Body: []byte(`"hello"`)})
		is.NoErr(err)
	}
	tbl.asBefore(t, "a")
	left, err := ledgertest.Left(ctx, g)
	is.NoErr(err)
	is.Equal(left, []ledger.Left{{Key: "a"}, {Key: "b", Session: "0000000a"}})
	entries, err := g.Load(ctx, "a")
	is.NoErr(err)
	is.Equal(string(entries[0].Body), `"hello"`)
	is.NoErr(g.Start(ctx, "a", ledger.Running)) // and is written as it is from now on
	is.NoErr(g.Fail(ctx, "a", "boom", true))
	is.NoErr(l.RetryDead(ctx, "a", false))
	left, err = ledgertest.Left(ctx, g)
	is.NoErr(err)
	is.Equal(left[0].Key, "a") // in its place
	is.NoErr(g.Finish(ctx, "a"))
}

// A run of the version before changes entries, and their index keys stay as they were. So what was there then is read.
func TestKeysAreNotBelievedAfterARunOfTheVersionBefore(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	l, _ := tbl.ledger("inst")
	put := func(g ledger.Lease, key string) {
		_, err := g.Receive(ctx, ledger.Entry{Key: key, Seq: 1, State: ledger.New, Session: "0000000a", Body: []byte(`"hello"`)})
		is.NoErr(err)
	}
	next := func(g ledger.Lease) ledger.Lease {
		_, err := g.HandOff(ctx, g.Grant().Plan, true)
		is.NoErr(err)
		return acquire(t, l, ledger.Continue)
	}
	g := acquire(t, l, ledger.Arm)
	put(g, "a")
	g = next(g)
	left, err := ledgertest.Left(ctx, g)
	is.NoErr(err)
	is.Equal(left, []ledger.Left{{Key: "a", Session: "0000000a"}})
	_, err = g.HandOff(ctx, g.Grant().Plan, true)
	is.NoErr(err)

	one := map[string]types.AttributeValue{":one": &types.AttributeValueMemberN{Value: "1"}} // the version before takes the lease,
	tbl.change(t, "state", "SET #epoch = #epoch + :one", one, map[string]string{"#epoch": "epoch"})
	running := map[string]types.AttributeValue{":running": str("running")} // starts a turn, and dies
	tbl.change(t, "d#a", "SET #state = :running", running, map[string]string{"#state": "state"})

	g = acquire(t, l, ledger.Continue)
	put(g, "b")
	for range 3 { // also if this run dies in turn
		left, err = ledgertest.Left(ctx, g)
		is.NoErr(err)
		is.Equal(left, []ledger.Left{{Key: "a"}, {Key: "b", Session: "0000000a"}})
		g = next(g)
	}
}

func TestAnEntryThatCannotBeReadFailsNoOther(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	l, _ := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	for i, key := range []string{"a", "b", "c"} {
		_, err := g.Receive(ctx, ledger.Entry{Key: key, Seq: int64(i), State: ledger.New, Session: "0000000a", Body: []byte(`"hello"`)})
		is.NoErr(err)
	}
	var bomb bytes.Buffer // 41 MiB of blanks in 41 KB
	w := gzip.NewWriter(&bomb)
	_, err := w.Write(bytes.Repeat([]byte(" "), 41<<20))
	is.NoErr(err)
	is.NoErr(w.Close())
	set := func(body []byte) {
		t.Helper()
		tbl.change(t, "d#b", "SET #body = :b", map[string]types.AttributeValue{":b": &types.AttributeValueMemberB{Value: body}},
			map[string]string{"#body": "body"})
	}
	set(bomb.Bytes())
	entries, err := g.Load(ctx, "b")
	is.NoErr(err)
	is.True(strings.Contains(entries[0].Unreadable.Error(), "unpacking: more than 41943040 bytes"))
	set([]byte("\x1f\x8bno gzip at all"))
	entries, err = g.Load(ctx, "a", "b", "c")
	is.NoErr(err)
	is.Equal(len(entries), 3)
	is.NoErr(entries[0].Unreadable)
	is.NoErr(entries[2].Unreadable)
	is.True(strings.Contains(entries[1].Unreadable.Error(), "the event of entry b"))
	is.Equal(entries[1].Key, "b")
	is.NoErr(g.Bury(ctx, "b", entries[1].Unreadable.Error()))
	dead, err := l.ListDead(ctx)
	is.NoErr(err)
	is.Equal(len(dead), 1)
	e, err := l.ShowDead(ctx, "b")
	is.NoErr(err) // an operator sees why
	is.True(strings.Contains(e.Error, "the event of entry b"))
	is.True(l.RetryDead(ctx, "b", false) != nil)
	is.NoErr(l.DropDead(ctx, "b"))
}

// A year's traffic lies in one partition key: what is finished costs no read.
func TestRecoveryReadsNothingThatIsFinished(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	l, _ := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	const finished, open = 600, 3
	text := []byte(`"` + strings.Repeat("x", 3000) + `"`)
	var entries []ledger.Entry
	for i := range finished + open {
		key := fmt.Sprint("m", i)
		entries = append(entries, ledger.Entry{
			Key: key, Seq: int64(i), State: ledger.New, Session: "0000000a", Body: text, Message: "message " + key, Buffer: "b" + key,
		})
	}
	_, err := g.Receive(ctx, entries...)
	is.NoErr(err)
	var finishing sync.WaitGroup
	for _, e := range entries[:finished] {
		finishing.Go(func() {
			if err := g.Finish(ctx, e.Key); err != nil {
				t.Error(err)
			}
		})
	}
	finishing.Wait()
	seen := &counting{Client: tbl.client}
	counted := dynamo.New(seen, tbl.name, "inst")
	_, err = g.HandOff(ctx, ledger.Plan{At: time.Now()}, true)
	is.NoErr(err)
	g, err = counted.Acquire(ctx, ask(ledger.Continue))
	is.NoErr(err)
	left, err := ledgertest.Left(ctx, g)
	is.NoErr(err)
	is.Equal(len(left), open)
	is.Equal(seen.items, open) // and no item of what is finished, nor the state of its message
	_, err = counted.ListPending(ctx)
	is.NoErr(err)
	_, err = counted.ListDead(ctx)
	is.NoErr(err)
	_, err = counted.Overview(ctx)
	is.NoErr(err)
	is.Equal(seen.scanned, seen.items) // nothing is read and then left out
	is.True(seen.units < 10)
	again, err := ledgertest.Recover(ctx, g)
	is.NoErr(err)
	is.Equal(len(again), open)
}

// counting counts what queries read.
type counting struct {
	dynamo.Client
	items, scanned int
	units          float64
}

func (c *counting) Query(ctx context.Context, in *dynamodb.QueryInput, o ...option) (*dynamodb.QueryOutput, error) {
	ask := *in
	ask.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	out, err := c.Client.Query(ctx, &ask, o...)
	if err == nil {
		c.items += int(out.Count)
		c.scanned += int(out.ScannedCount)
		if out.ConsumedCapacity != nil {
			c.units += *out.ConsumedCapacity.CapacityUnits
		}
	}
	return out, err
}

// The first page of keys is small, so that it is there in time, and the next ones are as large as they are quick.
func TestManyEntriesAreRecoveredPageByPage(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	l, _ := tbl.ledger("instance")
	g := acquire(t, l, ledger.Arm)
	const many = 1500
	var entries []ledger.Entry
	for i := range many {
		entries = append(entries, ledger.Entry{Key: fmt.Sprintf("k%d", i), Seq: int64(i + 1), State: ledger.New, Body: []byte(`{}`)})
	}
	_, err := g.Receive(ctx, entries...)
	is.NoErr(err)
	_, err = g.HandOff(ctx, ledger.Plan{}, true)
	is.NoErr(err)

	g = acquire(t, l, ledger.Arm)
	tbl.http.take()
	first, err := g.Recover(ctx, "")
	is.NoErr(err)
	is.Equal(len(first.Left), 1000)
	is.Equal(tbl.http.take(), []string{"Query"})
	_, err = g.Receive(ctx, ledger.Entry{Key: "new", Seq: 1, State: ledger.New, Body: []byte(`{}`)})
	is.NoErr(err)
	tbl.http.take()
	second, err := g.Recover(ctx, first.Next)
	is.NoErr(err)
	is.Equal(tbl.http.take(), []string{"Query", "GetItem"})
	is.Equal(second.Next, "")
	is.Equal(len(second.Left), many-1000) // what came under this lease is known
	for i, e := range slices.Concat(first.Left, second.Left) {
		is.Equal(e.Key, entries[i].Key)
	}
	_, err = g.Recover(ctx, "no cursor")
	is.True(err != nil)

	_, err = g.HandOff(ctx, ledger.Plan{}, true)
	is.NoErr(err)
	_, err = g.Recover(ctx, first.Next)
	is.True(errors.Is(err, ledger.ErrLost))
	list, err := l.ListPending(ctx)
	is.NoErr(err)
	is.Equal(len(list), many+1) // an operator sees all
}

// A lease that was lost between two pages is noticed with the last one.
func TestALeaseThatIsLostBetweenTwoPagesIsNoticed(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	l, c := tbl.ledger("instance")
	g := acquire(t, l, ledger.Arm)
	var entries []ledger.Entry
	for i := range 1001 {
		entries = append(entries, ledger.Entry{Key: fmt.Sprintf("k%d", i), Seq: int64(i + 1), State: ledger.New, Body: []byte(`{}`)})
	}
	_, err := g.Receive(ctx, entries...)
	is.NoErr(err)
	page, err := g.Recover(ctx, "")
	is.NoErr(err)
	c.advance(time.Hour)
	acquire(t, l, ledger.Arm)
	_, err = g.Recover(ctx, page.Next)
	is.True(errors.Is(err, ledger.ErrLost))
}
