package turn_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func TestAnEntryThatCannotBeReadIsDeadAndFailsNoOther(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.start()
		body, err := json.Marshal(message("c1", "m3", "hello"))
		is.NoErr(err)
		for i, body := range []string{`{"event":null}`, `[`, string(body)} {
			_, err := b.lease.Receive(t.Context(), ledger.Entry{
				Key: strings.Repeat("k", i+1), Seq: int64(i), State: ledger.New, Session: "0000000a", Body: []byte(body),
			})
			is.NoErr(err)
		}
		b.current.Close()
		w := b.start()
		defer w.Close()
		synctest.Wait()
		is.Equal(b.wire.seen(), []string{"send c1 hello"})
		is.True(!w.Busy())
		dead, err := b.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.Equal(len(dead), 2)
		for _, e := range dead {
			is.True(strings.Contains(e.Error, "the entry cannot be read"))
		}
		is.Equal(w.Counts().Dead, 2)
	})
}
