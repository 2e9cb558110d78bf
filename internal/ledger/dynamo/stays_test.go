package dynamo_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// What stays in the table, and for how long, as docs/costs.md has it: the state, and what is open, until it ends; all else has
// a time to live. So what a year leaves is what its last 90 days leave.
func TestWhatStaysInTheTable(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	l, c := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	for i, key := range []string{"open", "answered", "dead", "dropped"} {
		_, err := g.Receive(ctx, ledger.Entry{
			Key: key, Seq: int64(i), Body: []byte(`{}`), Message: "message-" + key, Buffer: "b-" + key, State: ledger.New,
		})
		is.NoErr(err)
		is.NoErr(g.Keep(ctx, key, []jsonValue{[]byte(`{}`)}))
	}
	is.NoErr(g.Finish(ctx, "answered"))
	is.NoErr(g.Fail(ctx, "dead", "boom", true))
	is.NoErr(g.Fail(ctx, "dropped", "boom", true))
	is.NoErr(l.DropDead(ctx, "dropped"))
	is.NoErr(g.PutPrompt(ctx, ledger.Prompt{ID: "p-1", Until: c.now().Add(3 * 24 * time.Hour)})) // and a week for what was pressed in time
	is.NoErr(g.NoteChats(ctx, map[ledger.ChatName]ledger.Chat{{Platform: "discord", ID: "c1"}: {Route: json.RawMessage(`{}`), Routed: c.now()}}))

	days := map[string]string{} // by the kind of item, or the delivery's key
	out, err := tbl.client.Scan(ctx, &dynamodb.ScanInput{TableName: &tbl.name})
	is.NoErr(err)
	for _, it := range out.Items {
		kind := it["sk"].(*types.AttributeValueMemberS).Value
		if name, _, ok := strings.Cut(kind, "#"); ok && name != "d" {
			kind = name + "#"
		}
		lives := "for ever"
		if at, ok := it["expires"].(*types.AttributeValueMemberN); ok {
			seconds, err := strconv.ParseInt(at.Value, 10, 64)
			is.NoErr(err)
			lives = strconv.FormatInt(int64(time.Unix(seconds, 0).Sub(c.now().Truncate(time.Second))/(24*time.Hour)), 10) + " days"
		}
		if other, ok := days[kind]; ok {
			is.Equal(other, lives) // all of a kind live as long
		}
		days[kind] = lives
	}
	want := map[string]string{
		"state": "for ever", "d#open": "for ever", "d#answered": "7 days", "d#dropped": "7 days", "d#dead": "90 days",
		"m#": "7 days", "c#": "90 days", "p#": "10 days",
	}
	is.Equal(slices.Sorted(maps.Keys(days)), slices.Sorted(maps.Keys(want)))
	is.Equal(days, want)
}
