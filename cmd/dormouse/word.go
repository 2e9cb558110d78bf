package main

import (
	"fmt"
	"regexp"
	"time"

	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// What a gateway is doing, in a word or two. dormouse status begins with it.
const (
	asleep          = "asleep"
	draining        = "draining"
	disabled        = "disabled"
	identityRefused = "identity refused"
	unreachable     = "connector unreachable"
	agentAway       = "agent away"
	seatTaken       = "seat taken by another"
	notLetIn        = "credentials refused"
	noIdentity      = "no identity token"
	usedUp          = "budget used up"
	failing         = "failing"
	neverRun        = "never run"
)

// condition is what a gateway is doing, with what an operator is to know and to do about it.
type condition struct {
	Word  string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
	Why   string    `json:"why,omitempty"` // what the other side said, or the last drain
	Do    string    `json:"do,omitempty"`
	Well  bool      `json:"well"` // nobody has to do anything
}

func (c condition) String() string {
	if c.Since.IsZero() {
		return c.Word
	}
	return c.Word + " since " + stamp(c.Since)
}

// hindrances are the words for what kept the last run from the connector, and what to do about it.
var hindrances = map[string][2]string{
	string(drain.IdentityRefused): {identityRefused, "no opt-out: the next drain that is accepted goes on. dormouse doctor shows what was shown; the " +
		"connector has to trust that issuer, audience and subject"},
	drain.Unreachable: {unreachable, "is it up, and is GATEWAY_RELAY_URL right (host, port and path)? Its messages wait with it; sweeps go on looking"},
	string(drain.SeatTaken): {seatTaken, "another socket has this gateway's seat at the connector: stop the other deployment, or give this one another " +
		"GATEWAY_RELAY_ID"},
	string(drain.Replaced): {seatTaken, "two deployments share it: stop one, or give it another GATEWAY_RELAY_ID"},
	drain.NotLetIn: {notLetIn, "the connector has never let these credentials in: is the secret the one that it issued, and the gateway id that " +
		"one's? dormouse rotate replaces it"},
	drain.NoIdentity:     {noIdentity, "the identity token cannot be had: dormouse doctor says from where, and why not"},
	string(drain.Failed): {failing, "dormouse doctor looks for the cause"},
}

// conditionOf says what a gateway is doing. The first that holds is told.
func conditionOf(o ledger.Overview, now time.Time) condition {
	end := o.Plan.After
	switch {
	case o.Odd != nil:
		return condition{Word: failing, Why: fmt.Sprintf("its item `state` has in %q what no version writes there (%s)", o.Odd.Attribute, o.Odd.Holds),
			Do: "nothing is dialled. See to it that nothing else writes to the table, then: " + o.Odd.Way()}
	case o.Standing.Disabled:
		return condition{Word: disabled, Since: o.Standing.DisabledAt, Why: o.Standing.DisabledBy,
			Do: "nothing is dialled, provisioned or retried. Once the connector accepts it again: dormouse enable, then dormouse arm"}
	case o.Held:
		c := condition{Word: draining, Since: since(o.Holder), Why: o.Holder, Well: true}
		if late := now.Sub(o.Beat); late > o.Until.Sub(o.Beat)/2 {
			c.Well = false
			c.Do = fmt.Sprintf("it has not renewed its lease for %s, so it has probably died: the next drain takes over once the lease is "+
				"free, at %s", late.Truncate(time.Second), stamp(o.Until))
		}
		return c
	}
	trouble := end.Hinder
	if trouble.What == "" { // as the version before wrote it
		trouble = o.Standing.Trouble
	}
	if words, known := hindrances[trouble.What]; known {
		return condition{Word: words[0], Since: trouble.Since, Why: trouble.Said, Do: words[1]}
	}
	day := o.Day
	switch {
	case !end.Away.IsZero():
		return condition{Word: agentAway, Since: end.Away, Why: end.Error,
			Do: "its messages wait, for DORMOUSE_GIVE_UP_AFTER at most: dormouse doctor asks it once"}
	case day.Date == ledger.DateOf(now) && day.Most > 0 && day.Turns >= day.Most:
		return condition{Word: usedUp, Why: fmt.Sprintf("%d of %d turns today", day.Turns, day.Most),
			Do: "what comes waits until 00:00 UTC; to go on, raise DORMOUSE_MAX_TURNS_PER_DAY and dormouse arm"}
	case o.Holder != "":
		return condition{Word: asleep, Why: "a drain died without giving its lease back (" + o.Holder + ")",
			Do: "the next drain takes up what it left: dormouse arm, or wait for the sweep"}
	case o.Ended.IsZero():
		return condition{Word: neverRun, Do: "dormouse arm makes it known to the connector; if it has run, this is not its table or not its id"}
	}
	return condition{Word: asleep, Well: true}
}

var sinceInOwner = regexp.MustCompile(`, since (\S+), run `)

// since is when the run began that a lease's owner names.
func since(owner string) time.Time {
	m := sinceInOwner.FindStringSubmatch(owner)
	if m == nil {
		return time.Time{}
	}
	at, _ := time.Parse(time.RFC3339, m[1])
	return at
}
