package turn_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/matryer/is"

	ownwords "github.com/dormouse-relay/dormouse/internal/texts"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Our own sentences are said as the operator has written them.
func TestChatsAreToldInTheirLanguage(t *testing.T) {
	own, err := ownwords.Parse(`{"closed_question": "Zu spät.", "cut": "[{n} Zeichen fehlen]", "cut_messages": "[{n} Nachrichten fehlen]",
		"file": "[{name} ging nicht]"}`)
	is.New(t).NoErr(err)
	many := make([]relay.Action, 103)
	for i := range many {
		many[i] = send(fmt.Sprint("text ", i))
	}
	tests := map[string]struct {
		says []relay.Action
		last func(text string) bool
	}{
		"a file that cannot be sent": {[]relay.Action{sendMedia(nil)}, func(s string) bool { return s == "[a.png ging nicht]" }},
		"a long text": {[]relay.Action{send(strings.Repeat("word ", 20_000))}, func(s string) bool {
			return strings.HasSuffix(s, " Zeichen fehlen]")
		}},
		"a long answer": {many, func(s string) bool { return s == "text 99\n[3 Nachrichten fehlen]" }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				b.change = func(c *turn.Config) { c.Texts = own }
				b.agent = says(tt.says...)
				b.wire.ops = allOps
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				last, _ := b.wire.outs[len(b.wire.outs)-1].Action["content"].(string)
				is.True(tt.last(last))
			})
		})
	}
	t.Run("a question that is not open", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *bench) {
			is := is.New(t)
			b.change = func(c *turn.Config) { c.Texts = own }
			b.agent = says(ask(""))
			w := b.start()
			defer w.Close()
			is.NoErr(w.Take(message("c1", "m1", "x")))
			idle(w)
			id := b.wire.outs[0].Action["prompt_id"].(string)
			is.NoErr(w.Take(press("m2", id[:7]+"00000000", "once")))
			idle(w)
			is.Equal(b.wire.seen()[1:], []string{"send c1 Zu spät."})
		})
	})
}
