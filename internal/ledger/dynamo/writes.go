package dynamo

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// put is a write of a whole item, if the condition when holds.
func (l *Ledger) put(it item, when string, values item) *write {
	tag := l.tag()
	it["pk"], it["w"] = text(l.instance), text(tag)
	w := &write{sk: it.text("sk"), tag: tag, size: size(it)}
	w.input.Put = &types.Put{
		TableName:                           &l.table,
		Item:                                it,
		ConditionExpression:                 &when,
		ExpressionAttributeNames:            names(when),
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	return w
}

// check is a write that changes nothing: the condition when has to hold for an item.
func (l *Ledger) check(sk, when string, values item) *write {
	w := &write{sk: sk, tag: l.tag(), size: size(values)}
	w.input.ConditionCheck = &types.ConditionCheck{
		TableName:                           &l.table,
		Key:                                 l.key(sk),
		ConditionExpression:                 &when,
		ExpressionAttributeNames:            names(when),
		ExpressionAttributeValues:           values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	return w
}

// update changes an item, once however often it is sent. c.update begins with assignments, without their SET. refused is
// the item whose state the condition did not hold for; nil if the change was made.
func (l *lease) update(ctx context.Context, c change) (refused item, err error) {
	w := l.changeWrite(c)
	if err := l.commit(ctx, single(l.grant.Epoch, w)); err != nil {
		return nil, err
	}
	return w.found, nil
}

// changeWrite is the write that update makes.
func (l *Ledger) changeWrite(c change) *write {
	tag := l.tag()
	c.update = "SET #w = :w, " + c.update
	c.when += " AND #w <> :w"
	c.values[":w"] = text(tag)
	w := &write{sk: c.sk, tag: tag, size: size(c.values)}
	w.input.Update = &types.Update{
		TableName:                           &l.table,
		Key:                                 l.key(c.sk),
		UpdateExpression:                    &c.update,
		ConditionExpression:                 &c.when,
		ExpressionAttributeNames:            names(c.update, c.when),
		ExpressionAttributeValues:           c.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	return w
}

// size is roughly how many bytes values take in a request.
func size(values item) int {
	n := 200
	for name, v := range values {
		n += len(name) + 20
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			n += len(v.Value)
		case *types.AttributeValueMemberB:
			n += len(v.Value) * 4 / 3
		case *types.AttributeValueMemberL:
			for _, part := range v.Value {
				n += size(item{"": part}) - 200
			}
		}
	}
	return n
}
