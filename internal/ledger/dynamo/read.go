package dynamo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func (l *lease) Recover(ctx context.Context, from string) (page ledger.Page, err error) {
	if l.givenBack.Load() {
		return page, ledger.ErrLost
	}
	trusted, err := l.keysFrom(ctx)
	if err != nil {
		return page, err
	}
	over := false
	page.Next, err = l.page(ctx, alive, from, func(sk, open string) {
		p, ok := placeIn(open)
		if from != "" && p.epoch >= l.grant.Epoch {
			over = true
			return
		}
		page.Left = append(page.Left, p.left(sk, ok && p.epoch >= trusted))
	})
	if over {
		page.Next = ""
	}
	if err != nil || page.Next != "" || from == "" && len(page.Left) == 0 {
		return page, err
	}
	// The state is read after the keys: if the epoch is still this lease's, nobody else has written.
	found, err := l.get(ctx, state)
	if err != nil {
		return ledger.Page{}, err
	}
	if !l.holds(found) {
		return ledger.Page{}, ledger.ErrLost
	}
	return page, nil
}

// keysFrom is the first epoch whose entries' index keys say how far the entries are. The version before changes entries and
// leaves their keys alone. Each acquisition of this version is counted (keyed); so a lease that was held by another version
// shows in the number of those that were not (unkeyed): then what was there before is read.
func (l *lease) keysFrom(ctx context.Context) (int64, error) {
	others := l.grant.Epoch - l.keyed
	if others == l.unkeyed {
		return l.trusted, nil
	}
	err := l.holding(ctx, "SET #unkeyed = :others, #trusted = :mine", item{":others": number(others), ":mine": number(l.grant.Epoch)})
	if err != nil {
		return 0, err
	}
	l.unkeyed, l.trusted = others, l.grant.Epoch
	return l.trusted, nil
}

func (l *lease) Load(ctx context.Context, keys ...string) (entries []ledger.Entry, err error) {
	if l.givenBack.Load() {
		return nil, ledger.ErrLost
	}
	sks := make([]string, len(keys))
	for i, key := range keys {
		sks[i] = entryKey(key)
	}
	items, err := l.fetch(ctx, sks)
	if err != nil {
		return nil, err
	}
	for _, sk := range sks {
		p, ok := placeIn(items[sk].text("open"))
		if !ok {
			continue
		}
		e := decoded(items[sk])
		l.noted(e.Key, p)
		l.leads(e.Key, e.Set.Members)
		entries = append(entries, e)
	}
	return entries, nil
}

// decoded is decode for an entry that is said to be unreadable rather than to be an error.
func decoded(it item) ledger.Entry {
	e, err := decode(it)
	if err != nil {
		e.Body, e.Actions, e.Done, e.Unreadable = nil, nil, nil, err
	}
	return e
}

// list returns the sort keys of the entries whose open has a prefix, in its order.
func (l *Ledger) list(ctx context.Context, prefix string) (keys []string, err error) {
	for from := ""; ; {
		if from, err = l.page(ctx, prefix, from, func(sk, _ string) { keys = append(keys, sk) }); err != nil || from == "" {
			return keys, err
		}
	}
}

// A page of the index has leastKeys at first, since a request is waited for only so long, and twice as many after one that
// took less than quickPage, up to mostKeys: a full one has 1 MB.
const (
	leastKeys = 1000
	mostKeys  = 8000
	quickPage = 300 * time.Millisecond
)

// page calls use with the keys of a page of the entries whose open has a prefix, in its order: of those behind from, or of the
// first ones. next is what the next page is behind; empty: this is the last one.
func (l *Ledger) page(ctx context.Context, prefix, from string, use func(sk, open string)) (next string, err error) {
	at, err := cursorIn(from)
	if err != nil {
		return "", err
	}
	in := &dynamodb.QueryInput{
		TableName:                 &l.table,
		IndexName:                 aws.String(Index),
		Limit:                     &at.limit,
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("#pk = :pk AND begins_with(#open, :prefix)"),
		ExpressionAttributeNames:  names("#pk #open"),
		ExpressionAttributeValues: item{":pk": text(l.instance), ":prefix": text(prefix)},
	}
	if from != "" {
		in.ExclusiveStartKey = l.key(at.sk)
		in.ExclusiveStartKey["open"] = text(at.open)
	}
	began := time.Now()
	out, err := l.client.Query(ctx, in)
	if err != nil {
		return "", l.failed("reading the index", err)
	}
	for _, it := range out.Items {
		use(item(it).text("sk"), item(it).text("open"))
	}
	if len(out.LastEvaluatedKey) == 0 {
		return "", nil
	}
	if time.Since(began) < quickPage {
		at.limit = min(2*at.limit, mostKeys)
	}
	last := item(out.LastEvaluatedKey)
	return cursor{at.limit, last.text("sk"), last.text("open")}.String(), nil
}

