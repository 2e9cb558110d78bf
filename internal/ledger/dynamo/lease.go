package dynamo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// The attributes of the state item. Times and durations are milliseconds.
//
//	epoch     counts acquisitions
//	keyed     how many of them by a version that keeps index keys as index.go says
//	unkeyed, trusted  how many not, as far as was seen; the first epoch whose index keys say all
//	owner     whose the lease is; missing: it is free
//	before    the owner that it was taken from without being given back; else empty
//	until     when it is free again, the margin included
//	life      the same as a duration
//	freed     the tag of the write that gave it back last
//	ended     when that was
//	asked     when somebody asked the holder to look again; missing: nobody
//	cleared   counts how often the mark was cleared, with the epoch in front
//	said      counts how often a holder was asked to look for says
//	full      when the budget of empty looks is full again
//	at, every the plan of sweeps
//	why       the same in words
//	how, howby  how the run ended that planned it, and why
//	met       when the connector was heard last
//	poked     when a poke last started a run
//	swept     when a sweep last found what no poke had told of
//	version   of the gateway that wrote this
//	hinder, hindered, hinderby  what kept that run from the connector, since when, and in what words; else missing
//	away      since when the agent is away; else missing
//	off,offby when the instance was switched off, and the connector's words; missing: it is on
//	shaken    the gateway id of the last handshake
//	declared  the fingerprint of the policy that the connector took last
//	trouble   what hinders it and does not switch it off, in a word; missing, as the next two: nothing
//	troubled  since when
//	troubleby the connector's words
//	fresh     when fresh gateway ids were taken
//	day, turns, most  as in ledger.Day; missing: no turn was counted
//	limited, limitday as in ledger.Limited
const state = "state"

const held = "#epoch = :epoch AND attribute_exists(#owner)"

// margin is what two clocks may differ by.
func margin(life time.Duration) time.Duration { return min(10*time.Second, life/3) }

// Acquire makes one write if it takes the lease, or is refused and leaves no mark. Why it was refused it reads from the
// item that refused it.
func (l *Ledger) Acquire(ctx context.Context, ask ledger.Ask) (ledger.Lease, error) {
	owner := ask.Owner + "/" + rand.Text() // two asks are never taken for one
	var seen item
	for range patience {
		now := l.now()
		found, ok, err := l.apply(ctx, l.acquisition(ask, owner, now, seen))
		if err != nil {
			return nil, err
		}
		if _, whole := found.whole("epoch"); (whole || !found.has("epoch")) && (ok || found.text("owner") == owner) { // of a number with a fraction a condition knows nothing
			taken := &lease{Ledger: l, keyed: found.number("keyed"), unkeyed: found.number("unkeyed"), trusted: found.number("trusted"),
				places: map[string]place{}, sets: map[string][]string{}, grant: ledger.Grant{
					Epoch: found.number("epoch"), Standing: standing(found), Plan: plan(found), TakenOver: found.text("before") != "",
					Day: day(found), Limited: limited(found),
				}}
			taken.hear(found)
			return taken, nil
		}
		seen = found
		odd, err := l.odd(ctx, found, now)
		switch {
		case err != nil:
			return nil, err
		case odd != nil:
			return nil, odd
		}
		why := refusal(found, ask.Reason, now)
		switch {
		case why == nil: // the budget was not what seen said, or the clock of whoever gave the lease back is ahead of ours
			continue
		case errors.Is(why, ledger.ErrDisabled), ask.Reason == ledger.Schedule, ask.Reason == ledger.Check:
			return nil, why
		}
		marked, err := l.ask(ctx, found, now, ask.Reason == ledger.Speak)
		if err != nil {
			return nil, err
		}
		if marked {
			return nil, why
		}
		// The holder is gone, or there is a new one: try again.
	}
	return nil, fmt.Errorf("ledger: taking the lease: it changed hands at each of %d tries: try again", patience)
}

