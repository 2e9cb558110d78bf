package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/turn"
)

func TestDisabledIsAStateOfItsOwn(t *testing.T) {
	is := is.New(t)
	book := ledger.NewMemory()
	grant, err := book.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "o", Life: 1 << 40})
	is.NoErr(err)
	said := func(do func() error, out *strings.Builder) string {
		out.Reset()
		is.NoErr(do()) // whatever the state, telling it is no error
		return out.String()
	}
	var out strings.Builder
	tell := func() error { return status(t.Context(), book, "gw-1", &out) }
	text := said(tell, &out)
	is.True(strings.HasPrefix(text, "gw-1: draining\n  because     o\n  connector   has never let this gateway in\n"))
	is.True(strings.Contains(text, "\n  lease       held by o, renewed 2"))
	is.NoErr(grant.SetHandshaken(t.Context(), "gw-1-a"))
	is.True(strings.Contains(said(tell, &out), "\n  connector   knows it as gw-1-a, heard last never\n"))
	is.NoErr(grant.SetTrouble(t.Context(), ledger.Trouble{What: "replaced", Since: time.Now(), Said: "1000 \x1b[2J"}))
	is.True(!strings.Contains(said(tell, &out), "\x1b"))
	is.NoErr(grant.SetTrouble(t.Context(), ledger.Trouble{}))
	is.NoErr(grant.Disable(t.Context(), "refused: 4401 unauthorized"))
	text = said(tell, &out)
	is.True(strings.HasPrefix(text, "gw-1: disabled since 2"))
	is.True(strings.Contains(text, "\n  because     refused: 4401 unauthorized\n  so          nothing is dialled, provisioned or retried."))

	on := func() error { return enable(t.Context(), book, "gw-1", &out) }
	is.True(strings.HasPrefix(said(on, &out), "gw-1: enabled; "))
	is.Equal(said(on, &out), "gw-1: is not disabled\n")
	is.NoErr(grant.Release(t.Context(), ledger.Plan{}, true))
	text = said(tell, &out)
	is.True(strings.HasPrefix(text, "gw-1: asleep\n  connector   knows it as gw-1-a, heard last never\n  last drain  ended 2"))
	is.True(strings.HasSuffix(text, "\n  lease       free\n  next sweep  at the schedule's next firing\n  pending     0 messages\n  dead        0 messages\n"))
}

// oddBook has a state that no version writes.
type oddBook struct{ *ledger.Memory }

func (b oddBook) Overview(ctx context.Context) (ledger.Overview, error) {
	o, err := b.Memory.Overview(ctx)
	o.Odd = &ledger.OddStateError{Table: "gw-table", Instance: "gw-1", Attribute: "epoch", Holds: "the text \"x\"", Value: 8}
	return o, err
}

func TestStatusSaysThatTheStateIsOdd(t *testing.T) {
	is := is.New(t)
	var out strings.Builder
	is.NoErr(status(t.Context(), oddBook{ledger.NewMemory()}, "gw-1", &out))
	is.True(strings.HasPrefix(out.String(), "gw-1: failing\n  because     its item `state` has in \"epoch\" what no version writes there (the text \"x\")\n"))
	is.True(strings.Contains(out.String(), `aws dynamodb update-item --table-name gw-table --key '{"pk":{"S":"gw-1"},"sk":{"S":"state"}}' `+
		`--update-expression 'SET #a = :n' --expression-attribute-names '{"#a":"epoch"}' --expression-attribute-values '{":n":{"N":"8"}}'`))
}

func TestStatusSaysWhatWaitsAndWhatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		ctx := t.Context()
		book := ledger.NewMemory()
		grant, err := book.Acquire(ctx, ledger.Ask{Reason: ledger.Arm, Owner: "o", Life: 1 << 40})
		is.NoErr(err)
		now := time.Now()
		for i := range 24 {
			key := fmt.Sprintf("k%02d", i)
			_, err := grant.Receive(ctx, ledger.Entry{Key: key, Seq: int64(i), State: ledger.New, Body: []byte(`{}`)})
			is.NoErr(err)
			if i == 0 {
				continue // it queues
			}
			due := now.Add(time.Duration(100-i) * time.Minute)
			is.NoErr(grant.Defer(ctx, key, "flood\x1b[2J", ledger.Wait{Due: due, Since: now.Add(-time.Hour), Tries: i}, 0))
		}
		is.NoErr(grant.SetRefusals(ctx, ledger.Refusals{At: now, ByClass: map[string]int{"transient": 4, "declined": 1}, Retried: 3}))
		var out strings.Builder
		is.NoErr(status(ctx, book, "gw-1", &out))
		text := out.String()
		is.True(strings.Contains(text, "  pending     24 messages\n"))
		is.True(strings.Contains(text, "  refused     1 declined, 4 transient, 3 sent again, in the drain of 2000-01-01T00:00:00Z\n"))
		is.True(strings.Contains(text, "  waiting     23 of the pending\n"))
		is.True(strings.Contains(text, "    k23  1h0m0s  23     2000-01-01T01:17:00Z  flood\ufffd[2J\n")) // the next one first
		is.True(!strings.Contains(text, "k00"))
		is.True(strings.HasSuffix(text, "    and 3 more\n"))
	})
}

func TestStatusTellsOfSaysAndOfLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		ctx := t.Context()
		book := ledger.NewMemory()
		begun := time.Now()
		for _, key := range []string{"a", "b"} {
			_, err := book.PutSay(ctx, ledger.Say{Key: key, Body: []byte(`{}`)})
			is.NoErr(err)
			time.Sleep(time.Minute)
		}
		grant, err := book.Acquire(ctx, ledger.Ask{Reason: ledger.Arm, Owner: "o", Life: 1 << 40})
		is.NoErr(err)
		for n, due := range []time.Duration{3 * time.Hour, 2 * time.Hour} {
			key := fmt.Sprint("slow", n)
			_, err := grant.Receive(ctx, ledger.Entry{Key: key, Seq: int64(n), State: ledger.New, Body: []byte(`{}`)})
			is.NoErr(err)
			until := begun.Add(due)
			is.NoErr(grant.Defer(ctx, key, turn.LateReason+until.Format(time.RFC3339), ledger.Wait{Due: until, Since: time.Now()}, 0))
			time.Sleep(time.Minute)
		}
		tell := func() string {
			var out strings.Builder
			is.NoErr(status(ctx, book, "gw-1", &out))
			return out.String()
		}
		text := tell()
		is.True(strings.Contains(text, "\n  owed        2 late answers, the oldest since 2000-01-01T00:02:00Z (2m0s ago), for slow0, due at 2000-01-01T03:00:00Z, "+
			"the first at 2000-01-01T02:00:00Z\n"))
		is.True(strings.Contains(text, "\n  says        2 wait, the oldest since 2000-01-01T00:00:00Z (4m0s ago); the drain that runs takes them with its next heartbeat\n"))
		is.NoErr(grant.Release(ctx, ledger.Plan{}, true))
		is.True(strings.Contains(tell(), "; the next drain says them: dormouse arm is one\n"))
		v, err := look(ctx, book, "gw-1", time.Now())
		is.NoErr(err)
		is.Equal(*v.Says, saysView{Waiting: 2, Oldest: begun.UTC()})
		is.Equal(v.Late.Owed, 2)
		is.Equal(v.Late.First, begun.Add(2*time.Hour).UTC())
	})
}

func TestStatusAndEnableOnATable(t *testing.T) {
	endpoint := os.Getenv("DORMOUSE_TEST_MOTO")
	if endpoint == "" {
		t.Skip("DORMOUSE_TEST_MOTO is not set: make test sets it where there is Python")
	}
	is := is.New(t)
	noAccount(t, map[string]string{"AWS_ENDPOINT_URL": endpoint})
	client := dynamo.NewClient(aws.Config{
		Region: "eu-central-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("AKID", "sk", ""),
	})
	table := "status-" + rand.Text()
	_, err := client.CreateTable(t.Context(), dynamo.Definition(table))
	is.NoErr(err)
	book := dynamo.New(client, table, "gw-1")
	grant, err := book.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "o", Life: 1 << 40})
	is.NoErr(err)
	is.NoErr(grant.Disable(t.Context(), "refused"))

	code, out, errs := dormouse(t.Context(), "status", "--table", table, "--instance", "gw-1")
	is.Equal(errs, "")
	is.Equal(code, 0)
	is.True(strings.HasPrefix(out, "gw-1: disabled since 2"))
	_, out, _ = dormouse(t.Context(), "enable", "--table", table, "--instance", "gw-1", "--json")
	is.True(strings.Contains(out, `"was_disabled": true`))
	is.NoErr(grant.Disable(t.Context(), "refused"))
	_, out, _ = dormouse(t.Context(), "enable", "--table", table, "--instance", "gw-1")
	is.True(strings.HasPrefix(out, "gw-1: enabled"))
	_, out, _ = dormouse(t.Context(), "status", "--table", table, "--instance", "gw-1")
	is.True(strings.HasPrefix(out, "gw-1: draining\n")) // as whoever disabled it still holds its lease
	code, _, errs = dormouse(t.Context(), "status", "--table", table)
	is.Equal(code, 2)
	is.True(strings.Contains(errs, "give --stack, or --table and --instance"))
}
