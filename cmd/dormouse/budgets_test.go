package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func TestStatusTellsOfTheDaysBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is, ctx := is.New(t), t.Context()
		book := ledger.NewMemory()
		told := func() string {
			var out strings.Builder
			is.NoErr(status(ctx, book, "gw-1", &out))
			return out.String()
		}
		is.True(!strings.Contains(told(), "turns  "))
		grant, err := book.Acquire(ctx, ledger.Ask{Reason: ledger.Arm, Owner: "o", Life: 72 * time.Hour})
		is.NoErr(err)
		today := ledger.DateOf(time.Now())
		is.NoErr(grant.StartCounted(ctx, "", ledger.Running, ledger.Day{Date: today, Turns: 4, Most: 5}))
		is.NoErr(grant.SetLimited(ctx, ledger.Limited{Date: today, Messages: 12}))
		is.True(strings.Contains(told(), "  turns       4 of 5 today (UTC)\n"))
		is.True(!strings.Contains(told(), "used up"))
		is.True(strings.Contains(told(), "  limited     12 messages of bots not answered today, over DORMOUSE_BOT_TURNS\n"))
		is.NoErr(grant.StartCounted(ctx, "", ledger.Running, ledger.Day{Date: today, Turns: 5, Most: 5}))
		is.True(strings.Contains(told(), "used up: what comes waits until 00:00 UTC"))
		time.Sleep(24 * time.Hour) // another day
		is.True(!strings.Contains(told(), "of 5 today"))
		is.True(!strings.Contains(told(), "limited"))
	})
}
