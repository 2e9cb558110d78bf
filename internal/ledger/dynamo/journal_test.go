package dynamo_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
)

type (
	jsonValue = json.RawMessage
	option    = func(*dynamodb.Options)
)

// noise is JSON text of n bytes that does not compress well.
func noise(n int) jsonValue {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[rand.IntN(len(letters))]
	}
	b[0], b[n-1] = '"', '"'
	return b
}

func TestPayloadsGoWhenADeliveryIsFinished(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	l, c := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	_, err := g.Receive(ctx, ledger.Entry{Key: "a", Seq: 7, State: ledger.New, Body: []byte(`"canary"`)})
	is.NoErr(err)
	it := tbl.item(t, "inst", "d#a")
	is.Equal(it["open"], &types.AttributeValueMemberS{Value: "o#0000000000000000001#0000000000000000007#n##0"})
	is.Equal(it["expires"], nil) // never before it is done
	is.NoErr(g.Keep(ctx, "a", []jsonValue{[]byte(`"canary"`)}))
	is.NoErr(g.Confirm(ctx, "a", 0, "canary"))
	is.NoErr(g.Fail(ctx, "a", "canary", false))
	is.NoErr(g.Finish(ctx, "a"))
	it = tbl.item(t, "inst", "d#a")
	raw, err := json.Marshal(it)
	is.NoErr(err)
	is.True(!strings.Contains(string(raw), "canary") && !strings.Contains(string(raw), "ImNhbmFyeSI")) // nor in base64
	is.Equal(it["open"], nil)
	is.Equal(it["expires"], &types.AttributeValueMemberN{Value: fmt.Sprint(c.now().Add(7 * 24 * time.Hour).Unix())})
}

func TestWhatHasExpiredIsGoneEvenIfItIsStillThere(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	l, c := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	receive := func(key string) ledger.State {
		t.Helper()
		states, err := g.Receive(ctx, ledger.Entry{Key: key, Body: []byte(`{}`)})
		is.NoErr(err)
		return states[0]
	}
	receive("done")
	receive("dead")
	is.NoErr(g.Finish(ctx, "done"))
	is.NoErr(g.Fail(ctx, "dead", "boom", true))
	c.advance(7*24*time.Hour - time.Second)
	is.Equal(receive("done"), ledger.Finished)
	c.advance(time.Second)
	is.Equal(receive("done"), ledger.State(""))
	is.Equal(receive("dead"), ledger.Dead)
	c.advance((90 - 7) * 24 * time.Hour)
	list, err := l.ListDead(ctx)
	is.NoErr(err)
	is.Equal(len(list), 0)
	is.True(errors.Is(l.RetryDead(ctx, "dead", false), ledger.ErrNotDead))
	is.Equal(receive("dead"), ledger.State(""))
}

func TestWhatIsTooLargeIsSaidSoBeforeItIsWritten(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	l, _ := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	states, err := g.Receive(ctx,
		ledger.Entry{Key: "small", Body: []byte(`{}`)}, ledger.Entry{Key: "a", Body: noise(400 << 10)})
	is.NoErr(err)
	is.Equal(states, []ledger.State{"", ledger.TooLarge})
	is.Equal(tbl.item(t, "inst", "d#a"), nil)
	is.NoErr(g.Finish(ctx, "small"))

	body, answer := noise(300<<10), noise(150<<10) // about the largest that fit together, three quarters when compressed
	_, err = g.Receive(ctx, ledger.Entry{Key: "b", Body: body})
	is.NoErr(err)
	is.True(errors.Is(g.Keep(ctx, "b", []jsonValue{noise(200 << 10)}), ledger.ErrTooLarge))
	is.NoErr(g.Keep(ctx, "b", []jsonValue{answer}))
	is.NoErr(g.Fail(ctx, "b", strings.Repeat("é", 5000), true))
	is.NoErr(l.RetryDead(ctx, "b", false))
	entries, err := ledgertest.Recover(ctx, g)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	is.Equal(string(entries[0].Body), string(body))
	is.Equal(string(entries[0].Actions[0]), string(answer))
	is.NoErr(g.Finish(ctx, "b"))

	_, err = g.Receive(ctx, ledger.Entry{Key: "c", Body: []byte(`{}`)})
	is.NoErr(err)
	kept := 0
	for err == nil { // a stream that does not end
		err = g.Extend(ctx, "c", noise(10<<10))
		kept++
	}
	is.True(errors.Is(err, ledger.ErrTooLarge))
	is.True(kept > 10)
	entries, err = ledgertest.Recover(ctx, g)
	is.NoErr(err)
	is.Equal(len(entries[0].Actions), kept-1)
}

