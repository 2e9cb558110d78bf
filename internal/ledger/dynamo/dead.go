package dynamo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func (l *Ledger) ListDead(ctx context.Context) ([]ledger.Entry, error) {
	return l.listed(ctx, buried, l.dead)
}

func (l *Ledger) ListPending(ctx context.Context) ([]ledger.Entry, error) {
	return l.listed(ctx, alive, func(it item) bool { return strings.HasPrefix(it.text("open"), alive) })
}

func (l *Ledger) ShowPending(ctx context.Context, key string) (ledger.Entry, error) {
	it, err := l.get(ctx, entryKey(key))
	if err != nil {
		return ledger.Entry{}, err
	}
	if !strings.HasPrefix(it.text("open"), alive) {
		return ledger.Entry{}, noEntry(key)
	}
	return decoded(it), nil
}

// listed are the entries, without body and actions, whose open has a prefix, as long as they are what is meant.
func (l *Ledger) listed(ctx context.Context, prefix string, meant func(item) bool) ([]ledger.Entry, error) {
	keys, err := l.list(ctx, prefix)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	items, err := l.fetch(ctx, keys, "#sk", "#seq", "#state", "#attempts", "#error", "#died", "#expires", "#open",
		"#due", "#since", "#tries", "#asked", "#leader", "#members", "#single")
	if err != nil {
		return nil, err
	}
	var entries []ledger.Entry
	for _, sk := range keys {
		if !meant(items[sk]) {
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
	return decoded(it), nil
}

// dead reports whether an item is that of a dead entry that has not expired.
func (l *Ledger) dead(it item) bool {
	return it.text("state") == string(ledger.Dead) && it.number(TTL) > l.now().Unix()
}

// RetryDead writes what it has read, and so only if nobody has written meanwhile.
func (l *Ledger) RetryDead(ctx context.Context, key string, ask bool) error {
	for try := range patience {
		items, alone, err := l.deadSet(ctx, key)
		if err != nil {
			return err
		}
		err = l.putBackAll(ctx, items, ask, alone)
		if !errors.Is(err, ledger.ErrNotDead) {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
	return fmt.Errorf("ledger: putting back %s: it was changed each time meanwhile: try again", key)
}

// putBack changes the item of a dead entry as ledger.Entry.PutBack says; alone: without its set.
func putBack(it item, ask, alone bool) (change, error) {
	e, err := decode(it)
	if err != nil {
		return change{}, err
	}
	if alone {
		e = e.Alone()
	}
	e = e.PutBack(ask)
	c := change{
		sk:     it.text("sk"),
		when:   " AND attribute_exists(#body) AND #w = :seen",
		values: item{":next": text(string(ledger.New)), ":zero": number(0), ":seen": it["w"]},
	}
	set, remove := "#state = :next, #open = #order, #attempts = :zero", "#error, #died, #expires, #draft"
	if alone {
		remove += ", #leader, #members"
	}
	values, _ := answer(e.Actions, e.Done)
	switch {
	case e.Actions == nil:
		remove += ", #answer, #done, #size"
	case ask:
		maps.Copy(c.values, values)
		c.values[":one"] = number(1)
		set += ", #streamed = :one, " + setAnswer
	default:
		c.values[":done"] = values[":done"]
		set += ", #done = :done"
	}
	c.update = set + " REMOVE " + remove
	return c, nil
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
	c = l.ofDead(c, tag)
	found, ok, err := l.apply(ctx, c)
	if err == nil && !ok && unlessTagged(tag, found) != nil {
		return ledger.ErrNotDead
	}
	return err
}

// ofDead is a change as it is made of a dead entry.
func (l *Ledger) ofDead(c change, tag string) change {
	c.update = "SET #w = :w, " + c.update
	c.when = "#state = :dead AND #expires > :now" + c.when
	c.values[":w"], c.values[":dead"], c.values[":now"] = text(tag), text(string(ledger.Dead)), number(l.now().Unix())
	return c
}