// acquisition takes the lease if it is free and there is a reason to look. seen is what the try before found; nil at first. A
// request that arrives late, when its sender has long sent another one, is older than the end of the run that this led to, and
// knows of no epoch behind it: it takes nothing. What only the holder's own writes compare (cleared, said) begins anew, whatever
// stood there.
func (l *Ledger) acquisition(ask ledger.Ask, owner string, now time.Time, seen item) change {
	life, full := ask.Life+margin(ask.Life), seen.time("full")
	c := change{
		sk: state,
		update: "SET #epoch = if_not_exists(#epoch, :zero) + :one, #keyed = if_not_exists(#keyed, :zero) + :one, #before = if_not_exists(#owner, :nobody), #owner = :owner, " +
			"#until = :until, #life = :life, #cleared = :zero, #said = :zero",
		when: counts + " AND attribute_not_exists(#off) AND (attribute_not_exists(#owner) OR #until <= :now) " +
			"AND (attribute_not_exists(#ended) OR #ended <= :now OR #epoch = :seen)",
		values: item{
			":zero": number(0), ":one": number(1), ":most": number(mostEpochs), ":nobody": text(""), ":now": moment(now), ":seen": number(seen.number("epoch")),
			":owner": text(owner), ":until": moment(now.Add(life)), ":life": number(life.Milliseconds()),
		},
	}
	switch ask.Reason {
	case ledger.Wake: // an expression knows no maximum, so there are two forms; the first is the usual one
		next, _ := ledger.SpendToken(full, now)
		c.update += ", #full = :next"
		c.values[":next"] = moment(next)
		if _, is := seen.whole("full"); full.Before(now) && (is || !seen.has("full")) {
			c.when += " AND (attribute_not_exists(#full) OR #full < :now)"
		} else {
			c.when += " AND #full = :full"
			c.values[":full"] = seen["full"]
		}
	case ledger.Schedule: // a dead holder's lease is a reason to look, too
		c.when += " AND (attribute_exists(#owner) OR attribute_exists(#asked) OR attribute_not_exists(#at) OR #at <= :early)"
		c.values[":early"] = moment(now.Add(ledger.SweepEarly))
	}
	return c
}

// refusal says why found refused an acquisition; nil if another try may be accepted.
func refusal(found item, reason ledger.Reason, now time.Time) error {
	switch {
	case found.has("off"):
		return ledger.ErrDisabled
	case found.has("owner") && found.time("until").After(now):
		return &ledger.HeldError{By: holder(found), Until: found.time("until")}
	case reason == ledger.Schedule:
		return ledger.ErrNotDue
	}
	if _, ok := ledger.SpendToken(found.time("full"), now); !ok && reason == ledger.Wake {
		return ledger.ErrNotDue
	}
	return nil
}

// holder is the owner without the nonce that Acquire adds.
func holder(found item) string {
	by := found.text("owner")
	if at := strings.LastIndex(by, "/"); at >= 0 {
		by = by[:at]
	}
	return by
}

// ask marks the instance as asked, for a say or not, if the lease is still with the holder that was found, or free if it was.
func (l *Ledger) ask(ctx context.Context, found item, now time.Time, say bool) (marked bool, err error) {
	if found.has("asked") && !say {
		return true, nil // it stood at the moment that found shows: a poke that changes nothing writes nothing
	}
	c := change{
		sk:     state,
		update: "SET #asked = :now",
		when:   "#epoch = :epoch AND attribute_not_exists(#owner)",
		values: item{":now": moment(now), ":epoch": number(found.number("epoch"))},
	}
	if found.has("owner") {
		c.when = "#epoch = :epoch AND #owner = :owner"
		c.values[":owner"] = found["owner"]
	}
	if say {
		c.update += ", #said = if_not_exists(#said, :zero) + :one"
		c.values[":zero"], c.values[":one"] = number(0), number(1)
	}
	_, marked, err = l.apply(ctx, c)
	return marked, err
}

// lease is the lease of a Ledger, in its holder's hands. The epoch in its grant fences every write.
type lease struct {
	*Ledger
	grant     ledger.Grant
	clears    atomic.Int64
	givenBack atomic.Bool // set once the table says so; until then the table's own condition refuses

	keyed, unkeyed, trusted int64 // of state, as Acquire found them; Recover's only

	said, heard atomic.Int64 // of state, as it was last seen, and as it was when the says were last read

	placing sync.Mutex
	places  map[string]place    // of the unfinished entries that this lease has written or read, by key
	sets    map[string][]string // of the leaders among them: their members
}

