package dynamo

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// The item of a delivery: state, seq, attempts, error; until it is finished body, packed, answer, a list of packed
// actions, its size, done, a list of outcomes, and streamed; open while it is unfinished or dead, and order, which is what
// open is while it is unfinished; died; expires.

// DynamoDB takes items of up to 400 KB, and a request that would make a larger one fails late. These leave 16 KB for the
// rest.
const (
	mostBody   = 256 << 10
	mostAnswer = 128 << 10
	mostError  = 2 << 10
	perAction  = 32 // what an action takes beside itself, its outcome included
)

const (
	alive  = "o#"
	buried = "x#"
)

// unfinished is the condition of every write to an entry.
const unfinished = "begins_with(#open, :alive)"

func entryKey(key string) string { return "d#" + key }

// Durable is true.
func (*lease) Durable() bool { return true }

func (l *lease) Receive(ctx context.Context, entries ...ledger.Entry) ([]ledger.State, error) {
	states := make([]ledger.State, 0, len(entries))
	for len(states) < len(entries) {
		next, err := l.receive(ctx, entries[len(states):])
		if err != nil {
			return states, err
		}
		states = append(states, next...)
	}
	return states, nil
}

// receive writes as many of entries as go into one transaction: all of them, or none. It returns the state that it found
// of each.
func (l *lease) receive(ctx context.Context, entries []ledger.Entry) (states []ledger.State, err error) {
	now := l.now()
	g := &group{epoch: l.grant.Epoch}
	of := map[*write]int{} // place among the states
	for _, e := range entries {
		it, fits := received(e, g.epoch, now)
		if !fits {
			states = append(states, ledger.TooLarge)
			continue
		}
		w := l.put(l.mark(), it, "attribute_not_exists(#pk) OR #expires <= :now", item{":now": number(now.Unix())})
		if !g.takes(w) {
			break
		}
		g.add(w)
		of[w] = len(states)
		states = append(states, "")
	}
	if err := l.commit(ctx, g); err != nil {
		return nil, err
	}
	for w, place := range of {
		if w.refused != nil {
			states[place] = ledger.State(w.refused.text("state"))
		}
	}
	return states, nil
}

// received is the item of a new entry; fits is false if it would be too large.
func received(e ledger.Entry, epoch int64, now time.Time) (it item, fits bool) {
	order := fmt.Sprintf("%s%019d#%019d", alive, epoch, e.Seq)
	it = item{
		"sk":       text(entryKey(e.Key)),
		"state":    text(string(e.State)),
		"seq":      number(e.Seq),
		"attempts": number(int64(e.Attempts)),
		"order":    text(order),
		"open":     text(order),
	}
	if len(e.Body) > 0 {
		body := pack(e.Body)
		if len(body) > mostBody {
			return nil, false
		}
		it["body"] = binary(body)
	}
	if e.Error != "" {
		it["error"] = text(shorten(e.Error))
	}
	if e.State == ledger.Dead {
		for name, value := range grave(e.Key, now) {
			it[name[1:]] = value
		}
	}
	return it, true
}

// grave is what a dead entry is given.
func grave(key string, now time.Time) item {
	return item{
		":open":    text(fmt.Sprintf("%s%019d#%s", buried, now.UnixMilli(), key)),
		":died":    moment(now),
		":expires": number(now.Add(keepDead).Unix()),
	}
}

func (l *lease) Start(ctx context.Context, key string, s ledger.State) error {
	return l.entry(ctx, key, "#state = :state", item{":state": text(string(s))})
}

func (l *lease) Keep(ctx context.Context, key string, actions []json.RawMessage) error {
	answer, done := &types.AttributeValueMemberL{}, &types.AttributeValueMemberL{}
	bytes := 0
	for _, a := range actions {
		packed := pack(a)
		bytes += len(packed) + perAction
		answer.Value, done.Value = append(answer.Value, binary(packed)), append(done.Value, text(""))
	}
	if bytes > mostAnswer {
		return tooLarge(bytes)
	}
	return l.entry(ctx, key, "#answer = :answer, #done = :done, #size = :size",
		item{":answer": answer, ":done": done, ":size": number(int64(bytes))})
}

