package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func TestTheDeadAreListedShownPutBackAndDropped(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	book := ledger.NewMemory()
	g, err := book.Acquire(ctx, ledger.Ask{Reason: ledger.Arm, Owner: "o", Life: 1 << 40})
	is.NoErr(err)
	for _, key := range []string{"k1", "k2"} {
		_, err := g.Receive(ctx, ledger.Entry{Key: key, State: ledger.New, Body: json.RawMessage(`{"text":"hi"}`)})
		is.NoErr(err)
		is.NoErr(g.Fail(ctx, key, "agent: answered HTTP 500", true))
	}
	var out strings.Builder
	is.NoErr(listDead(ctx, book, "gw-1", &out))
	is.True(strings.HasPrefix(out.String(), "KEY"))
	is.Equal(strings.Count(out.String(), "  1         agent: answered HTTP 500\n"), 2)

	out.Reset()
	is.NoErr(showDead(ctx, book, "k1", &out))
	var shown map[string]any
	is.NoErr(json.Unmarshal([]byte(out.String()), &shown))
	is.Equal(shown["message"], map[string]any{"text": "hi"})
	is.Equal(shown["error"], "agent: answered HTTP 500")

	is.NoErr(retryDead(ctx, book, "k1", &out))
	entries, err := g.Recover(ctx)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	is.Equal(entries[0].Attempts, 0)
	is.NoErr(dropDead(ctx, book, "k2", &out))
	is.True(errors.Is(dropDead(ctx, book, "k2", &out), ledger.ErrNotDead))
	out.Reset()
	is.NoErr(listDead(ctx, book, "gw-1", &out))
	is.Equal(out.String(), "gw-1: no message is dead\n")
}

func TestDeadAsksForWhatItNeeds(t *testing.T) {
	for _, args := range [][]string{{"dead", "show", "--stack", "s"}, {"dead", "list"}, {"dead", "show", "--key", "k"}} {
		is := is.New(t)
		code, _, errs := dormouse(t.Context(), args...)
		is.Equal(code, 1)
		is.True(strings.Contains(errs, "key") || strings.Contains(errs, "--stack"))
	}
}
