package turn_test

import (
	"context"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// A decline cuts the answer short, whatever it declines: the message is dead, and whoever puts it back has the rest sent
// without the agent.
func TestADeclineOfAnythingWithWordsMakesItsMessageDead(t *testing.T) {
	file := relay.Action{"op": "send_media", "media_kind": "image", "source_url": "https://x.example/a.png", "content": "look"}
	tests := map[string]struct {
		agent agent.Agent
		times int      // what is declined, of what has its op
		op    string   // of what is declined
		first []string // what the chat shows before
		last  []string // and once it was put back
	}{
		"an edit of a stream":                {streamOf(send("a"), edit("b"), edit("c")), -1, "edit", []string{"a"}, []string{"c"}},
		"an edit of a stream, once":          {streamOf(send("a"), edit("b"), edit("c")), 1, "edit", []string{"a"}, []string{"c"}},
		"an edit of a stream, and a send":    {streamOf(send("a"), edit("b"), send("z")), -1, "edit", []string{"a"}, []string{"b", "z"}},
		"an edit of a whole answer":          {says(send("a"), edit("b")), -1, "edit", []string{"a"}, []string{"b"}},
		"a send of a stream, and its edits":  {streamOf(send("a"), edit("b"), edit("c")), -1, "send", nil, []string{"c"}},
		"a send of a stream, and further":    {streamOf(send("a"), send("z")), 1, "send", nil, []string{"a", "z"}},
		"a send of a whole answer, its edit": {says(send("a"), edit("b")), 1, "send", nil, []string{"b"}},
		"a file of a whole answer":           {says(send("a"), file), 1, "send_media", []string{"a"}, []string{"a", "look"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				left := tt.times
				r := room{refuse: func(out relay.Outbound) *relay.OpError {
					if out.Action.Op() != tt.op || left == 0 {
						return nil
					}
					left--
					return &relay.OpError{Code: "egress_declined", Message: "not yours"}
				}}
				b.wire.do, b.agent, b.wire.ops = r.do, tt.agent, allOps
				b.change = func(c *turn.Config) { c.Apology = "sorry" }
				w := b.start()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				w.Close()
				is.Equal(w.Counts().Dead, 1)
				is.Equal(w.Counts().Finished, 0)
				is.Equal(tt.times-left, 1)    // nothing else went there
				is.Equal(r.shows(), tt.first) // nor an apology
				dead, err := b.ledger.ListDead(t.Context())
				is.NoErr(err)
				is.Equal(len(dead), 1)
				is.True(dead[0].Error != "")

				left = 0
				b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
					t.Error("the agent is asked again")
					return agent.Answer{}, nil
				})
				is.NoErr(b.ledger.RetryDead(t.Context(), dead[0].Key, false))
				w = b.start()
				defer w.Close()
				idle(w)
				is.Equal(r.shows(), tt.last)
				is.Equal(w.Counts().Finished, 1)
			})
		})
	}
}

// A decline that was written down makes its message dead also in the run after a death.
func TestADeclineOutlivesItsProcess(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		r := room{refuse: func(out relay.Outbound) *relay.OpError {
			if out.Action.Op() != "edit" {
				return nil
			}
			return &relay.OpError{Code: "egress_declined", Message: "not yours"}
		}}
		b.wire.do, b.agent = r.do, streamOf(send("a"), edit("b"))
		dying := true
		b.ledger = ledgertest.Wrap(b.ledger, func(l ledger.Lease) ledger.Lease { return unburied{l, &dying} })
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		b.crash()
		dying = false
		w = b.start()
		defer w.Close()
		idle(w)
		is.Equal(w.Counts().Turns, 0)
		is.Equal(w.Counts().Dead, 1)
	})
}

// unburied is a lease whose process dies before it can bury anything.
type unburied struct {
	ledger.Lease
	dying *bool
}

func (u unburied) Bury(ctx context.Context, key, reason string) error {
	if *u.dying {
		<-ctx.Done()
		return ctx.Err()
	}
	return u.Lease.Bury(ctx, key, reason)
}

// streamOf is an agent that says its answer piece by piece.
func streamOf(list ...relay.Action) agentFunc {
	return streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
		for _, a := range list {
			say(a)
			time.Sleep(1500 * time.Millisecond)
		}
		return nil
	})
}

// What is sent in place of something else has more parts than one: each of them counts.
func TestAPartThatIsRefusedInPlaceOfAFileMakesItsMessageDead(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		r, tries := room{}, 0
		r.refuse = func(out relay.Outbound) *relay.OpError {
			switch tries++; tries {
			case 1:
				return &relay.OpError{Message: "unsupported op: send_media"}
			case 3:
				return &relay.OpError{Code: "egress_declined", Message: "not yours"}
			}
			return nil
		}
		b.wire.do, b.wire.limit = r.do, 60
		b.agent = says(relay.Action{"op": "send_media", "media_kind": "image", "source_url": "https://x.example/a.png",
			"content": count("w", 14)}, send("last"))
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.Equal(len(r.shows()), 1) // nothing else goes there
		is.Equal(w.Counts().Dead, 1)
	})
}