// An item holds 400 KB, so an answer is bounded with all that it takes, however it grows.
func TestAnAnswerIsBoundedHoweverItGrows(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	l, _ := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	_, err := g.Receive(ctx, ledger.Entry{Key: "many", Seq: 1, Body: []byte(`{}`)},
		ledger.Entry{Key: "large", Seq: 2, Body: []byte(`{}`)})
	is.NoErr(err)
	many := make([]jsonValue, 131072/33-1) // each takes 32 bytes beside its one: there is room for one more, and not for two
	for i := range many {
		many[i] = jsonValue("1")
	}
	is.NoErr(g.Keep(ctx, "many", many))
	is.NoErr(g.Extend(ctx, "many", jsonValue("2")))
	is.True(errors.Is(g.Extend(ctx, "many", jsonValue("3")), ledger.ErrTooLarge))
	is.NoErr(g.Keep(ctx, "large", []jsonValue{noise(150 << 10), jsonValue(`"old"`)}))
	is.NoErr(g.Replace(ctx, "large", 1, jsonValue(`"new"`)))
	is.True(errors.Is(g.Replace(ctx, "large", 1, noise(40<<10)), ledger.ErrTooLarge))
	entries, err := ledgertest.Recover(ctx, g)
	is.NoErr(err)
	is.Equal(len(entries[0].Actions), len(many)+1)
	is.Equal(string(entries[1].Actions[1]), `"new"`)
}

// A run may take any number of deliveries: of those that have ended it keeps nothing.
func TestNothingIsHeldOfWhatHasEnded(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	l, _ := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	keys := []string{"a", "b", "c", "d", "e"}
	for i, key := range keys {
		_, err := g.Receive(ctx, ledger.Entry{Key: key, Seq: int64(i + 1), Body: []byte(`{}`)})
		is.NoErr(err)
	}
	is.Equal(dynamo.Places(g), 5)
	is.NoErr(g.Finish(ctx, "a"))
	is.NoErr(g.Fail(ctx, "b", "boom", true))
	is.NoErr(g.StartSet(ctx, []string{"c", "d"}, ledger.Running, ledger.Day{}))
	is.NoErr(g.Finish(ctx, "d"))
	is.Equal(dynamo.Places(g), 1)
	is.True(errors.Is(g.Finish(ctx, "a"), ledger.ErrNoEntry))
	is.NoErr(g.Finish(ctx, "e"))
	is.Equal(dynamo.Places(g), 0)
	for _, key := range []string{"said", "said too", "unsaid"} {
		_, err := l.PutSay(ctx, ledger.Say{Key: key, Body: []byte(`{}`)})
		is.NoErr(err)
	}
	_, err := g.TakeSays(ctx, ledger.Taking{Say: "said", Entry: ledger.Entry{Key: "s", State: ledger.New, Body: []byte(`{}`)}},
		ledger.Taking{Say: "said too", Entry: ledger.Entry{Key: "s2", State: ledger.New, Body: []byte(`{}`)}},
		ledger.Taking{Say: "unsaid", Entry: ledger.Entry{Key: "u", State: ledger.Dead, Error: "no route", Body: []byte(`{}`)}})
	is.NoErr(err)
	is.Equal(dynamo.Places(g), 2)
}

