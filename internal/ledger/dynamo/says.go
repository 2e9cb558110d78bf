package dynamo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// The attributes of a say's item: body, packed, and open, both until it is taken; put, when it arrived; taken and expires
// from then on; w, the tag of the last write. open is an index key of its own kind, by arrival, which recovery does not
// look for: the version before leaves says alone.
//
// Of a mark for a say, state has said beside asked: a count, so that a holder who has looked for says knows that one has come
// since. A write that is made twice counts twice, and costs a look.

const (
	sayPrefix = "s#"
	sayable   = "attribute_not_exists(#pk) OR #expires <= :now"
)

func sayKey(key string) string { return sayPrefix + key }

// PutSay makes one write. Its answer may be lost: then the item that refuses the second has the tag of the first.
func (l *Ledger) PutSay(ctx context.Context, s ledger.Say) (ledger.SayState, error) {
	body := pack(s.Body)
	if len(body) > mostBody {
		return "", fmt.Errorf("%w: a say of %d bytes when compressed; %d fit", ledger.ErrTooLarge, len(body), mostBody)
	}
	now, tag := l.Now(), l.tag()
	sum := sha256.Sum256([]byte(s.Key))
	found, ok, err := l.apply(ctx, change{
		sk:     sayKey(s.Key),
		update: "SET #body = :body, #open = :open, #put = :put, #w = :w REMOVE #taken, #expires",
		when:   sayable,
		values: item{
			":body": binary(body), ":put": moment(now), ":w": text(tag), ":now": number(now.Unix()),
			":open": text(fmt.Sprintf("%s%019d#%s", sayPrefix, now.UnixNano(), hex.EncodeToString(sum[:4]))),
		},
	})
	switch {
	case err != nil:
		return "", err
	case ok, found.text("w") == tag:
		return ledger.SayNew, nil
	case found.has("open"):
		return ledger.SayWaits, nil
	}
	return ledger.SayTaken, nil
}

// hear notes what the state item says of says. Answers may come in another order than they were given.
func (l *lease) hear(found item) {
	for said := found.number("said"); ; {
		before := l.said.Load()
		if said <= before || l.said.CompareAndSwap(before, said) {
			return
		}
	}
}

func (l *lease) Said() bool { return l.said.Load() > l.heard.Load() }

func (l *lease) Says(ctx context.Context) (list []ledger.Say, err error) {
	if l.givenBack.Load() {
		return nil, ledger.ErrLost
	}
	said := l.said.Load() // whoever marks has put the say before
	keys, err := l.list(ctx, sayPrefix)
	if err != nil {
		return nil, err
	}
	items, err := l.fetch(ctx, keys)
	if err != nil {
		return nil, err
	}
	for _, sk := range keys {
		it := items[sk]
		if !it.has("open") {
			continue
		}
		s := ledger.Say{Key: strings.TrimPrefix(sk, sayPrefix), At: it.time("put")}
		if s.Body, err = unpack(it.bytes("body")); err != nil {
			s.Body = nil // whoever takes it finds that it is no say
		}
		list = append(list, s)
	}
	l.heard.Store(said)
	return list, nil
}

// inbox is how many says wait, and when the oldest arrived: the index alone tells.
func (l *Ledger) inbox(ctx context.Context) (n int, oldest time.Time, err error) {
	for from := ""; ; {
		from, err = l.page(ctx, sayPrefix, from, func(_, open string) {
			if n++; n == 1 {
				oldest = arrival(open)
			}
		})
		if err != nil || from == "" {
			return n, oldest, err
		}
	}
}

// arrival is the time in an index key of a say; zero if it cannot be read.
func arrival(open string) time.Time {
	nanos, _, _ := strings.Cut(strings.TrimPrefix(open, sayPrefix), "#")
	n, err := strconv.ParseInt(nanos, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func (l *lease) TakeSays(ctx context.Context, taken ...ledger.Taking) ([]ledger.State, error) {
	states := make([]ledger.State, 0, len(taken))
	for len(states) < len(taken) {
		next, err := l.takeSays(ctx, taken[len(states):])
		if err != nil {
			return states, err
		}
		states = append(states, next...)
	}
	return states, nil
}

// takeSays takes the first says, as many as fit into one transaction: all of them, or none. One that belongs to an entry has a
// transaction of its own.
func (l *lease) takeSays(ctx context.Context, taken []ledger.Taking) (states []ledger.State, err error) {
	now := l.now()
	g := &group{epoch: l.grant.Epoch}
	writes := map[*write]int{}
	for i, t := range taken {
		all := l.takingWrites(t, now)
		if all == nil {
			states = append(states, ledger.TooLarge)
			continue
		}
		if g.needs != nil || t.Of != "" && len(g.writes) > 0 || !g.takes(all...) {
			break
		}
		if g.add(all...); t.Of != "" {
			g.needs = all[len(all)-1]
		}
		writes[all[0]] = i
		states = append(states, "")
	}
	if err := l.commit(ctx, g); err != nil {
		return nil, err
	}
	for w, i := range writes {
		if g.void {
			states[i] = ledger.Ended
			continue
		}
		if w.found != nil {
			states[i] = ledger.State(w.found.text("state"))
		} else if taken[i].Entry.State != ledger.Dead {
			l.noted(taken[i].Entry.Key, placeOf(taken[i].Entry, g.epoch))
		}
		if taken[i].Ends {
			_ = l.last(taken[i].Of, nil)
		}
	}
	return states, nil
}

// takingWrites are the writes that take a say: first that of its entry, last that of the entry which it belongs to, if there is
// one. They are nil if the entry is too large.
func (l *lease) takingWrites(t ledger.Taking, now time.Time) []*write {
	it, fits := received(t.Entry, l.grant.Epoch, now)
	if fits && len(t.Entry.Actions) > 0 {
		values, bytes := answer(t.Entry.Actions, make([]string, len(t.Entry.Actions)))
		for name, value := range values {
			it[name[1:]] = value
		}
		fits = bytes <= mostAnswer
	}
	if !fits {
		return nil
	}
	all := []*write{l.put(it, unlessKnown, item{":now": number(now.Unix())}), l.changeWrite(change{
		sk: sayKey(t.Say), update: "#taken = :taken, #expires = :expires REMOVE #open, #body", when: "attribute_exists(#open)",
		values: item{":taken": moment(now), ":expires": number(now.Add(ledger.SayLife).Unix())},
	})}
	switch {
	case t.Ends:
		for _, key := range l.setOf(t.Of) {
			all = append(all, l.changeWrite(ofOpen(l.finishing(key))))
		}
	case t.Of != "":
		all = append(all, l.check(entryKey(t.Of), unfinished, item{":alive": text(alive)}))
	}
	return all
}

func (l *lease) Known(ctx context.Context, keys ...string) (map[string]ledger.Entry, error) {
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
	found := map[string]ledger.Entry{}
	for i, key := range keys {
		it, ok := items[sks[i]]
		if !ok || it.has(TTL) && it.number(TTL) <= l.now().Unix() {
			continue
		}
		found[key] = decoded(it)
		l.leads(key, found[key].Set.Members)
	}
	return found, nil
}
