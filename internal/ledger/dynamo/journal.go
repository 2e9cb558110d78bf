package dynamo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// The attributes of a delivery's item:
//
//	state, seq, attempts, error  as in ledger.Entry
//	body                         the event, packed; until it is finished
//	answer, size                 the kept actions, each packed, and their bytes; until it is finished
//	done                         their outcomes; until it is finished
//	buffers                      of a state of a message: the buffer ids that it came under, for as long as it is known
//	due, since, tries, asked     as in ledger.Wait, while it waits
//	draft                        the id of the newest draft that its chat may have seen; until it is finished
//	streamed                     the answer is a stream whose end was not seen
//	leader, members, single      as in ledger.Set (sets.go)
//	open                         the index: while it is unfinished or dead (index.go)
//	order                        what open is once it is put back
//	died, expires                when it was given up; when it may be deleted
//	w                            the tag of the last write

// DynamoDB takes items of up to 400 KB, and fails a request that would make a larger one late. These limits leave 16 KB
// for the rest.
const (
	mostBody   = 256 << 10
	mostAnswer = 128 << 10
	mostError  = 2 << 10
	perAction  = 32 // bytes that an action takes beside itself, its outcome included
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

func (l *lease) Start(ctx context.Context, key string, s ledger.State) error {
	return l.together(ctx, key, ledger.Day{}, l.starting(ctx, s))
}

const started = "#state = :state, #open = :open"

func (l *lease) Keep(ctx context.Context, key string, actions []json.RawMessage) error {
	values, bytes := answer(actions, make([]string, len(actions)))
	if bytes > mostAnswer {
		return tooLarge(bytes)
	}
	return l.together(ctx, key, ledger.Day{}, func(k string) (change, error) {
		return change{update: setAnswer + " REMOVE " + waiting, values: unlessMember(key, k, values)}, nil
	})
}

func (l *lease) Owe(ctx context.Context, e ledger.Entry) error {
	e.State = ledger.New
	it, fits := received(e, l.grant.Epoch, l.now())
	values, bytes := answer(e.Actions, make([]string, len(e.Actions)))
	if !fits || bytes > mostAnswer {
		return tooLarge(len(e.Body) + bytes)
	}
	for name, value := range values {
		it[name[1:]] = value
	}
	return l.commit(ctx, single(l.grant.Epoch, l.put(it, "attribute_not_exists(#open)", nil)))
}

// setAnswer sets an answer to the values that answer makes.
const setAnswer = "#answer = :answer, #done = :done, #size = :size"

func answer(actions []json.RawMessage, outcomes []string) (values item, bytes int) {
	answer, done := &types.AttributeValueMemberL{}, &types.AttributeValueMemberL{}
	for i, a := range actions {
		packed := pack(a)
		bytes += len(packed) + perAction
		answer.Value, done.Value = append(answer.Value, binary(packed)), append(done.Value, text(outcomes[i]))
	}
	return item{":answer": answer, ":done": done, ":size": number(int64(bytes))}, bytes
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

func noEntry(key string) error { return fmt.Errorf("%w: %s", ledger.ErrNoEntry, key) }

func (l *lease) Confirm(ctx context.Context, key string, action int, outcome string) error {
	return l.entryIf(ctx, key, " AND attribute_exists(#done)", fmt.Sprintf("#done[%d] = :outcome REMOVE %s", action, waiting),
		item{":outcome": text(outcome)})
}

func (l *lease) Draft(ctx context.Context, key string, id int) error {
	return l.entryIf(ctx, key, "", "#draft = :draft", item{":draft": number(int64(id))})
}

// Attributes that go together: what is dropped when an entry is finished, and what an entry has while it waits.
const (
	payload = "#body, #answer, #size, #done, #streamed, #draft"
	waiting = "#due, #since, #tries, #asked"
)

func (l *lease) Finish(ctx context.Context, key string) error {
	return l.last(key, l.together(ctx, key, ledger.Day{}, func(k string) (change, error) { return l.finishing(k), nil }))
}

// finishing is the change that finishes an unfinished entry.
func (l *lease) finishing(key string) change {
	return change{
		sk:     entryKey(key),
		update: "#state = :finished, #expires = :expires REMOVE #open, #order, #error, " + waiting + ", " + payload,
		values: item{
			":finished": text(string(ledger.Finished)), ":expires": number(l.now().Add(keepFinished).Unix()),
		},
	}
}

// last is for a write that ends an entry.
func (l *lease) last(key string, err error) error {
	if err == nil || errors.Is(err, ledger.ErrNoEntry) {
		for _, k := range l.setOf(key) {
			l.ended(k)
		}
	}
	return err
}

func (l *lease) Fail(ctx context.Context, key, reason string, dead bool) error {
	if dead {
		return l.bury(ctx, key, reason, 1)
	}
	return l.together(ctx, key, ledger.Day{}, func(k string) (change, error) {
		open, err := l.moved(ctx, k, func(p *place) { p.running, p.due = false, 0 })
		return change{
			update: started + ", #error = :error, #attempts = #attempts + :one REMOVE " + waiting,
			values: item{
				":state": text(string(ledger.New)), ":open": text(open), ":error": text(shorten(reason)), ":one": number(1),
			},
		}, err
	})
}

func (l *lease) Bury(ctx context.Context, key, reason string) error {
	return l.bury(ctx, key, reason, 0)
}

// bury gives an entry up, after so many more attempts.
func (l *lease) bury(ctx context.Context, key, reason string, more int64) error {
	now := l.now()
	return l.last(key, l.together(ctx, key, ledger.Day{}, func(k string) (change, error) {
		values := grave(k, now)
		values[":state"], values[":error"], values[":more"] = text(string(ledger.Dead)), text(shorten(reason)), number(more)
		return change{
			update: started + ", #error = :error, #attempts = #attempts + :more, #died = :died, #expires = :expires REMOVE " + waiting,
			values: values,
		}, nil
	}))
}

func (l *lease) Defer(ctx context.Context, key, reason string, w ledger.Wait, attempts int) error {
	return l.together(ctx, key, ledger.Day{}, func(k string) (change, error) {
		return l.deferred(ctx, k, ledger.New, reason, w, attempts)
	})
}

// deferred makes an entry wait, in a state.
func (l *lease) deferred(ctx context.Context, key string, s ledger.State, reason string, w ledger.Wait, attempts int) (change, error) {
	open, err := l.moved(ctx, key, func(p *place) { p.running, p.due = isRunning(s), seconds(w.Due) })
	c := change{
		update: started + ", #error = :error, #attempts = :attempts, #due = :due, #since = :since, #tries = :tries",
		values: item{
			":state": text(string(s)), ":open": text(open), ":error": text(shorten(reason)), ":attempts": number(int64(attempts)),
			":due": moment(w.Due), ":since": moment(w.Since), ":tries": number(int64(w.Tries)),
		},
	}
	if !w.Asked {
		c.update += " REMOVE #asked"
		return c, err
	}
	c.update += ", #asked = :asked"
	c.values[":asked"] = number(1)
	return c, err
}

func (l *lease) Replace(ctx context.Context, key string, action int, with json.RawMessage) error {
	packed := pack(with)
	bytes := len(packed)
	if bytes > mostAnswer {
		return tooLarge(bytes)
	}
	refused, err := l.update(ctx, change{
		sk:     entryKey(key),
		update: fmt.Sprintf("#answer[%d] = :action, #size = #size + :bytes", action),
		when:   unfinished + " AND #size <= :room",
		values: item{
			":alive": text(alive), ":action": binary(packed), ":bytes": number(int64(bytes)), ":room": number(int64(mostAnswer - bytes)),
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

func (l *lease) Seal(ctx context.Context, key string, actions []json.RawMessage, outcomes []string) error {
	values, bytes := answer(actions, outcomes)
	if bytes > mostAnswer {
		return tooLarge(bytes)
	}
	return l.together(ctx, key, ledger.Day{}, func(k string) (change, error) {
		return change{update: setAnswer + " REMOVE #streamed", values: unlessMember(key, k, values)}, nil
	})
}

// entryIf updates an unfinished entry.
func (l *lease) entryIf(ctx context.Context, key, andWhen, update string, values item) error {
	values[":alive"] = text(alive)
	refused, err := l.update(ctx, change{sk: entryKey(key), update: update, when: unfinished + andWhen, values: values})
	if err == nil && refused != nil {
		return noEntry(key)
	}
	return err
}

// shorten keeps an error's text from growing an item out of bounds.
func shorten(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), mostError)], "")
}