// scale notes the largest request.
type scale struct {
	next http.RoundTripper
	most atomic.Int64
}

func (s *scale) RoundTrip(r *http.Request) (*http.Response, error) {
	s.most.Store(max(s.most.Load(), r.ContentLength))
	return s.next.RoundTrip(r)
}

// DynamoDB refuses a transaction of more than 4 MB.
func TestNoTransactionIsTooLarge(t *testing.T) {
	is := is.New(t)
	s := &scale{}
	tbl := newTable(t, func(next http.RoundTripper) http.RoundTripper { s.next = next; return s })
	l, _ := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	var entries []ledger.Entry
	for i := range 30 {
		entries = append(entries, ledger.Entry{Key: fmt.Sprint("k", i), Seq: int64(i + 1), Body: noise(200 << 10)})
	}
	states, err := g.Receive(t.Context(), entries...)
	is.NoErr(err)
	is.Equal(len(states), 30)
	is.True(s.most.Load() > 1<<20) // several share one
	is.True(s.most.Load() < 4<<20)
}

// gate lets one transaction after the other pass, and counts how many are on their way at once.
type gate struct {
	next  http.RoundTripper
	enter chan struct{} // a transaction has come
	pass  chan struct{} // it may pass; closed: all may
	mu    sync.Mutex
	now   int
	most  int
}

func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".TransactWriteItems") {
		return g.next.RoundTrip(req)
	}
	g.mu.Lock()
	g.now++
	g.most = max(g.most, g.now)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.now--
		g.mu.Unlock()
	}()
	select {
	case g.enter <- struct{}{}:
	case <-g.pass:
	}
	select {
	case <-g.pass:
		return g.next.RoundTrip(req)
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

func gated(t *testing.T) (*table, *gate) {
	g := &gate{enter: make(chan struct{}), pass: make(chan struct{})}
	return newTable(t, func(next http.RoundTripper) http.RoundTripper { g.next = next; return g }), g
}

// untilWaiting returns once n writes wait for the next transaction.
func untilWaiting(t *testing.T, l *dynamo.Ledger, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); l.Waiting() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d writes wait", l.Waiting(), n)
		}
	}
}

func TestWritesThatComeMeanwhileShareATransaction(t *testing.T) {
	is := is.New(t)
	tbl, gate := gated(t)
	l, _ := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	tbl.http.take()
	var wg sync.WaitGroup
	receive := func(i int) {
		wg.Go(func() {
			_, err := g.Receive(t.Context(), ledger.Entry{Key: fmt.Sprint(i), Seq: int64(i), Body: []byte(`{}`)})
			if err != nil {
				t.Errorf("receive: %v", err)
			}
		})
	}
	receive(0)
	<-gate.enter // it is on its way alone
	const others = 64
	for i := range others {
		receive(i + 1)
	}
	untilWaiting(t, l, others)
	close(gate.pass)
	wg.Wait()
	is.Equal(gate.most, 1) // never two under way: they could cancel each other
	is.Equal(tbl.http.take(), []string{"TransactWriteItems", "TransactWriteItems"})
}

func TestACallerThatGivesUpHoldsUpNobody(t *testing.T) {
	is := is.New(t)
	tbl, gate := gated(t)
	l, _ := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	ctx, cancel := context.WithCancel(t.Context())
	var gaveUp, other, waited error
	var wg sync.WaitGroup
	receive := func(ctx context.Context, key string, err *error) {
		wg.Go(func() { _, *err = g.Receive(ctx, ledger.Entry{Key: key, Body: []byte(`{}`)}) })
	}
	receive(ctx, "a", &gaveUp)
	<-gate.enter // its transaction is on its way
	receive(t.Context(), "b", &other)
	receive(ctx, "c", &waited)
	untilWaiting(t, l, 2)
	cancel()
	close(gate.pass)
	wg.Wait()
	is.True(errors.Is(gaveUp, context.Canceled))
	is.True(errors.Is(waited, context.Canceled))
	is.NoErr(other)
	is.True(tbl.item(t, "inst", "d#b") != nil)
}

