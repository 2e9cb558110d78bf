package dynamo_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func num(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }

// setState gives an attribute of the state another value; nil takes it away.
func (tbl *table) setState(t *testing.T, instance, attribute string, value types.AttributeValue) {
	t.Helper()
	it := tbl.item(t, instance, "state")
	if it[attribute] = value; value == nil {
		delete(it, attribute)
	}
	_, err := tbl.client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &tbl.name, Item: it})
	is.New(t).NoErr(err)
}

// What the lease stands on may hold what no version writes. Then nothing is taken, for any reason to look, and the error has the
// attribute, what it holds and what to do. Once that was done the gateway runs as before, and what waited is there.
func TestAStateThatNoVersionWroteIsRefusedWithTheWayOut(t *testing.T) {
	tests := []struct {
		attribute string
		value     types.AttributeValue
		held      bool // the lease has a holder, who died
	}{
		{"epoch", num("1E37"), false},
		{"epoch", num("99999999999999999999999999999999999999"), false}, // counting it up is an error of the table's
		{"epoch", num("9223372036854775807"), true},
		{"epoch", num("8796093022209"), false},
		{"epoch", num("-2"), false},
		{"epoch", num("2.5"), false},
		{"epoch", str("odd \x1b"), false},
		{"epoch", &types.AttributeValueMemberNULL{Value: true}, true},
		{"keyed", str("x"), false},
		{"keyed", num("1E37"), false},
		{"until", str("x"), true},
		{"until", num("9223372036854775807"), true},
		{"until", nil, true},
	}
	for i, tt := range tests {
		held := ""
		if tt.held {
			held = ", held"
		}
		t.Run(fmt.Sprintf("%s %v%s", tt.attribute, tt.value, held), func(t *testing.T) {
			is := is.New(t)
			ctx := t.Context()
			tbl := newTable(t, nil)
			instance := fmt.Sprintf("inst-%d", i)
			l, c := tbl.ledger(instance)
			first := acquire(t, l, ledger.Arm)
			_, err := first.Receive(ctx, ledger.Entry{Key: "waits", Seq: 1, Session: "0000000a", Message: "m", Buffer: "b", Body: []byte(`"x"`)})
			is.NoErr(err)
			is.NoErr(first.Clear(ctx))
			if !tt.held {
				_, err = first.HandOff(ctx, ledger.Plan{At: c.now(), Every: time.Hour}, false)
				is.NoErr(err)
			}
			l.Acquire(ctx, ledger.Ask{Reason: ledger.Wake, Owner: "x", Life: time.Second}) // it takes a token, or marks the holder
			c.advance(time.Hour)
			tbl.setState(t, instance, tt.attribute, tt.value)
			before := tbl.item(t, instance, "state")

			for _, reason := range []ledger.Reason{ledger.Wake, ledger.Schedule, ledger.Arm, ledger.Continue, ledger.Speak, ledger.Check} {
				_, err := l.Acquire(ctx, ledger.Ask{Reason: reason, Owner: "x", Life: 30 * time.Second})
				if err != nil && strings.Contains(err.Error(), "StatusCode: 500") {
					t.Skip("moto fails where a condition compares a number with what is none; DynamoDB Local and our own table do not")
				}
				odd, is := errors.AsType[*ledger.OddStateError](err)
				if !is {
					t.Fatalf("%s: %v", reason, err)
				}
				if odd.Attribute != tt.attribute {
					t.Errorf("%s: %s", reason, odd.Attribute)
				}
				for _, want := range []string{instance, "aws dynamodb update-item --table-name " + tbl.name, `"pk":{"S":"` + instance + `"}`, tt.attribute} {
					if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\x1b") {
						t.Errorf("%s: %v", reason, err) // it says what to do
					}
				}
			}
			if tt.value == nil || fmt.Sprint(tt.value) != fmt.Sprint(num("2.5")) { // a condition cannot tell a fraction: it was taken once
				is.Equal(tbl.item(t, instance, "state"), before) // nothing was changed
			}
			c.advance(time.Minute)
			o, err := l.Overview(ctx)
			is.NoErr(err)
			is.True(o.Odd != nil) // status says it
			is.Equal(o.Odd.Attribute, tt.attribute)

			tbl.setState(t, instance, o.Odd.Attribute, num(strconv.FormatInt(o.Odd.Value, 10)))
			next := acquire(t, l, ledger.Wake)
			is.NoErr(next.Clear(ctx))
			is.NoErr(next.Heartbeat(ctx))
			page, err := next.Recover(ctx, "")
			is.NoErr(err)
			is.Equal(len(page.Left), 1)
			is.Equal(first.Fail(ctx, "waits", "", false), ledger.ErrLost) // the holder before can write nothing
			is.NoErr(next.Finish(ctx, "waits"))
		})
	}
}

// What is only compared begins anew with the next lease, whatever stands there.
func TestWhatIsOnlyComparedLocksNobodyOut(t *testing.T) {
	values := []types.AttributeValue{
		str("x"), num("1E37"), num("9223372036854775807"), nil,
	}
	tbl := newTable(t, nil)
	for i, attribute := range []string{"full", "ended", "said", "cleared", "asked", "at", "unkeyed", "trusted", "turns"} {
		for j, value := range values {
			t.Run(fmt.Sprintf("%s %v", attribute, value), func(t *testing.T) {
				is := is.New(t)
				instance := fmt.Sprintf("inst-%d-%d", i, j)
				l, c := tbl.ledger(instance)
				first := acquire(t, l, ledger.Wake)
				is.NoErr(first.Clear(t.Context()))
				_, err := first.HandOff(t.Context(), ledger.Plan{At: c.now(), Every: time.Hour}, false)
				is.NoErr(err)
				c.advance(time.Hour)
				tbl.setState(t, instance, attribute, value)
				reason := ledger.Wake
				if n, _ := value.(*types.AttributeValueMemberN); attribute == "full" && n != nil {
					reason = ledger.Arm // a budget that is never full again: pokes are for the schedule
				}
				next, err := l.Acquire(t.Context(), ask(reason))
				if err != nil && strings.Contains(err.Error(), "StatusCode: 500") {
					t.Skip("moto, as above")
				}
				is.NoErr(err)
				is.NoErr(next.Heartbeat(t.Context()))
				_, err = l.Acquire(t.Context(), ledger.Ask{Reason: ledger.Speak, Owner: "x", Life: time.Second})
				is.True(errors.Is(err, ledger.ErrTaken))
				is.NoErr(next.Clear(t.Context()))
				_, err = next.Recover(t.Context(), "")
				is.NoErr(err)
				is.NoErr(next.Release(t.Context(), ledger.Plan{At: c.now(), Every: time.Hour}, true))
			})
		}
	}
}
