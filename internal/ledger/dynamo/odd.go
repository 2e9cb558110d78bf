package dynamo

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// Who acquires the lease counts these two up, so they have to be counts: what is none, or too large for Clear's shift, no version
// has written.
const (
	counts     = "(attribute_not_exists(#epoch) OR #epoch BETWEEN :zero AND :most) AND (attribute_not_exists(#keyed) OR #keyed BETWEEN :zero AND :most)"
	mostEpochs = 1<<43 - 2
)

// farUntil is how far ahead no lease lasts, whatever its life is set to.
const farUntil = 24 * time.Hour

// odd is what of the state no version writes and the lease stands on, with the value that lets the next drain take it; nil if
// all is well.
func (l *Ledger) odd(ctx context.Context, found item, now time.Time) (*ledger.OddStateError, error) {
	odd := func(attribute string, value int64) *ledger.OddStateError {
		return &ledger.OddStateError{Table: l.table, Instance: l.instance, Attribute: attribute, Holds: shown(found[attribute]), Value: value}
	}
	count := func(name string) bool {
		n, is := found.whole(name)
		return !found.has(name) || is && n >= 0 && n <= mostEpochs
	}
	switch until, is := found.whole("until"); {
	case !count("epoch"):
		last, err := l.lastEpoch(ctx)
		return odd("epoch", max(last, 0)+1), err
	case !count("keyed"):
		return odd("keyed", 0), nil
	case found.has("owner") && (!is || until > millis(now.Add(farUntil+found.duration("life")))):
		return odd("until", 0), nil
	}
	return nil, nil
}

// lastEpoch is the highest epoch that an unfinished entry names.
func (l *Ledger) lastEpoch(ctx context.Context) (int64, error) {
	out, err := l.client.Query(ctx, &dynamodb.QueryInput{
		TableName:                 &l.table,
		IndexName:                 aws.String(Index),
		Limit:                     aws.Int32(1),
		ScanIndexForward:          aws.Bool(false),
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("#pk = :pk AND begins_with(#open, :prefix)"),
		ExpressionAttributeNames:  names("#pk #open"),
		ExpressionAttributeValues: item{":pk": text(l.instance), ":prefix": text(alive)},
	})
	if err != nil {
		return 0, l.failed("reading the index", err)
	}
	for _, it := range out.Items {
		if p, ok := placeIn(item(it).text("open")); ok && p.epoch < mostEpochs {
			return p.epoch, nil
		}
	}
	return 0, nil
}

// shown is a value in a few words.
func shown(v types.AttributeValue) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case *types.AttributeValueMemberN:
		return v.Value
	case *types.AttributeValueMemberS:
		return fmt.Sprintf("the text %.40q", v.Value)
	}
	return "no number"
}