// cursor is where a page begins: behind a key, and how many keys it has.
type cursor struct {
	limit    int32
	sk, open string
}

func (c cursor) String() string { return fmt.Sprintf("%d %d %s%s", c.limit, len(c.sk), c.sk, c.open) }

// cursorIn reads a cursor; that of the first page is empty.
func cursorIn(s string) (cursor, error) {
	if s == "" {
		return cursor{limit: leastKeys}, nil
	}
	limit, rest, _ := strings.Cut(s, " ")
	size, keys, _ := strings.Cut(rest, " ")
	many, err := strconv.ParseInt(limit, 10, 32)
	n, err2 := strconv.Atoi(size)
	if err != nil || err2 != nil || n < 0 || n > len(keys) {
		return cursor{}, fmt.Errorf("ledger: reading the index: no page is behind %q", s)
	}
	return cursor{int32(many), keys[:n], keys[n:]}, nil
}

// fetch reads items consistently, and returns them by sort key. Keys that are later in the list are read no earlier. only
// are the attributes to read; all of them if there are none.
func (l *Ledger) fetch(ctx context.Context, keys []string, only ...string) (map[string]item, error) {
	found := make(map[string]item, len(keys))
	for part := range slices.Chunk(keys, 100) {
		want := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
		for _, sk := range part {
			want.Keys = append(want.Keys, l.key(sk))
		}
		if len(only) > 0 {
			want.ProjectionExpression = aws.String(strings.Join(only, ", "))
			want.ExpressionAttributeNames = names(only...)
		}
		for try := 0; ; try++ {
			out, err := l.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
				RequestItems: map[string]types.KeysAndAttributes{l.table: want},
			})
			if err != nil {
				return nil, l.failed("reading entries", err)
			}
			for _, it := range out.Responses[l.table] {
				found[item(it).text("sk")] = it
			}
			if want = out.UnprocessedKeys[l.table]; len(want.Keys) == 0 {
				break
			}
			if len(out.Responses[l.table]) == 0 { // throttled; otherwise the answer was full
				if err := pause(ctx, try); err != nil {
					return nil, err
				}
			}
		}
	}
	return found, nil
}

func decode(it item) (ledger.Entry, error) {
	e := ledger.Entry{
		Key:      strings.TrimPrefix(it.text("sk"), entryKey("")),
		Seq:      it.number("seq"),
		State:    ledger.State(it.text("state")),
		Attempts: int(it.number("attempts")),
		Error:    it.text("error"),
		Died:     it.time("died"),
		Open:     it.has("streamed"),
		Draft:    int(it.number("draft")),
		Set:      setIn(it),
		Wait: ledger.Wait{
			Due: it.time("due"), Since: it.time("since"), Tries: int(it.number("tries")), Asked: it.has("asked"),
		},
	}
	body, err := unpack(it.bytes("body"))
	if err != nil {
		return e, fmt.Errorf("ledger: the event of entry %s: %w", e.Key, err)
	}
	e.Body = body
	if !it.has("answer") {
		return e, nil
	}
	for _, v := range it.list("answer") {
		action, err := unpack(item{"action": v}.bytes("action"))
		if err != nil {
			return e, fmt.Errorf("ledger: the answer of entry %s: %w", e.Key, err)
		}
		e.Actions = append(e.Actions, action)
	}
	e.Done = make([]string, len(e.Actions))
	for i, outcome := range it.list("done") {
		if i < len(e.Done) {
			e.Done[i] = item{"outcome": outcome}.text("outcome")
		}
	}
	return e, nil
}
