package dynamo

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func (l *Ledger) Standing(ctx context.Context) (ledger.Standing, error) {
	found, err := l.get(ctx, state)
	return standing(found), err
}

func (l *Ledger) Overview(ctx context.Context) (ledger.Overview, error) {
	found, err := l.get(ctx, state)
	if err != nil {
		return ledger.Overview{}, err
	}
	pending, err := l.list(ctx, alive)
	if err != nil {
		return ledger.Overview{}, err
	}
	o := ledger.Overview{
		Standing: standing(found), Plan: plan(found), Ended: found.time("ended"), Asked: found.has("asked"), Pending: len(pending),
		Refusals: refusals(found), Day: day(found), Limited: limited(found),
	}
	if until := found.time("until"); found.has("owner") {
		o.Held, o.Until, o.Holder = until.After(l.now()), until, holder(found)
		o.Beat = until.Add(-found.duration("life"))
	}
	if o.Odd, err = l.odd(ctx, found, l.now()); err != nil {
		return ledger.Overview{}, err
	}
	if o.Says, o.SaidAt, err = l.inbox(ctx); err != nil {
		return ledger.Overview{}, err
	}
	if o.Prompts, err = l.openPrompts(ctx); err != nil {
		return ledger.Overview{}, err
	}
	return o, nil
}

func (l *lease) SetHandshaken(ctx context.Context, gatewayID string) error {
	return l.holding(ctx, "SET #shaken = :id", item{":id": text(gatewayID)})
}

func (l *lease) SetDeclared(ctx context.Context, fingerprint string) error {
	return l.holding(ctx, "SET #declared = :fingerprint", item{":fingerprint": text(fingerprint)})
}

func (l *lease) SetRefusals(ctx context.Context, r ledger.Refusals) error {
	classes := &types.AttributeValueMemberM{Value: item{}}
	for class, n := range r.ByClass {
		classes.Value[class] = number(int64(n))
	}
	return l.holding(ctx, "SET #refusals = :classes, #refused = :at, #retried = :retried",
		item{":classes": classes, ":at": moment(r.At), ":retried": number(int64(r.Retried))})
}

func refusals(found item) ledger.Refusals {
	r := ledger.Refusals{At: found.time("refused"), Retried: int(found.number("retried"))}
	if classes, _ := found["refusals"].(*types.AttributeValueMemberM); classes != nil {
		r.ByClass = make(map[string]int, len(classes.Value))
		for class := range classes.Value {
			r.ByClass[class] = int(item(classes.Value).number(class))
		}
	}
	return r
}

func (l *lease) SetTrouble(ctx context.Context, t ledger.Trouble) error {
	if t.What == "" {
		return l.holding(ctx, "REMOVE #trouble, #troubled, #troubleby", nil)
	}
	return l.holding(ctx, "SET #trouble = :what, #troubled = :since, #troubleby = :by",
		item{":what": text(t.What), ":since": moment(t.Since), ":by": text(shorten(t.Said))})
}

func (l *lease) Disable(ctx context.Context, by string) error {
	return l.holding(ctx, "SET #off = :now, #offby = :by", item{":now": moment(l.now()), ":by": text(shorten(by))})
}

func (l *Ledger) Enable(ctx context.Context) error {
	_, _, err := l.apply(ctx, change{sk: state, update: "REMOVE #off, #offby", when: "attribute_exists(#off)"})
	return err
}

func (l *lease) TakeFreshID(ctx context.Context) (bool, error) {
	found, err := l.get(ctx, state)
	if err != nil {
		return false, err
	}
	if !l.holds(found) {
		return false, ledger.ErrLost
	}
	next, ok := ledger.TakeFreshID(standing(found).FreshIDs, l.now())
	if !ok {
		return false, nil
	}
	fresh := &types.AttributeValueMemberL{}
	for _, at := range next {
		fresh.Value = append(fresh.Value, moment(at))
	}
	return true, l.holding(ctx, "SET #fresh = :fresh", item{":fresh": fresh})
}

func standing(found item) ledger.Standing {
	s := ledger.Standing{
		Disabled:   found.has("off"),
		DisabledAt: found.time("off"),
		DisabledBy: found.text("offby"),
		Handshaken: found.text("shaken"),
		Declared:   found.text("declared"),
		Trouble:    ledger.Trouble{What: found.text("trouble"), Since: found.time("troubled"), Said: found.text("troubleby")},
	}
	for _, at := range found.list("fresh") {
		s.FreshIDs = append(s.FreshIDs, item{"at": at}.time("at"))
	}
	return s
}

func plan(found item) ledger.Plan {
	return ledger.Plan{
		At: found.time("at"), Every: found.duration("every"),
		Why: found.text("why"), After: told(found),
	}
}
