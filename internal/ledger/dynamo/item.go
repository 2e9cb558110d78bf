package dynamo

import (
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// item is what DynamoDB stores. A missing attribute reads as zero.
type item map[string]types.AttributeValue

func (i item) has(name string) bool { _, ok := i[name]; return ok }

func (i item) text(name string) string {
	v, _ := i[name].(*types.AttributeValueMemberS)
	if v == nil {
		return ""
	}
	return v.Value
}

func (i item) number(name string) int64 {
	v, _ := i[name].(*types.AttributeValueMemberN)
	if v == nil {
		return 0
	}
	n, _ := strconv.ParseInt(v.Value, 10, 64)
	return n
}

// whole reads a number, and says whether it is there and is one that number reads as it stands.
func (i item) whole(name string) (n int64, is bool) {
	v, _ := i[name].(*types.AttributeValueMemberN)
	if v == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(v.Value, 10, 64)
	return n, err == nil
}

func (i item) bytes(name string) []byte {
	v, _ := i[name].(*types.AttributeValueMemberB)
	if v == nil {
		return nil
	}
	return v.Value
}

func (i item) list(name string) []types.AttributeValue {
	v, _ := i[name].(*types.AttributeValueMemberL)
	if v == nil {
		return nil
	}
	return v.Value
}

// time reads milliseconds since 1970; 0 is the zero time.
func (i item) time(name string) time.Time { return fromMillis(i.number(name)) }

// Nothing that is read is beyond these: the last day of the year 9999, as no later time can be written as JSON, and 34 years.
const (
	lastMilli  = 253402214400000
	mostMillis = 1 << 40
)

// duration reads milliseconds.
func (i item) duration(name string) time.Duration {
	return time.Duration(min(max(i.number(name), 0), mostMillis)) * time.Millisecond
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(min(max(ms, 0), lastMilli))
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}
func moment(t time.Time) types.AttributeValue { return number(millis(t)) }
func binary(b []byte) types.AttributeValue    { return &types.AttributeValueMemberB{Value: b} }
