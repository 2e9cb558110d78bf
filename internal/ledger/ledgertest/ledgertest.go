// Package ledgertest is what every ledger must pass (Run), and a way to put faults around the leases that one gives (Wrap).
// Only tests import it.
package ledgertest

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// Subject is an empty ledger and the clock that it goes by.
type Subject struct {
	ledger.Ledger
	Now     func() time.Time
	Advance func(time.Duration)
}

const life = 30 * time.Second

// Run puts ledgers to the test. start calls its argument once, with a fresh one.
func Run(t *testing.T, start func(*testing.T, func(*testing.T, Subject))) {
	tests := map[string]func(*testing.T, *is.I, Subject){
		"one holder at a time":                        oneHolder,
		"racing acquirers have one winner":            racing,
		"a dead holder's lease is free after a life":  deadHolder,
		"a heartbeat renews it":                       heartbeat,
		"a loser marks the holder":                    marks,
		"a schedule marks nobody":                     scheduleMarksNobody,
		"a hand-off ignores the mark, and tells it":   handOff,
		"an old epoch writes nothing":                 oldEpoch,
		"a schedule runs when a sweep is due":         schedule,
		"a schedule takes up what a dead holder left": scheduleAfterDeath,
		"empty looks have a budget":                   budget,
		"receiving gives every token back":            budgetBack,
		"a revoked instance stays off":                disabled,
		"a handshake is remembered":                   handshaken,
		"who is refused learns of the holder":         holder,
		"another look takes a token":                  lookAgain,
		"a declared policy is remembered":             declared,
		"trouble is remembered until it is over":      trouble,
		"fresh ids are limited":                       freshIDs,
		"an instance at a glance":                     overview,
		"how a run ended is told":                     endings,
		"a delivery is new once":                      receive,
		"edits are told from repeats":                 states,
		"a state that comes back has another key":     stateKeys,
		"concurrent receipts of states":               statesAtOnce,
		"an answer is kept with its outcomes":         keep,
		"a streamed answer grows and stays open":      extend,
		"a draft is known until its entry ends":       draft,
		"a dead delivery is not recovered":            dead,
		"what waits keeps its due time":               deferred,
		"a wait is over with a new answer or outcome": waitOver,
		"a kept action is replaced in its place":      replaced,
		"what is owed is an open entry":               owed,
		"a sealed answer is whole":                    sealed,
		"what is buried keeps its answer":             buried,
		"recovery is in arrival order":                recovery,
		"recovery is by arrival, not by receipt":      arrivalOrder,
		"recovery reads no entry":                     unread,
		"what is loaded is unfinished":                load,
		"what is not finished is kept for ever":       keptForEver,
		"a delivery may be dead on arrival":           deadOnArrival,
		"concurrent receipts of one delivery":         receiveAtOnce,
		"many are received in one call":               receiveMany,
		"a big event and its answer come back whole":  big,
		"the dead are listed and shown":               graveyard,
		"a dead delivery is put back in its place":    retryDead,
		"a dead delivery keeps its answer":            deadAnswer,
		"put back, its answer is sent on":             retryAnswer,
		"put back to be asked again":                  retryAsking,
		"put back, a broken stream is asked again":    retryBroken,
		"a dropped one is finished":                   dropDead,
		"what is not dead is left alone":              notDead,
		"a prompt belongs to its first answer":        prompts,
		"a prompt is answered where it was asked":     promptPlace,
		"a prompt's time runs out":                    promptTimeout,
		"an answered prompt is known as answered":     promptAnswered,
		"a prompt put again is not open again":        promptAgain,
		"what is known of chats outlives a run":       chats,
		"notes of chats go side by side":              chatsAtOnce,
		"a chat is forgotten when it is silent":       chatForgotten,
		"turns of a day are counted with their start": counted,
		"counts at once lose none":                    countedAtOnce,
		"a loser counts and notes nothing":            loserNotes,
		"a say is said once":                          sayOnce,
		"a say becomes an entry":                      sayBecomesEntry,
		"a say of a message that has ended stays":     sayOfEntry,
		"a say marks the holder":                      sayMark,
		"says are in arrival order":                   sayOrder,
		"concurrent says of one key":                  sayAtOnce,
		"a loser takes no says":                       sayByLoser,
		"a say waits while the instance is off":       saySwitchedOff,
		"a say takes no token":                        sayWithoutToken,
		"a set is started and finished in one step":   sets,
		"a set waits, and is given up, as one":        setsWait,
		"a set's answer is its leader's":              setsAnswer,
		"a parted set is entries of their own":        setsParted,
		"a broken stream's set tells what was sent":   setsPartedSent,
		"a dead set with an answer is put back whole": setsPutBack,
		"dead sets without an answer come back alone": setsPutBackAlone,
		"a set of many is one step":                   setsLarge,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			start(t, func(t *testing.T, s Subject) { test(t, is.New(t), s) })
		})
	}
}

