package main_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func packed(t *testing.T, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(raw)
	is.New(t).NoErr(err)
	is.New(t).NoErr(w.Close())
	return b.Bytes()
}

// Whatever a hand, or a version that is to come, has made of an entry: it is dead with a reason, or answered, the messages behind
// it and in other chats are answered, and no run after that finds it again.
func TestAnItemOfAnyFormIsDeadOrAnsweredAndFailsNoOther(t *testing.T) {
	for _, merge := range []string{"off", "on"} {
		t.Run("merge "+merge, func(t *testing.T) {
			t.Parallel()
			itemsOfAnyForm(t, merge)
		})
	}
}

func itemsOfAnyForm(t *testing.T, merge string) {
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	number := func(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
	binary := func(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }
	list := func(v ...types.AttributeValue) types.AttributeValue { return &types.AttributeValueMemberL{Value: v} }
	bomb := packed(t, bytes.Repeat([]byte(" "), 41<<20))
	far := "99999999999999999999999999999999999999"
	odd := []struct {
		name      string
		attribute string
		value     types.AttributeValue // nil: there is none
		dead      string               // why; empty: it may be answered
	}{
		{"a body that is a text", "body", text(`{"event":{}}`), "cannot be read"},
		{"a body that is a number", "body", number("7"), "cannot be read"},
		{"no body", "body", nil, "cannot be read"},
		{"an empty body", "body", binary([]byte{0x20}), "cannot be read"},
		{"a body of null", "body", binary([]byte("null")), "cannot be read"},
		{"a body cut off", "body", binary([]byte(`{"event":{"text":"x"`)), "cannot be read"},
		{"no gzip behind its mark", "body", binary([]byte{0x1f, 0x8b}), "unpacking"},
		{"gzip cut off", "body", binary(packed(t, bytes.Repeat([]byte("x"), 9999))[:20]), "unpacking"},
		{"gzip of what is not JSON", "body", binary(packed(t, []byte("x"))), "cannot be read"},
		{"gzip that never ends", "body", binary(bomb), "unpacking: more than"},
		{"a place that is a text", "seq", text("first"), ""},
		{"a place beyond all", "seq", number(far), ""},
		{"no place", "seq", nil, ""},
		{"attempts that are a text", "attempts", text("3"), ""},
		{"attempts beyond all", "attempts", number(far), ""},
		{"attempts below all", "attempts", number("-" + far), ""},
		{"a state that is a number", "state", number("1"), ""},
		{"no state", "state", nil, ""},
		{"a state of dead", "state", text("dead"), ""},
		{"an answer that is a text", "answer", text("[]"), ""},
		{"an answer of numbers", "answer", list(number("1"), number("2")), ""},
		{"an answer of broken gzip", "answer", list(binary([]byte{0x1f, 0x8b, 8})), "unpacking"},
		{"members that are a text", "members", text("k"), ""},
		{"members that are nobody", "members", list(text("nobody"), number("4")), ""},
		{"a leader that is nobody", "leader", text("nobody"), ""},
		{"a leader that is a number", "leader", number("1"), ""},
		{"an error that is a number", "error", number("1"), ""},
		{"an index key without parts", "open", text("o#"), ""},
		{"an index key of letters", "open", text("o#x#y#z#w#v"), ""},
		{"an index key that ends early", "open", text("o#0000000000000000001#"), ""},
		{"an index key of an epoch to come", "open", text("o#9223372036854775807#0000000000000000001#n#0000000a#0"), ""},
		{"an index key due in no time", "open", text("o#0000000000000000001#0000000000000000009#n#0000000a#" + far), ""},
		{"an index key in which it runs", "open", text("o#0000000000000000001#0000000000000000009#r#zz#-1"), ""},
	}

	is := is.New(t)
	ctx := t.Context()
	env, table := onOwnTable(t)
	env["DORMOUSE_MERGE"] = merge
	g, err := table.Acquire(ctx, ledger.Ask{Reason: ledger.Wake, Owner: "before", Life: time.Minute})
	is.NoErr(err)
	client := tableClientAt(t, env["AWS_ENDPOINT_URL_DYNAMODB"])
	message := func(chat, id string) (string, []byte) {
		e := event(0, id)
		e.Source.ChatID, e.Text = chat, "to "+chat+" "+id
		body, err := json.Marshal(map[string]any{"event": e})
		is.NoErr(err)
		return turn.Key(gateway, relay.Delivery{Kind: relay.KindInbound, Event: &e}), body
	}
	keys := map[string]string{}
	for i, o := range odd {
		chat := fmt.Sprint("chat", i)
		for j, id := range []string{"odd", "behind"} {
			key, body := message(chat, id)
			_, err := g.Receive(ctx, ledger.Entry{Key: key, Seq: int64(2*i + j), State: ledger.New, Body: body})
			is.NoErr(err)
			if id == "odd" {
				keys[o.name] = key
			}
		}
		it, err := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: dp(env["DORMOUSE_TABLE"]), Key: map[string]types.AttributeValue{
			"pk": text(gateway), "sk": text("d#" + keys[o.name]),
		}})
		is.NoErr(err)
		if o.value == nil {
			delete(it.Item, o.attribute)
		} else {
			it.Item[o.attribute] = o.value
		}
		_, err = client.PutItem(ctx, &dynamodb.PutItemInput{TableName: dp(env["DORMOUSE_TABLE"]), Item: it.Item})
		is.NoErr(err)
	}
	_, err = g.HandOff(ctx, ledger.Plan{}, true)
	is.NoErr(err)

	s := deploy(t, setup{env: env, unsearched: true, change: func(p *devconnector.Preset) { p.Routing = devconnector.RouteAny }})
	for range 2 {
		if out := s.run("arm"); out.Status != drain.Drained && out.Status != drain.Empty {
			t.Errorf("a run ended as %s %s", out.Status, out.Payload)
		}
	}
	said := map[string]int{} // a message, by its text, which names its chat
	for _, out := range sends(s.State()) {
		for line := range strings.Lines(out.Content) {
			said[strings.TrimSpace(line)]++
		}
	}
	dead, err := table.ListDead(ctx)
	is.NoErr(err)
	for i, o := range odd {
		chat := fmt.Sprint("chat", i)
		if n := said["to "+chat+" behind"]; n != 1 {
			t.Errorf("%s: what is behind it was answered %d times", o.name, n)
		}
		at := slices.IndexFunc(dead, func(e ledger.Entry) bool { return e.Key == keys[o.name] })
		answered := said["to "+chat+" odd"]
		switch {
		case at >= 0 && (dead[at].Error == "" || !strings.Contains(dead[at].Error, o.dead)):
			t.Errorf("%s: dead because of %q", o.name, dead[at].Error)
		case (at >= 0) == (answered > 0), answered > 1, o.dead != "" && at < 0:
			t.Errorf("%s: answered %d times, dead %v", o.name, answered, at >= 0)
		}
	}
	pending, err := table.ListPending(ctx)
	is.NoErr(err)
	is.Equal(len(pending), 0)
	is.Equal(s.run("arm").Recovered, 0)
}

func dp(s string) *string { return &s }