var _ ledger.Lease = (*lease)(nil)

func (l *lease) Grant() ledger.Grant { return l.grant }
func (l *lease) GivenBack() bool     { return l.givenBack.Load() }

// holds reports whether the state item found says that the lease is still held.
func (l *lease) holds(found item) bool {
	return found.number("epoch") == l.grant.Epoch && found.has("owner")
}

// holding makes a write to state that only the holder may make, and that may be made twice.
func (l *lease) holding(ctx context.Context, update string, values item) error {
	if l.givenBack.Load() {
		return ledger.ErrLost
	}
	if values == nil {
		values = item{}
	}
	values[":epoch"] = number(l.grant.Epoch)
	found, ok, err := l.apply(ctx, change{sk: state, update: update, when: held, values: values})
	if err == nil && !ok {
		return ledger.ErrLost
	}
	l.hear(found)
	return err
}

func (l *lease) Heartbeat(ctx context.Context) error {
	return l.holding(ctx, "SET #until = #life + :now", item{":now": moment(l.now())})
}

// Clear must not be made twice: the copy of a request that was sent again may arrive late, and would take a later mark away.
func (l *lease) Clear(ctx context.Context) error {
	if l.givenBack.Load() {
		return ledger.ErrLost
	}
	n := l.grant.Epoch<<20 + l.clears.Add(1)
	found, ok, err := l.apply(ctx, change{
		sk: state, update: "SET #cleared = :cleared REMOVE #asked",
		when:   held + " AND (attribute_not_exists(#cleared) OR #cleared < :cleared)",
		values: item{":epoch": number(l.grant.Epoch), ":cleared": number(n)},
	})
	if err == nil && !ok && !(l.holds(found) && found.number("cleared") == n) {
		return ledger.ErrLost
	}
	if err == nil {
		l.hear(found)
	}
	return err
}

func (l *lease) Release(ctx context.Context, plan ledger.Plan, received bool) error {
	_, err := l.giveBack(ctx, plan, received, " AND attribute_not_exists(#asked)")
	return err
}

// LookAgain reads and then writes: while the lease is held nobody else touches the budget.
func (l *lease) LookAgain(ctx context.Context, received bool) (bool, error) {
	found, err := l.get(ctx, state)
	switch {
	case err != nil:
		return false, err
	case !l.holds(found):
		return false, ledger.ErrLost
	}
	full := found.time("full")
	if received {
		full = time.Time{}
	}
	next, ok := ledger.SpendToken(full, l.now())
	if !ok {
		return false, nil
	}
	return true, l.holding(ctx, "SET #full = :next", item{":next": moment(next)})
}

func (l *lease) HandOff(ctx context.Context, plan ledger.Plan, received bool) (asked bool, err error) {
	return l.giveBack(ctx, plan, received, "")
}

func (l *lease) giveBack(ctx context.Context, plan ledger.Plan, received bool, andWhen string) (asked bool, err error) {
	if l.givenBack.Load() {
		return false, ledger.ErrLost
	}
	freed := l.tag()
	c := change{
		sk:   state,
		when: held + andWhen,
		values: item{
			":epoch": number(l.grant.Epoch), ":freed": text(freed), ":now": moment(l.now()),
			":at": moment(plan.At), ":every": number(plan.Every.Milliseconds()),
		},
	}
	set, remove := c.tell(plan)
	c.update = "SET #at = :at, #every = :every, #freed = :freed, #ended = :now" + set + " REMOVE #owner, #until" + remove
	if received {
		c.update += ", #full"
	}
	found, ok, err := l.apply(ctx, c)
	switch {
	case err != nil:
		return false, err
	case ok, found.text("freed") == freed:
		l.givenBack.Store(true)
		return found.has("asked"), nil
	case !l.holds(found):
		return false, ledger.ErrLost
	}
	l.hear(found)
	return true, ledger.ErrAsked
}