func TestNoEntryIsWrittenWithoutThoseBeforeIt(t *testing.T) {
	is := is.New(t)
	tbl := newTable(t, nil)
	client := &crossed{Client: tbl.client}
	l := dynamo.New(client, tbl.name, "inst")
	g := acquire(t, l, ledger.Arm)
	var entries []ledger.Entry
	for i := range 300 {
		entries = append(entries, ledger.Entry{Key: fmt.Sprint(i), Seq: int64(i), Body: []byte(`{}`)})
	}
	client.failAt = 2
	states, err := g.Receive(t.Context(), entries...)
	is.True(err != nil)
	written, err := ledgertest.Recover(t.Context(), g)
	is.NoErr(err)
	is.True(len(states) > 0 && len(states) < 300)
	is.Equal(len(written), len(states))
	for i, e := range written {
		is.Equal(e.Key, fmt.Sprint(i))
	}
	states, err = g.Receive(t.Context(), entries...) // they come again
	is.NoErr(err)
	is.Equal(states[0], written[0].State)
	is.Equal(states[299], ledger.State(""))
}

// crossed is a client whose first writes each meet another transaction.
type crossed struct {
	dynamo.Client
	times  int
	failAt int // the transaction that fails, counted down; 0: none
}

func (c *crossed) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, o ...option) (*dynamodb.UpdateItemOutput, error) {
	if c.times--; c.times >= 0 {
		return nil, &types.TransactionConflictException{}
	}
	return c.Client.UpdateItem(ctx, in, o...)
}

func (c *crossed) TransactWriteItems(
	ctx context.Context, in *dynamodb.TransactWriteItemsInput, o ...option,
) (*dynamodb.TransactWriteItemsOutput, error) {
	if c.failAt--; c.failAt == 0 {
		return nil, errors.New("no route to host")
	}
	if c.times--; c.times < 0 {
		return c.Client.TransactWriteItems(ctx, in, o...)
	}
	reasons := make([]types.CancellationReason, len(in.TransactItems))
	for i := range reasons {
		reasons[i].Code = aws.String("None")
	}
	reasons[0].Code = aws.String("TransactionConflict")
	return nil, &types.TransactionCanceledException{CancellationReasons: reasons}
}

// scripted answers transactions as its functions say, one after the other, and agrees to all that follow.
type scripted struct {
	dynamo.Client
	answers []func(ctx context.Context, in *dynamodb.TransactWriteItemsInput) error
	written []string // the sort keys of each transaction that was agreed to
}

func (s *scripted) TransactWriteItems(
	ctx context.Context, in *dynamodb.TransactWriteItemsInput, _ ...option,
) (*dynamodb.TransactWriteItemsOutput, error) {
	if len(s.answers) > 0 {
		answer := s.answers[0]
		s.answers = s.answers[1:]
		if err := answer(ctx, in); err != nil {
			return nil, err
		}
	}
	var keys []string
	for _, w := range in.TransactItems[1:] {
		keys = append(keys, w.Update.Key["sk"].(*types.AttributeValueMemberS).Value)
	}
	s.written = append(s.written, strings.Join(keys, " "))
	return &dynamodb.TransactWriteItemsOutput{}, nil
}

// together starts writes of which the first is under way until the others wait; it returns their errors.
func together(ctx context.Context, l *dynamo.Ledger, s *scripted, answers ...func(context.Context, *dynamodb.TransactWriteItemsInput) error) []error {
	waiting := make(chan struct{})
	s.answers = append([]func(context.Context, *dynamodb.TransactWriteItemsInput) error{
		func(context.Context, *dynamodb.TransactWriteItemsInput) error { <-waiting; return nil },
	}, answers...)
	errs := make([]error, 3)
	var wg sync.WaitGroup
	for i, key := range []string{"a", "b", "c"} {
		wg.Go(func() { errs[i] = l.Lease().Finish(ctx, key) })
		synctest.Wait()
	}
	close(waiting)
	wg.Wait()
	return errs
}

func TestAWriteThatFailsForGoodHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		ctx, end := context.WithCancel(t.Context())
		s := &scripted{}
		l := dynamo.New(s, "table", "inst")
		errs := together(ctx, l, s,
			func(_ context.Context, in *dynamodb.TransactWriteItemsInput) error {
				reasons := make([]types.CancellationReason, len(in.TransactItems))
				for i := range reasons {
					reasons[i].Code = aws.String("None")
				}
				reasons[1].Code, reasons[1].Message = aws.String("ValidationError"), aws.String("no such thing")
				return &types.TransactionCanceledException{CancellationReasons: reasons}
			},
			func(ctx context.Context, _ *dynamodb.TransactWriteItemsInput) error {
				end() // the run is over meanwhile
				return ctx.Err()
			})
		is.NoErr(errs[0])
		failed, ended := errs[1], errs[2]
		if errors.Is(failed, context.Canceled) { // either of the two may be the first of the transaction
			failed, ended = ended, failed
		}
		is.True(strings.Contains(failed.Error(), "no such thing"))
		is.True(errors.Is(ended, context.Canceled))
		is.Equal(l.Waiting(), 0)
	})
}

func TestAWriteWhoseCallerHasGoneIsNotMadeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		ctx, end := context.WithCancel(t.Context())
		s := &scripted{}
		l := dynamo.New(s, "table", "inst")
		errs := together(ctx, l, s, func(ctx context.Context, _ *dynamodb.TransactWriteItemsInput) error {
			end()
			time.Sleep(time.Second) // until the connection is torn down
			return ctx.Err()
		})
		is.NoErr(errs[0])
		is.True(errors.Is(errs[1], context.Canceled))
		is.True(errors.Is(errs[2], context.Canceled))
		synctest.Wait()
		is.NoErr(l.Lease().Finish(t.Context(), "d"))
		is.Equal(s.written, []string{"d#a", "d#d"}) // it would be made after what its caller did next
	})
}

// agreeable agrees to every write and keeps nothing.
type agreeable struct{ dynamo.Client }

func (agreeable) UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...option) (*dynamodb.UpdateItemOutput, error) {
	return &dynamodb.UpdateItemOutput{}, nil
}

func (agreeable) TransactWriteItems(
	context.Context, *dynamodb.TransactWriteItemsInput, ...option,
) (*dynamodb.TransactWriteItemsOutput, error) {
	return &dynamodb.TransactWriteItemsOutput{}, nil
}

func TestTransactionsThatMeetAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		client := &crossed{Client: agreeable{}, times: 3}
		l := dynamo.New(client, "table", "inst")
		g := acquire(t, l, ledger.Arm)
		client.times = 3
		_, err := g.Receive(t.Context(), ledger.Entry{Key: "a", Body: []byte(`{}`)})
		is.NoErr(err)
		client.times = 3
		is.NoErr(g.Heartbeat(t.Context()))
		client.times = 1000
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		is.True(errors.Is(g.Finish(ctx, "a"), context.DeadlineExceeded))
		is.True(errors.Is(g.Heartbeat(ctx), context.DeadlineExceeded))
	})
}

func TestADatabaseThatIsDownIsAnErrorAndNothingElse(t *testing.T) {
	is := is.New(t)
	tbl := newTable(t, func(http.RoundTripper) http.RoundTripper { return down{} })
	l, _ := tbl.ledger("inst")
	_, err := l.Acquire(t.Context(), ask(ledger.Wake))
	for _, known := range []error{ledger.ErrTaken, ledger.ErrDisabled, ledger.ErrNotDue, ledger.ErrLost} {
		is.True(err != nil && !errors.Is(err, known))
	}
	_, err = l.Lease().Receive(t.Context(), ledger.Entry{Key: "a"})
	is.True(err != nil && !errors.Is(err, ledger.ErrLost))
}

