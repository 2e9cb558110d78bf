package dynamo

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// A member names its leader (leader), a leader its members (members); single is there once a set was parted. The version before
// neither reads nor changes these: for it each entry is on its own.

func setIn(it item) (s ledger.Set) {
	s.Leader, s.Single = it.text("leader"), it.has("single")
	for _, v := range it.list("members") {
		s.Members = append(s.Members, item{"key": v}.text("key"))
	}
	return s
}

func keyList(keys []string) types.AttributeValue {
	list := &types.AttributeValueMemberL{Value: []types.AttributeValue{}}
	for _, key := range keys {
		list.Value = append(list.Value, text(key))
	}
	return list
}

// leads notes which entries one leads.
func (l *lease) leads(key string, members []string) {
	l.placing.Lock()
	defer l.placing.Unlock()
	if len(members) == 0 {
		delete(l.sets, key)
		return
	}
	l.sets[key] = members
}

// setOf are the entries that one leads, and that one behind them.
func (l *lease) setOf(key string) []string {
	l.placing.Lock()
	defer l.placing.Unlock()
	return append(slices.Clone(l.sets[key]), key)
}

// together changes an unfinished entry and those that it leads in one transaction, with a day's count if there is one. each
// makes the change of one of them, but for its key; its condition is added to that of every change. Members that have ended
// are left out.
func (l *lease) together(ctx context.Context, key string, day ledger.Day, each func(key string) (change, error)) error {
	keys := l.setOf(key)
	g := &group{epoch: l.grant.Epoch, day: day}
	for _, k := range keys {
		c, err := each(k)
		switch {
		case k != key && errors.Is(err, ledger.ErrNoEntry):
			continue
		case err != nil:
			return err
		}
		c.sk = entryKey(k)
		g.add(l.changeWrite(ofOpen(c)))
	}
	err := l.commit(ctx, g)
	if err == nil && g.writes[len(g.writes)-1].found != nil {
		return noEntry(key)
	}
	return err
}

// ofOpen is a change as it is made of an unfinished entry.
func ofOpen(c change) change {
	c.when, c.values[":alive"] = unfinished+c.when, text(alive)
	return c
}

// unlessMember is an answer as the entry k gets it, whose leader's it is.
func unlessMember(leader, k string, values item) item {
	if k != leader {
		values, _ = answer(ledger.Blank())
	}
	return values
}

// starting makes the change of an entry whose turn starts.
func (l *lease) starting(ctx context.Context, s ledger.State) func(string) (change, error) {
	return func(key string) (change, error) {
		open, err := l.moved(ctx, key, func(p *place) { p.running = isRunning(s) })
		return change{update: started, values: item{":state": text(string(s)), ":open": text(open)}}, err
	}
}

func (l *lease) StartSet(ctx context.Context, keys []string, s ledger.State, day ledger.Day) error {
	last := len(keys) - 1
	leader, members := keys[last], keys[:last]
	if day != (ledger.Day{}) {
		day = day.Later(l.grant.Day)
	}
	l.leads(leader, members)
	start := l.starting(ctx, s)
	return l.together(ctx, leader, day, func(key string) (change, error) {
		c, err := start(key)
		if key == leader {
			c.update += ", #members = :members"
			c.values[":members"] = keyList(members)
		} else {
			c.update += ", #leader = :leader"
			c.values[":leader"] = text(leader)
		}
		return c, err
	})
}

func (l *lease) Part(ctx context.Context, key string, p ledger.Parting) error {
	err := l.together(ctx, key, ledger.Day{}, func(k string) (change, error) {
		c, err := l.deferred(ctx, k, p.State, p.Reason, p.Wait, 0)
		drop := "#leader, #members"
		switch {
		case k == key:
		case len(p.Sent) > 0:
			values, _ := answer(p.Sent, p.Outcomes)
			for name, v := range values {
				c.values[name] = v
			}
			c.values[":one"] = number(1)
			c.update = setAnswer + ", #streamed = :one, " + c.update
		default:
			drop += ", #answer, #done, #size, #streamed"
		}
		c.values[":yes"] = number(1)
		c.update = "#single = :yes, " + c.update
		if p.Wait.Asked {
			c.update += " REMOVE " + drop
		} else {
			c.update += ", " + drop // behind REMOVE #asked
		}
		return c, err
	})
	if err == nil {
		l.leads(key, nil)
	}
	return err
}

// deadSet are the dead items that are put back together with one: its set, if the leader has a whole answer; else that one
// alone.
func (l *Ledger) deadSet(ctx context.Context, key string) (list []item, alone bool, err error) {
	it, err := l.get(ctx, entryKey(key))
	switch {
	case err != nil:
		return nil, false, err
	case !l.dead(it) || !it.has("body"):
		return nil, false, ledger.ErrNotDead
	}
	leader := it
	if named := it.text("leader"); named != "" {
		if leader, err = l.get(ctx, entryKey(named)); err != nil {
			return nil, false, err
		}
	}
	members := setIn(leader).Members
	if !l.dead(leader) || !leader.has("body") || !leader.has("answer") || leader.has("streamed") || len(members) == 0 {
		return []item{it}, true, nil
	}
	var keys []string
	for _, member := range members {
		keys = append(keys, entryKey(member))
	}
	found, err := l.fetch(ctx, keys)
	if err != nil {
		return nil, false, err
	}
	list = []item{leader}
	for _, sk := range keys {
		if l.dead(found[sk]) {
			list = append(list, found[sk])
		}
	}
	return list, false, nil
}

// putBackAll puts dead items back, in one step. ErrNotDead means that one has changed since it was read.
func (l *Ledger) putBackAll(ctx context.Context, items []item, ask, alone bool) error {
	tag, in := l.tag(), &dynamodb.TransactWriteItemsInput{}
	for _, it := range items {
		c, err := putBack(it, ask, alone)
		if err != nil {
			return err
		}
		c = l.ofDead(c, tag)
		in.TransactItems = append(in.TransactItems, types.TransactWriteItem{Update: &types.Update{
			TableName: &l.table, Key: l.key(c.sk), UpdateExpression: &c.update, ConditionExpression: &c.when,
			ExpressionAttributeNames: names(c.update, c.when), ExpressionAttributeValues: c.values,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}})
	}
	_, err := l.client.TransactWriteItems(ctx, in)
	canceled, is := errors.AsType[*types.TransactionCanceledException](err)
	if !is {
		if err != nil {
			err = l.failed("putting back "+items[0].text("sk"), err)
		}
		return err
	}
	for _, reason := range canceled.CancellationReasons {
		if aws.ToString(reason.Code) == conditionFailed && unlessTagged(tag, reason.Item) == nil {
			return nil // it was made, and its answer was lost
		}
	}
	return ledger.ErrNotDead // or another transaction was under way: it is read again
}