// Recover returns the unfinished entries, read, in the order they arrived.
func Recover(ctx context.Context, j ledger.Journal) ([]ledger.Entry, error) {
	left, err := Left(ctx, j)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, e := range left {
		keys = append(keys, e.Key)
	}
	return j.Load(ctx, keys...)
}

// Left returns what is known of the unfinished entries unread, of all pages.
func Left(ctx context.Context, j ledger.Journal) (left []ledger.Left, err error) {
	for from := ""; ; {
		page, err := j.Recover(ctx, from)
		if err != nil {
			return nil, err
		}
		left = append(left, page.Left...)
		if from = page.Next; from == "" {
			return left, nil
		}
	}
}

// Pages makes small pages of what a journal in memory returns as one.
type Pages struct {
	Size int
	left []ledger.Left
}

// Recover is j's, page by page.
func (p *Pages) Recover(ctx context.Context, j ledger.Journal, from string) (ledger.Page, error) {
	if from == "" {
		whole, err := j.Recover(ctx, "")
		if err != nil {
			return whole, err
		}
		p.left = whole.Left
	}
	at, _ := strconv.Atoi(from)
	end := min(at+p.Size, len(p.left))
	page := ledger.Page{Left: p.left[at:end]}
	if end < len(p.left) {
		page.Next = strconv.Itoa(end)
	}
	return page, nil
}

// Wrap returns l with wrap put around each lease that it gives: for tests of what a ledger's failures lead to.
func Wrap(l ledger.Ledger, wrap func(ledger.Lease) ledger.Lease) ledger.Ledger {
	return wrapped{l, wrap}
}

type wrapped struct {
	ledger.Ledger
	wrap func(ledger.Lease) ledger.Lease
}

func (w wrapped) Acquire(ctx context.Context, ask ledger.Ask) (ledger.Lease, error) {
	l, err := w.Ledger.Acquire(ctx, ask)
	if err != nil {
		return nil, err
	}
	return w.wrap(l), nil
}

func ask(r ledger.Reason) ledger.Ask {
	return ledger.Ask{Reason: r, Owner: "run-1", Life: life}
}

func mustAcquire(t *testing.T, s Subject, r ledger.Reason) ledger.Lease {
	t.Helper()
	l, err := s.Acquire(t.Context(), ask(r))
	if err != nil {
		t.Fatalf("acquire for %s: %v", r, err)
	}
	return l
}

func entry(key string) ledger.Entry {
	return ledger.Entry{Key: key, State: ledger.New, Body: json.RawMessage(`{"k":"` + key + `"}`)}
}

// one receives an entry and returns the state that was found of it.
func one(t *testing.T, l ledger.Journal, e ledger.Entry) ledger.State {
	t.Helper()
	states, err := l.Receive(t.Context(), e)
	if err != nil || len(states) != 1 {
		t.Fatalf("receive: %d states, %v", len(states), err)
	}
	return states[0]
}
