package dynamo

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// The attributes of the item of a message's last state: content, key and number as in ledger.LastState; expires; w, the tag
// of the last write.

// unlessKnown is the condition for an item that is new.
const unlessKnown = "attribute_not_exists(#pk) OR #expires <= :now"

func messageKey(message string) string { return "m#" + message }

// claim is an entry that is a state of a message, until it is in the journal or known as a repeat. It is taken to be the first
// state, and written as such. If that is refused, the refusal says what else there is; then the claim is decided with that.
//
// Its two writes, the entry and the message's last state, are made in one transaction, or neither is. One process at a time
// makes claims, the one with the lease, and one transaction after the other.
type claim struct {
	e           ledger.Entry // as it came
	at          int          // its index in the list
	item        item         // of the entry, but for its sk
	entry, last *write
	next        ledger.LastState // that these make
	known       map[string]item  // what has been seen of other items, by sk; nil: it was not there

	repeat *ledger.KnownState // the entry that it repeats: there is nothing to write
}

// buffers is the buffer id that an entry came under, as a list.
func buffers(e ledger.Entry) types.AttributeValue {
	list := &types.AttributeValueMemberL{Value: []types.AttributeValue{}}
	if e.Buffer != "" {
		list.Value = append(list.Value, text(e.Buffer))
	}
	return list
}

// try gives a claim the writes that make it the state next of its message.
func (l *lease) try(c *claim, next ledger.LastState) {
	now, message := l.now(), messageKey(c.e.Message)
	it := maps.Clone(c.item)
	it["sk"] = text(entryKey(next.Key))
	c.entry = l.put(it, unlessKnown, item{":now": number(now.Unix())})
	when, values := unlessKnown, item{":now": number(now.Unix())}
	if seen := c.known[message]; seen.has("w") {
		when, values = "#w = :seen", item{":seen": seen["w"]}
	}
	c.next = next
	c.last = l.put(item{
		"sk": text(message), "content": text(next.Content), "key": text(next.Key), "number": number(int64(next.Number)),
		TTL: number(now.Add(ledger.StateLife).Unix()),
	}, when, values)
}

// undecided says whether a write of a claim has been refused, and not because it had been made.
func (c *claim) undecided() bool {
	return c.repeat == nil && !(c.entry.refused && c.entry.found == nil) && (c.entry.refused || c.last.refused)
}

func (g *group) undecided() bool { return slices.ContainsFunc(g.claims, (*claim).undecided) }

// decide says of each claim whose writes were refused what else it is, and has that written.
func (l *lease) decide(ctx context.Context, g *group) error {
	select {
	case <-g.done:
		return nil
	default:
	}
	for _, c := range g.claims {
		if !c.undecided() {
			continue
		}
		last, err := l.look(ctx, c)
		if err != nil {
			return err
		}
		g.remove(c.entry, c.last)
		repeat, next := c.e.Place(last, l.knownStates(c))
		if repeat == nil {
			l.try(c, next)
			g.add(c.entry, c.last)
			continue
		}
		c.repeat = repeat
		if repeat.Learns(c.e) {
			g.add(l.changeWrite(change{
				sk: entryKey(repeat.Key), update: "#buffers = list_append(#buffers, :more)", when: "attribute_exists(#buffers)",
				values: item{":more": buffers(c.e)},
			}))
		}
	}
	return nil
}

// look sees to it that all is known that decides a claim, and returns the last state of its message.
func (l *lease) look(ctx context.Context, c *claim) (last ledger.LastState, err error) {
	for _, w := range []*write{c.entry, c.last} {
		if w.refused {
			c.known[w.sk] = w.found
		}
	}
	message := messageKey(c.e.Message)
	if _, seen := c.known[message]; !seen { // the entry alone was refused
		if c.known[message], err = l.get(ctx, message); err != nil {
			return last, err
		}
	}
	if it := c.known[message]; it.number(TTL) > l.now().Unix() {
		last = ledger.LastState{Content: it.text("content"), Key: it.text("key"), Number: int(it.number("number"))}
	}
	if last.Number < 2 || l.decided(c, last) {
		return last, nil
	}
	var keys []string
	for _, key := range c.e.StateKeys(last) {
		keys = append(keys, entryKey(key))
	}
	items, err := l.fetch(ctx, keys, "#sk", "#state", "#buffers", "#expires")
	if err != nil {
		return last, err
	}
	for _, sk := range keys {
		c.known[sk] = items[sk]
	}
	return last, nil
}

// decided reports whether the entry of a claim's key, and the last state, decide it: no other state has to be looked at.
func (l *Ledger) decided(c *claim, last ledger.LastState) bool {
	first, there := l.knownState(c, c.e.Key)
	isLast := last.Content == c.e.Key
	switch {
	case there && slices.Contains(first.Buffers, c.e.Buffer):
		return true
	case isLast && last.Key == c.e.Key && there && !c.e.Edit:
		return true
	}
	return !isLast && !there
}

// knownStates are the entries that a claim knows. All have its content.
func (l *Ledger) knownStates(c *claim) (list []ledger.KnownState) {
	for _, sk := range slices.Sorted(maps.Keys(c.known)) {
		if key, is := strings.CutPrefix(sk, entryKey("")); is {
			if s, there := l.knownState(c, key); there {
				list = append(list, s)
			}
		}
	}
	return list
}

// knownState is what a claim knows of the entry of that key.
func (l *Ledger) knownState(c *claim, key string) (s ledger.KnownState, there bool) {
	it := c.known[entryKey(key)]
	if !it.has("state") || it.has(TTL) && it.number(TTL) <= l.now().Unix() {
		return s, false
	}
	s = ledger.KnownState{Key: key, State: ledger.State(it.text("state")), Unsaid: !it.has("buffers")}
	for _, v := range it.list("buffers") {
		s.Buffers = append(s.Buffers, item{"id": v}.text("id"))
	}
	return s, true
}
