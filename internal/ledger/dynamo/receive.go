package dynamo

import (
	"context"
	"fmt"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

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

// receive writes the first entries, as many as fit into one transaction: all of them, or none. states are those that it
// found, as in Receive. It sets the Key of those whose content has come back.
func (l *lease) receive(ctx context.Context, entries []ledger.Entry) (states []ledger.State, err error) {
	now := l.now()
	g := &group{epoch: l.grant.Epoch}
	place := map[*write]int{} // among the states, of entries that are no state of a message
	for i := range entries {
		e := &entries[i]
		it, fits := received(*e, g.epoch, now)
		if !fits {
			states = append(states, ledger.TooLarge)
			continue
		}
		if e.Message == "" {
			w := l.put(it, unlessKnown, item{":now": number(now.Unix())})
			if !g.takes(w) {
				break
			}
			g.add(w)
			place[w] = i
		} else {
			c := &claim{e: *e, at: i, item: it, known: map[string]item{}}
			l.try(c, ledger.LastState{Content: e.Key, Key: e.Key, Number: 1})
			if !g.takes(c.entry, c.last) {
				break
			}
			g.claims = append(g.claims, c)
			g.add(c.entry, c.last)
		}
		states = append(states, "")
	}
	if err := l.commit(ctx, g); err != nil {
		return nil, err
	}
	for w, i := range place {
		if w.found != nil {
			states[i] = ledger.State(w.found.text("state"))
		}
	}
	for _, c := range g.claims {
		entries[c.at].Key, entries[c.at].Edit = c.next.Key, c.e.Edit || c.next.Number > 1
		if c.repeat != nil {
			entries[c.at].Key, states[c.at] = c.repeat.Key, c.repeat.State
		}
	}
	for i, found := range states {
		if found == "" && entries[i].State != ledger.Dead {
			l.noted(entries[i].Key, placeOf(entries[i], g.epoch))
		}
	}
	return states, nil
}

func placeOf(e ledger.Entry, epoch int64) place {
	return place{epoch: epoch, seq: e.Seq, running: isRunning(e.State), session: e.Session}
}

// received is the item of a new entry; fits is false if it would be too large.
func received(e ledger.Entry, epoch int64, now time.Time) (it item, fits bool) {
	at := placeOf(e, epoch)
	it = item{
		"sk":       text(entryKey(e.Key)),
		"state":    text(string(e.State)),
		"seq":      number(e.Seq),
		"attempts": number(int64(e.Attempts)),
		"order":    text(at.order()),
		"open":     text(at.String()),
	}
	if len(e.Body) > 0 {
		body := pack(e.Body)
		if len(body) > mostBody {
			return nil, false
		}
		it["body"] = binary(body)
	}
	if e.Message != "" {
		it["buffers"] = buffers(e)
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

// grave is what a dead entry gets, as values of an expression.
func grave(key string, now time.Time) item {
	return item{
		":open":    text(fmt.Sprintf("%s%019d#%s", buried, now.UnixMilli(), key)),
		":died":    moment(now),
		":expires": number(now.Add(keepDead).Unix()),
	}
}
