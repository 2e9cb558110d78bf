package main_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// awayFromMidnight waits for the next day if this one is about to end: the test counts one day's turns.
func awayFromMidnight() {
	now := time.Now().UTC()
	if left := now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now); left < 2*time.Minute {
		time.Sleep(left)
	}
}

// yesterday makes a day of the table's: what was counted was counted before, and what waits is due.
func yesterday(t *testing.T, table string) {
	t.Helper()
	client := tableClient(t)
	out, err := client.Scan(t.Context(), &dynamodb.ScanInput{TableName: &table})
	is.New(t).NoErr(err)
	for _, item := range out.Items {
		sk := item["sk"].(*types.AttributeValueMemberS).Value
		update, values := "", map[string]types.AttributeValue{}
		switch {
		case sk == "state":
			update, values[":v"] = "SET #a = :v", &types.AttributeValueMemberS{Value: "2000-01-01"}
		case strings.HasPrefix(sk, "d#") && item["due"] != nil:
			update, values[":v"] = "SET #a = :v", &types.AttributeValueMemberN{Value: "1"}
		default:
			continue
		}
		name := map[bool]string{true: "day", false: "due"}[sk == "state"]
		_, err := client.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
			TableName: &table, Key: map[string]types.AttributeValue{"pk": item["pk"], "sk": item["sk"]},
			UpdateExpression: aws.String(update), ExpressionAttributeNames: map[string]string{"#a": name},
			ExpressionAttributeValues: values,
		})
		is.New(t).NoErr(err)
	}
}

// Budgets hold from one process to the next, and what the day's budget has put off is answered on the next day.
func TestBudgetsHoldOverProcesses(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	awayFromMidnight()
	rig := newCrashRig(t, map[string]string{"DORMOUSE_BOT_TURNS": "1", "DORMOUSE_MAX_TURNS_PER_DAY": "3", "DORMOUSE_MERGE": "off"})
	ofBot := func(id string) relay.Event {
		e := event(0, id)
		e.Source.IsBot = true
		return e
	}
	rig.Deliver(gateway, ofBot("bot0"))
	rig.Deliver(gateway, ofBot("bot1"))
	rig.Deliver(gateway, event(0, "m0")) // a person in the same chat
	out := rig.run("wake")
	is.Equal(out.Status, drain.Drained)
	is.Equal(out.Turns, 2)
	is.Equal(out.Limited, 1)
	is.Equal(out.Postponed, 0)

	is.NoErr(rig.host.Kill(drainFunction)) // the next one is another process
	rig.Deliver(gateway, ofBot("bot2"))
	rig.Deliver(gateway, event(0, "m1"))
	rig.Deliver(gateway, event(0, "m2"))
	out = rig.run("wake")
	is.Equal(out.Limited, 1)
	is.Equal(out.Turns, 1)
	is.Equal(out.Postponed, 1)
	is.Equal(out.Left, 1)
	is.Equal(out.Acked, 3) // what waits is kept
	is.Equal(out.Dead, 0)
	is.Equal(replies(rig.State()), []string{
		"answer to bot0", "answer to m0", "answer to m1", "That is all for today: what you write now is answered after midnight UTC.",
	})
	o, err := rig.table.Overview(t.Context())
	is.NoErr(err)
	is.Equal(o.Day.Turns, 3)
	is.Equal(o.Limited.Messages, 2)

	is.NoErr(rig.host.Kill(drainFunction))
	yesterday(t, rig.env["DORMOUSE_TABLE"])
	out = rig.run("wake")
	is.Equal(out.Turns, 1)
	is.Equal(out.Left, 0)
	is.Equal(replies(rig.State())[4:], []string{"answer to m2"})
	rig.checkRest(t)
	is.Equal(rig.logged("DORMOUSE_BOT_TURNS"), 1) // a line an hour and chat, not one a process
}