func (l *lease) Extend(ctx context.Context, key string, action json.RawMessage) error {
	packed := pack(action)
	bytes := len(packed) + perAction
	if bytes > mostAnswer {
		return tooLarge(bytes)
	}
	list := func(v ...types.AttributeValue) types.AttributeValue { return &types.AttributeValueMemberL{Value: v} }
	refused, err := l.update(ctx, change{
		sk: entryKey(key),
		update: "#answer = list_append(if_not_exists(#answer, :none), :action), " +
			"#done = list_append(if_not_exists(#done, :none), :unknown), " +
			"#size = if_not_exists(#size, :zero) + :bytes, #streamed = :one",
		when: unfinished + " AND (attribute_not_exists(#size) OR #size <= :room)",
		values: item{
			":alive": text(alive), ":none": list(), ":action": list(binary(packed)), ":unknown": list(text("")),
			":zero": number(0), ":one": number(1), ":bytes": number(int64(bytes)), ":room": number(int64(mostAnswer - bytes)),
		},
	})
	switch {
	case err != nil || refused == nil:
		return err
	case strings.HasPrefix(refused.text("open"), alive):
		return tooLarge(int(refused.number("size")) + bytes)
	}
	return noEntry(key)
}

func tooLarge(bytes int) error {
	return fmt.Errorf("%w: an answer of %d bytes when compressed; %d fit", ledger.ErrTooLarge, bytes, mostAnswer)
}

func noEntry(key string) error { return fmt.Errorf("ledger: no open entry %s", key) }

func (l *lease) Confirm(ctx context.Context, key string, action int, outcome string) error {
	return l.entryIf(ctx, key, " AND attribute_exists(#done)", fmt.Sprintf("#done[%d] = :outcome", action),
		item{":outcome": text(outcome)})
}

const payload = "#body, #answer, #size, #done, #streamed"

func (l *lease) Finish(ctx context.Context, key string) error {
	return l.entry(ctx, key, "#state = :finished, #expires = :expires REMOVE #open, #order, #error, "+payload, item{
		":finished": text(string(ledger.Finished)), ":expires": number(l.now().Add(keepFinished).Unix()),
	})
}

func (l *lease) Fail(ctx context.Context, key, reason string, dead bool) error {
	update, values, s := "#state = :state, #error = :error, #attempts = #attempts + :one", item{}, ledger.New
	if dead {
		update += ", #open = :open, #died = :died, #expires = :expires"
		values, s = grave(key, l.now()), ledger.Dead
	}
	values[":state"], values[":error"], values[":one"] = text(string(s)), text(shorten(reason)), number(1)
	return l.entry(ctx, key, update, values)
}

// entry updates an unfinished entry.
func (l *lease) entry(ctx context.Context, key, update string, values item) error {
	return l.entryIf(ctx, key, "", update, values)
}

func (l *lease) entryIf(ctx context.Context, key, and, update string, values item) error {
	values[":alive"] = text(alive)
	refused, err := l.update(ctx, change{sk: entryKey(key), update: update, when: unfinished + and, values: values})
	if err == nil && refused != nil {
		return noEntry(key)
	}
	return err
}

func (l *lease) Recover(ctx context.Context) ([]ledger.Entry, error) {
	if l.givenBack.Load() {
		return nil, ledger.ErrLost
	}
	keys, err := l.list(ctx, alive)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	// The state is read beside or after what is recovered: while the epoch is mine nobody else has written.
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

// fetch reads items consistently, by sort key, in the order of keys as far as one request reaches. only are the
// attributes to read; all of them if there are none.
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

// shorten keeps an error's text from growing an item out of bounds.
func shorten(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), mostError)], "")
}