// flaky fails a number of requests, and then agrees to all.
type flaky struct{ failures int }

func (f *flaky) RoundTrip(*http.Request) (*http.Response, error) {
	status, body := http.StatusOK, `{}`
	if f.failures--; f.failures >= 0 {
		status, body = http.StatusInternalServerError, `{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}`
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func TestAFailureThatPassesHoldsUpNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		failing := &flaky{}
		l := dynamo.New(dynamo.NewClient(aws.Config{
			Region: "us-east-1", BaseEndpoint: aws.String("http://127.0.0.1:1"), HTTPClient: &http.Client{Transport: failing},
			Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		}), "table", "inst")
		for failures, most := range map[int]time.Duration{1: 25 * time.Millisecond, 6: 2 * time.Second} {
			for range 100 { // no quota of retries is used up
				failing.failures = failures
				start := time.Now()
				is.NoErr(l.Lease().Finish(t.Context(), "a"))
				is.True(time.Since(start) <= most)
			}
		}
		failing.failures = 7
		is.True(l.Lease().Finish(t.Context(), "a") != nil)
	})
}

func TestATableThatIsNotThereIsNamed(t *testing.T) {
	is := is.New(t)
	l := dynamo.New(newTable(t, nil).client, "no-such-table", "inst")
	_, acquired := l.Acquire(t.Context(), ask(ledger.Wake))
	_, looked := l.Overview(t.Context())
	for _, err := range []error{acquired, looked, l.Lease().Finish(t.Context(), "a")} {
		is.True(strings.Contains(err.Error(), "there is no table no-such-table: check DORMOUSE_TABLE, AWS_REGION"))
	}
}

type down struct{}

func (down) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to host")
}

// The count of a day's turns is in the transaction that starts one, and in no request of its own.
func TestACountedStartIsOneTransaction(t *testing.T) {
	is := is.New(t)
	tbl := newTable(t, nil)
	l, _ := tbl.ledger("instance")
	g, err := l.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "o", Life: time.Minute})
	is.NoErr(err)
	_, err = g.Receive(t.Context(), ledger.Entry{Key: "a", Seq: 1, State: ledger.New, Body: []byte(`{}`)})
	is.NoErr(err)
	tbl.http.take()
	is.NoErr(g.StartCounted(t.Context(), "a", ledger.Running, ledger.Day{Date: "2026-05-01", Turns: 1, Most: 2}))
	is.Equal(tbl.http.take(), []string{"TransactWriteItems"})
	is.NoErr(g.StartCounted(t.Context(), "a", ledger.Running, ledger.Day{Date: "2026-05-01", Turns: 1, Most: 2}))
	is.Equal(tbl.http.take(), []string{"TransactWriteItems"}) // nothing new is the usual transaction
	state := tbl.item(t, "instance", "state")
	is.Equal(state["turns"].(*types.AttributeValueMemberN).Value, "1")
	tbl.http.take()
	name := ledger.ChatName{Platform: "discord", ID: "c1"}
	is.NoErr(g.NoteChats(t.Context(), map[ledger.ChatName]ledger.Chat{name: {Sorry: epoch}}))
	is.Equal(tbl.http.take(), []string{"TransactWriteItems"})
	_, err = g.Chats(t.Context(), name, ledger.ChatName{Platform: "discord", ID: "c2"})
	is.NoErr(err)
	is.Equal(tbl.http.take(), []string{"BatchGetItem"})
	chat := tbl.item(t, "instance", "c#discord:c1")
	is.True(chat["expires"] != nil) // DynamoDB deletes it when the chat has been silent for long
}
