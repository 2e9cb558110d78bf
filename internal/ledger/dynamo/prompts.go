package dynamo

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// The attributes of a prompt's item: ref; until, when it may be taken no more; platform, chat and options, as in
// ledger.Prompt, which an item of the version before has not; by, the delivery that took it; expires; w, the tag of the last
// write.

// mostKey is how many bytes a sort key may have.
const mostKey = 1024

func promptKey(id string) string { return "p#" + id }

func (l *lease) PutPrompt(ctx context.Context, p ledger.Prompt) error {
	if len(p.Ref) > mostBody {
		return fmt.Errorf("%w: a prompt's ref of %d bytes; %d fit", ledger.ErrTooLarge, len(p.Ref), mostBody)
	}
	options := &types.AttributeValueMemberL{}
	for _, id := range p.Options {
		options.Value = append(options.Value, text(id))
	}
	w := l.put(item{
		"sk": text(promptKey(p.ID)), "ref": text(p.Ref), "until": moment(p.Until), TTL: number(p.Until.Add(ledger.AnsweredLife).Unix() + 1),
		"platform": text(p.Platform), "chat": text(p.Chat), "options": options,
	}, "attribute_not_exists(#by) OR #expires <= :now", item{":now": number(l.now().Unix())})
	return l.commit(ctx, single(l.grant.Epoch, w))
}

func prompt(id string, found item) ledger.Prompt {
	p := ledger.Prompt{
		ID: id, Ref: found.text("ref"), Until: found.time("until"), Platform: found.text("platform"), Chat: found.text("chat"),
	}
	for _, v := range found.list("options") {
		p.Options = append(p.Options, item{"id": v}.text("id"))
	}
	return p
}

// openPrompts counts the questions that wait for a button.
func (l *Ledger) openPrompts(ctx context.Context) (n int, err error) {
	in := &dynamodb.QueryInput{
		TableName:                &l.table,
		ConsistentRead:           aws.Bool(true),
		KeyConditionExpression:   aws.String("#pk = :pk AND begins_with(#sk, :prefix)"),
		FilterExpression:         aws.String("attribute_not_exists(#by) AND #until > :now"),
		ExpressionAttributeNames: names("#pk #sk #by #until"),
		ExpressionAttributeValues: item{
			":pk": text(l.instance), ":prefix": text(promptKey("")), ":now": moment(l.now()),
		},
		Select: types.SelectCount,
	}
	for {
		out, err := l.client.Query(ctx, in)
		if err != nil {
			return 0, l.failed("counting the open questions", err)
		}
		n += int(out.Count)
		if len(out.LastEvaluatedKey) == 0 {
			return n, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

func (l *lease) TakePrompt(ctx context.Context, press ledger.Press, fits func(ledger.Prompt) bool) (ledger.Prompt, error) {
	key := promptKey(press.Prompt)
	if len(key) > mostKey {
		return ledger.Prompt{}, ledger.ErrNoPrompt
	}
	found, err := l.get(ctx, key)
	by, now := found.text("by"), l.now()
	p := prompt(press.Prompt, found)
	switch {
	case err != nil:
		return ledger.Prompt{}, err
	case by == "" && !p.Until.After(press.At), by != "" && found.number(TTL) <= now.Unix():
		return ledger.Prompt{}, ledger.ErrNoPrompt
	case !fits(p):
		return ledger.Prompt{}, ledger.ErrForeign
	case by != "" && by != press.Delivery:
		return ledger.Prompt{}, ledger.ErrAnswered
	}
	refused, err := l.update(ctx, change{
		sk:     key,
		update: "#by = :by, #expires = :expires",
		when:   "attribute_exists(#ref) AND (attribute_not_exists(#by) OR #by = :by)",
		values: item{":by": text(press.Delivery), ":expires": number(now.Add(ledger.AnsweredLife).Unix())},
	})
	switch {
	case err != nil:
		return ledger.Prompt{}, err
	case refused.has("by"):
		return ledger.Prompt{}, ledger.ErrAnswered
	case refused != nil: // DynamoDB has deleted the item meanwhile
		return ledger.Prompt{}, ledger.ErrNoPrompt
	}
	return p, nil
}
