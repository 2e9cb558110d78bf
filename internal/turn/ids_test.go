package turn_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/turn"
)

// Whoever watches finds a message's lines by the id that the platform, or the connector, knows it by.
func TestTheFirstLineOfADeliveryHasTheIDsOfTheOtherSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledger.NewMemory())
		var out bytes.Buffer
		b.change = func(cfg *turn.Config) { cfg.Log = slog.New(slog.NewJSONHandler(&out, nil)) }
		w := b.start()
		is.NoErr(w.Take(buffered("buf-1", message("c1", "m1", "hello"))))
		synctest.Wait()
		is.NoErr(w.Take(buffered("buf-1", message("c1", "m1", "hello"))))
		synctest.Wait()
		w.Close()
		is.True(strings.Contains(out.String(), `"msg":"journalled"`))
		is.Equal(strings.Count(out.String(), `"message_id":"m1","buffer_id":"buf-1"`), 2) // journalled, and seen before
	})
}
