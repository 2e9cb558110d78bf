package dynamo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func (l *lease) Recover(ctx context.Context) ([]ledger.Entry, error) {
	if l.givenBack.Load() {
		return nil, ledger.ErrLost
	}
	keys, err := l.list(ctx, alive)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	// The state is read with the entries or after them: if the epoch is still this lease's, nobody else has written.
	items, err := l.fetch(ctx, append(keys, state))
	if err != nil {
		return nil, err
	}
	if !l.holds(items[state]) {
		return nil, ledger.ErrLost
	}
	var entries []ledger.Entry
	for _, sk := range keys {
		it := items[sk]
		if !strings.HasPrefix(it.text("open"), alive) {
			continue
		}
		e, err := decode(it)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// list returns the sort keys of the entries whose open has a prefix, in its order.
func (l *Ledger) list(ctx context.Context, prefix string) (keys []string, err error) {
	in := &dynamodb.QueryInput{
		TableName:                 &l.table,
		IndexName:                 aws.String(Index),
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("#pk = :pk AND begins_with(#open, :prefix)"),
		ExpressionAttributeNames:  names("#pk #open"),
		ExpressionAttributeValues: item{":pk": text(l.instance), ":prefix": text(prefix)},
	}
	for {
		out, err := l.client.Query(ctx, in)
		if err != nil {
			return nil, l.failed("reading the index", err)
		}
		for _, it := range out.Items {
			keys = append(keys, item(it).text("sk"))
		}
		if len(out.LastEvaluatedKey) == 0 {
			return keys, nil
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
