package dynamo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func (l *lease) Recover(ctx context.Context) (left []ledger.Left, err error) {
	if l.givenBack.Load() {
		return nil, ledger.ErrLost
	}
	trusted, err := l.keysFrom(ctx)
	if err != nil {
		return nil, err
	}
	err = l.query(ctx, alive, func(sk, open string) {
		e := ledger.Left{Key: strings.TrimPrefix(sk, entryKey(""))}
		if p, ok := placeIn(open); ok && p.epoch >= trusted && p.session != "" {
			e.Session, e.Suspect = p.session, p.running
			if p.due > 0 {
				e.Due = time.Unix(p.due, 0)
			}
		}
		left = append(left, e)
	})
	if err != nil || len(left) == 0 {
		return nil, err
	}
	// The state is read after the keys: if the epoch is still this lease's, nobody else has written.
	found, err := l.get(ctx, state)
	if err != nil {
		return nil, err
	}
	if !l.holds(found) {
		return nil, ledger.ErrLost
	}
	return left, nil
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
	err = l.query(ctx, prefix, func(sk, _ string) { keys = append(keys, sk) })
	return keys, err
}

// mostKeys is how many keys a page of the index has: a full one, of 7,000, may take longer than a request is waited for.
const mostKeys = 1000

// query calls use with the keys of the entries whose open has a prefix, in its order.
func (l *Ledger) query(ctx context.Context, prefix string, use func(sk, open string)) error {
	in := &dynamodb.QueryInput{
		TableName:                 &l.table,
		IndexName:                 aws.String(Index),
		Limit:                     aws.Int32(mostKeys),
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("#pk = :pk AND begins_with(#open, :prefix)"),
		ExpressionAttributeNames:  names("#pk #open"),
		ExpressionAttributeValues: item{":pk": text(l.instance), ":prefix": text(prefix)},
	}
	for {
		out, err := l.client.Query(ctx, in)
		if err != nil {
			return l.failed("reading the index", err)
		}
		for _, it := range out.Items {
			use(item(it).text("sk"), item(it).text("open"))
		}
		if len(out.LastEvaluatedKey) == 0 {
			return nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
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
