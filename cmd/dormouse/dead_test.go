package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"
	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/pkg/relay"
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

	is.NoErr(retryDead(ctx, book, choice{key: "k1"}, false, &out))
	entries, err := ledgertest.Recover(ctx, g)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	is.Equal(entries[0].Attempts, 0)
	is.NoErr(dropDead(ctx, book, choice{key: "k2"}, &out))
	is.True(errors.Is(dropDead(ctx, book, choice{key: "k2"}, &out), ledger.ErrNotDead))
	out.Reset()
	is.NoErr(listDead(ctx, book, "gw-1", &out))
	is.Equal(out.String(), "gw-1: no message is dead\n")
}

// graveyard has a dead message from each chat, the second a day younger, each with an answer that was refused in part.
func graveyard(t *testing.T) (*ledger.Memory, ledger.Lease) {
	t.Helper()
	is := is.New(t)
	ctx := t.Context()
	book := ledger.NewMemory()
	g, err := book.Acquire(ctx, ledger.Ask{Reason: ledger.Arm, Owner: "o", Life: 1 << 60})
	is.NoErr(err)
	for i, chat := range []string{"-100:1", "-100:2"} {
		key, event := fmt.Sprint("k", i+1), relay.Event{Text: "hi", Source: relay.Source{Platform: "telegram", ChatID: chat}}
		body, err := json.Marshal(relay.Delivery{Event: &event})
		is.NoErr(err)
		_, err = g.Receive(ctx, ledger.Entry{Key: key, Seq: int64(i), State: ledger.New, Body: body})
		is.NoErr(err)
		is.NoErr(g.Keep(ctx, key, []json.RawMessage{
			[]byte(`{"op":"send","content":"one"}`), []byte(`{"op":"send","content":"two\u001b[2J \u009b"}`),
		}))
		is.NoErr(g.Confirm(ctx, key, 0, "ok:7"))
		is.NoErr(g.Fail(ctx, key, "refused: \x1b]0;title\x07", true))
		time.Sleep(24 * time.Hour)
	}
	_, err = g.Receive(ctx, ledger.Entry{Key: "k3", Seq: 3, State: ledger.Dead, Error: "too large"})
	is.NoErr(err)
	return book, g
}

func TestADeadMessageIsShownWithWhatBecameOfItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		book, _ := graveyard(t)
		var out strings.Builder
		is.NoErr(showDead(t.Context(), book, "k1", &out))
		is.NoErr(listDead(t.Context(), book, "gw-1", &out))
		var list strings.Builder
		is.NoErr(listDeadJSON(t.Context(), book, "gw-1", &list))
		var dead []deadMessage
		is.NoErr(json.Unmarshal([]byte(list.String()), &dead))
		is.Equal(len(dead), 3)
		is.Equal(dead[0].Key+dead[0].Error, "k1refused: \x1b]0;title\x07") // the same value, escaped
		is.Equal(dead[0].Chat+dead[2].Chat, "telegram:-100:1")             // the last one is not kept itself
		is.True(!strings.ContainsAny(list.String(), "\x1b\x07"))
		is.True(!strings.ContainsAny(out.String(), "\x1b\x07\u009b"))  // a terminal is given no orders
		is.True(strings.Contains(out.String(), "  telegram:-100:1  ")) // as --chat takes it
		is.True(strings.Contains(out.String(), "  -  "))               // one that is not kept itself
		out.Reset()
		is.NoErr(showDead(t.Context(), book, "k1", &out))
		var shown struct {
			Error   string          `json:"error"`
			Message json.RawMessage `json:"message"`
			Answer  []shownAction   `json:"answer"`
		}
		is.NoErr(json.Unmarshal([]byte(out.String()), &shown))
		is.Equal(shown.Error, "refused: \x1b]0;title\x07")
		is.True(strings.Contains(string(shown.Message), `"hi"`))
		is.Equal(len(shown.Answer), 2)
		is.Equal(shown.Answer[0].Outcome, "ok:7")
		is.Equal(shown.Answer[1].Outcome, "not sent, as far as is known")
		is.True(strings.Contains(string(shown.Answer[1].Action), "two"))
	})
}

func TestManyDeadMessagesAreChosenAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string // keys that are left
	}{
		"all":                   {[]string{"--all"}, ""},
		"since a time ago":      {[]string{"--since", "25h"}, "k1"},
		"since a date":          {[]string{"--since", "2000-01-01"}, ""},
		"since a moment":        {[]string{"--since", "2000-01-02T12:00:00Z"}, "k1 k2"},
		"of a chat":             {[]string{"--chat", "Telegram:-100:1"}, "k2 k3"}, // its id may have a colon
		"of a chat, since":      {[]string{"--chat", "telegram:-100:1", "--since", "1h"}, "k1 k2 k3"},
		"of a chat that is not": {[]string{"--chat", "slack:-100:1"}, "k1 k2 k3"},
		"one, as argument":      {[]string{"k2"}, "k1 k3"},
		"one, as flag":          {[]string{"--key", "k2"}, "k1 k3"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				book, _ := graveyard(t)
				is.NoErr(choose(t, tt.args, func(c choice) error { return dropDead(t.Context(), book, c, io.Discard) }))
				list, err := book.ListDead(t.Context())
				is.NoErr(err)
				var left []string
				for _, e := range list {
					left = append(left, e.Key)
				}
				is.Equal(strings.Join(left, " "), tt.want)
			})
		})
	}
}

// choose has do done with what args choose.
func choose(t *testing.T, args []string, do func(choice) error) error {
	t.Helper()
	cmd := &cli.Command{Name: "test", Flags: choiceFlags(), Action: func(_ context.Context, cmd *cli.Command) error {
		c, err := chosen(cmd)
		if err != nil {
			return err
		}
		return do(c)
	}}
	return cmd.Run(t.Context(), append([]string{"test"}, args...))
}

func TestWhatIsChosenIsClear(t *testing.T) {
	for _, args := range [][]string{
		nil, {"k1", "k2"}, {"k1", "--key", "k2"}, {"--all", "--key", "k1"}, {"--all", "--since", "2h"}, {"--since", "2h", "--key", "k"},
		{"--since", "yesterday"}, {"--since", "-2h"}, {"--chat", "telegram"}, {"--chat", ":1"},
	} {
		is := is.New(t)
		err := choose(t, args, func(choice) error { return nil })
		is.True(err != nil) // and nothing is done
	}
}

func TestWhatWasPutBackInBulkIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		book, g := graveyard(t)
		var out strings.Builder
		is.NoErr(retryDead(t.Context(), book, choice{}, true, &out)) // all
		is.True(strings.Contains(out.String(), "k3: left as it is"))
		is.True(strings.HasSuffix(out.String(), "put back: 2 of 3\nthe next drain takes up what was put back: dormouse arm\n"))
		entries, err := ledgertest.Recover(t.Context(), g)
		is.NoErr(err)
		is.Equal(len(entries), 2)
		is.True(entries[0].Open) // the agent is asked again
		is.True(errors.Is(retryDead(t.Context(), book, choice{key: "k3"}, false, &out), ledger.ErrNotDead))
	})
}

func TestWhatWasDoneWithTheDeadIsToldToPrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		book, _ := graveyard(t)
		var out strings.Builder
		said := func() (h map[string][]string) {
			is.NoErr(json.Unmarshal([]byte(out.String()), &h))
			out.Reset()
			return h
		}
		is.NoErr(choose(t, []string{"--all", "--json"}, func(c choice) error { return retryDead(t.Context(), book, c, true, &out) }))
		is.Equal(said(), map[string][]string{"done": {"k1", "k2"}, "left": {"k3"}})
		is.NoErr(choose(t, []string{"k3", "--json"}, func(c choice) error { return dropDead(t.Context(), book, c, &out) }))
		is.Equal(said(), map[string][]string{"done": {"k3"}, "left": {}})
		err := choose(t, []string{"k3", "--json"}, func(c choice) error { return dropDead(t.Context(), book, c, &out) })
		is.True(errors.Is(err, ledger.ErrNotDead))
		is.Equal(said(), map[string][]string{"done": {}, "left": {}})
	})
}

func TestDeadAsksForWhatItNeeds(t *testing.T) {
	for _, args := range [][]string{{"dead", "show", "--stack", "s"}, {"dead", "list"}, {"dead", "show", "--key", "k"}} {
		is := is.New(t)
		code, _, errs := dormouse(t.Context(), args...)
		is.Equal(code, 2)
		is.True(strings.Contains(errs, "key") || strings.Contains(errs, "--stack"))
	}
}
