package dynamo_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
)

// said is an entry for a content of message m.
func said(content, buffer string) ledger.Entry {
	return ledger.Entry{Key: "key-of-" + content, State: ledger.New, Body: []byte(`{}`), Message: "m", Buffer: buffer}
}

// receive receives one entry, and returns the key that it has then.
func receive(t *testing.T, g ledger.Journal, e ledger.Entry) (string, ledger.State) {
	t.Helper()
	list := []ledger.Entry{e}
	states, err := g.Receive(t.Context(), list...)
	is.New(t).NoErr(err)
	return list[0].Key, states[0]
}

func TestAStateIsOneCallUnlessItComesBack(t *testing.T) {
	is := is.New(t)
	tbl := newTable(t, nil)
	l, _ := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	for _, tt := range []struct {
		content, buffer string
		fresh           bool
		calls           []string
	}{
		{"a", "1", true, []string{"TransactWriteItems"}},                                        // both items are new
		{"a", "1", false, []string{"TransactWriteItems"}},                                       // refused, with all that it takes to know why
		{"b", "2", true, []string{"TransactWriteItems", "TransactWriteItems"}},                  // an edit
		{"a", "3", true, []string{"TransactWriteItems", "BatchGetItem", "TransactWriteItems"}},  // an edit back
		{"a", "3", false, []string{"TransactWriteItems", "BatchGetItem"}},                       // and once more
		{"a", "4", false, []string{"TransactWriteItems", "BatchGetItem", "TransactWriteItems"}}, // its other buffer id is noted
	} {
		tbl.http.take()
		_, found := receive(t, g, said(tt.content, tt.buffer))
		is.Equal(found == "", tt.fresh)
		is.Equal(tbl.http.take(), tt.calls)
	}
}

// forgetBuffers makes an entry as the version before left it: without buffer ids, and without its message's last state.
func (tbl *table) forgetBuffers(t *testing.T, key string) {
	t.Helper()
	for sk, update := range map[string]string{"d#" + key: "REMOVE buffers", "m#m": "REMOVE content, expires"} {
		name := map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: "inst"}, "sk": &types.AttributeValueMemberS{Value: sk},
		}
		_, err := tbl.client.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
			TableName: &tbl.name, Key: name, UpdateExpression: &update,
		})
		is.New(t).NoErr(err)
	}
}

func TestWhatTheVersionBeforeHasReceivedIsKnown(t *testing.T) {
	is := is.New(t)
	tbl := newTable(t, nil)
	l, _ := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	receive(t, g, said("a", "1"))
	is.NoErr(g.Finish(t.Context(), "key-of-a"))
	tbl.forgetBuffers(t, "key-of-a")
	edit := said("a", "2")
	edit.Edit = true
	for _, e := range []ledger.Entry{said("a", "1"), said("a", ""), edit} { // its buffer id may be any
		key, found := receive(t, g, e)
		is.Equal(key, "key-of-a")
		is.Equal(found, ledger.Finished)
	}
	_, found := receive(t, g, said("b", "3"))
	is.Equal(found, ledger.State(""))
	_, found = receive(t, g, said("a", "1"))
	is.Equal(found, ledger.Finished)
	_, found = receive(t, g, said("a", "")) // nobody sends a live one again
	is.Equal(found, ledger.State(""))
}

func TestAStateIsKnownForAWeek(t *testing.T) {
	is := is.New(t)
	tbl := newTable(t, nil)
	l, c := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	a, _ := receive(t, g, said("a", ""))
	is.NoErr(g.Fail(t.Context(), a, "boom", true))
	c.advance(ledger.StateLife - time.Second)
	_, found := receive(t, g, said("a", ""))
	is.Equal(found, ledger.Dead)
	c.advance(time.Second) // nothing is known of the order any more, but the dead are kept for longer
	_, found = receive(t, g, said("a", ""))
	is.Equal(found, ledger.Dead)
	edit := said("a", "1")
	edit.Edit = true
	key, found := receive(t, g, edit)
	is.Equal(found, ledger.State(""))
	is.True(key != a)
	key, found = receive(t, g, said("a", "2"))
	is.Equal(found, ledger.New) // a repeat of the edit
	is.True(key != a)
	c.advance(2 * ledger.StateLife)
	edit.Buffer = "3"
	again, found := receive(t, g, edit) // the numbers begin anew, and meet the keys that are there
	is.Equal(found, ledger.State(""))
	is.True(again != key && again != a)
}

// A state that has to be looked into must not let those behind it go first.
func TestNoStateIsWrittenWithoutThoseBeforeIt(t *testing.T) {
	for failAt := 1; failAt <= 4; failAt++ {
		is := is.New(t)
		tbl := newTable(t, nil)
		client := &crossed{Client: tbl.client}
		l := dynamo.New(client, tbl.name, "inst")
		g := acquire(t, l, ledger.Arm)
		receive(t, g, said("a", "1"))
		receive(t, g, said("b", "2"))
		entries := []ledger.Entry{said("a", "3")}
		for i := range 60 {
			e := said(fmt.Sprint("other", i), "")
			e.Message = fmt.Sprint("m", i)
			entries = append(entries, e)
		}
		for i := range entries {
			entries[i].Seq = int64(i + 10)
		}
		client.failAt = failAt
		states, err := g.Receive(t.Context(), entries...)
		found, recovered := ledgertest.Recover(t.Context(), g)
		is.NoErr(recovered)
		if err == nil {
			is.Equal(len(states), 61)
			continue
		}
		var keys []string
		for _, e := range found[2:] {
			keys = append(keys, e.Key)
		}
		is.True(len(keys) == 0 || keys[0] == ledger.StateKey("key-of-a", 3))
		is.Equal(len(keys), len(states))
		is.True(!slices.Contains(states, ledger.New))
		is.True(!errors.Is(err, ledger.ErrLost))
	}
}
