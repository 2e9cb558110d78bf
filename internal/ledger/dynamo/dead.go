package dynamo

import (
	"context"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func (l *Ledger) ListDead(ctx context.Context) ([]ledger.Entry, error) {
	keys, err := l.list(ctx, buried)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	items, err := l.fetch(ctx, keys, "#sk", "#seq", "#state", "#attempts", "#error", "#died", "#expires")
	if err != nil {
		return nil, err
	}
	var entries []ledger.Entry
	for _, sk := range keys {
		if !l.dead(items[sk]) {
			continue
		}
		e, err := decode(items[sk])
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func (l *Ledger) ShowDead(ctx context.Context, key string) (ledger.Entry, error) {
	it, err := l.get(ctx, entryKey(key))
	if err != nil {
		return ledger.Entry{}, err
	}
	if !l.dead(it) {
		return ledger.Entry{}, ledger.ErrNotDead
	}
	return decode(it)
}

// dead reports whether an item is that of a dead entry that has not expired.
func (l *Ledger) dead(it item) bool {
	return it.text("state") == string(ledger.Dead) && it.number(TTL) > l.now().Unix()
}

func (l *Ledger) RetryDead(ctx context.Context, key string) error {
	return l.changeDead(ctx, key, change{
		update: "#state = :next, #open = #order, #attempts = :zero REMOVE #error, #died, #expires",
		when:   " AND attribute_exists(#body)",
		values: item{":next": text(string(ledger.New)), ":zero": number(0)},
	})
}

func (l *Ledger) DropDead(ctx context.Context, key string) error {
	return l.changeDead(ctx, key, change{
		update: "#state = :next, #expires = :expires REMOVE #open, #order, #error, #died, " + payload,
		values: item{":next": text(string(ledger.Finished)), ":expires": number(l.now().Add(keepFinished).Unix())},
	})
}

// changeDead changes a dead entry. A refusal by an item that has the tag is that of a second try: the first was made.
func (l *Ledger) changeDead(ctx context.Context, key string, c change) error {
	tag := l.tag()
	c.sk = entryKey(key)
	c.update = "SET #w = :w, " + c.update
	c.when = "#state = :dead AND #expires > :now" + c.when
	c.values[":w"], c.values[":dead"], c.values[":now"] = text(tag), text(string(ledger.Dead)), number(l.now().Unix())
	found, ok, err := l.apply(ctx, c)
	if err == nil && !ok && unlessTagged(tag, found) != nil {
		return ledger.ErrNotDead
	}
	return err
}
