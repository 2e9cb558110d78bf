package drain_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// comeLater is what an agent says that is away for ten minutes.
type comeLater struct{}

func (comeLater) Error() string        { return "come later" }
func (comeLater) Is(target error) bool { return target == agent.ErrUnavailable }

func (comeLater) As(target any) bool {
	asked, ok := target.(**agent.Error)
	if ok {
		*asked = &agent.Error{Class: agent.Away, RetryAfter: 10 * time.Minute}
	}
	return ok
}

// The Rust cell hands out a chat's next message when the eyes come off, or after 20 minutes, and takes a send without reply_to
// for progress (contract section 19). Ten messages in a row are answered as replies within their turns' time, whatever becomes of
// one among them.
func TestTheRustCellHandsOutMessageAfterMessage(t *testing.T) {
	const takes = 2 * time.Second // a turn
	tests := map[string]struct {
		text string                       // of the fifth message; empty: like the others
		bot  bool                         // who says it
		says func() (agent.Answer, error) // what the agent says to it; nil: like to the others
		env  map[string]string
		left int // messages that wait
	}{
		"all are answered":               {},
		"one is left waiting":            {says: func() (agent.Answer, error) { return agent.Answer{}, comeLater{} }, left: 1},
		"the agent is away for one":      {says: func() (agent.Answer, error) { return agent.Answer{}, agent.ErrUnavailable }, left: 1},
		"one is refused":                 {says: func() (agent.Answer, error) { return agent.Answer{}, agent.ErrRefused }},
		"nothing is said to one":         {says: func() (agent.Answer, error) { return agent.Answer{}, nil }},
		"one is answered later":          {says: func() (agent.Answer, error) { return agent.Answer{Later: time.Hour}, nil }, left: 1},
		"one is a command to stop":       {text: "/stop"},
		"one is a bot's over its budget": {bot: true, env: map[string]string{"DORMOUSE_BOT_TURNS": "0"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := setup{preset: "rustcell", ledger: durable(ledger.NewMemory()), env: tt.env}
			s.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
				if tn.Event.MessageID == "m4" && tt.says != nil {
					return tt.says()
				}
				select {
				case <-time.After(takes):
				case <-ctx.Done():
				}
				return agent.Answer{Actions: []relay.Action{
					{"op": "send", "content": "looking", "reply_to": nil}, {"op": "send", "content": "answer to " + tn.Event.Text},
				}}, nil
			})
			bubble(t, s, func(t *testing.T, r *rig) {
				is := is.New(t)
				var want []string
				for n := range 10 { // in one chat, of ten people: each has a session
					e := event("discord", "c1", fmt.Sprint("m", n), fmt.Sprint("message ", n))
					e.Source.UserID = fmt.Sprint("u", n)
					if n == 4 {
						e.Text, e.Source.IsBot = cmp.Or(tt.text, e.Text), tt.bot
					}
					if n != 4 || name == "all are answered" {
						want = append(want, fmt.Sprintf("m%d answer to message %d", n, n))
					}
					r.Deliver(gateway, e)
				}
				began := time.Now()
				rep, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(rep.Received, 10)
				var replies []string
				var last time.Time
				for _, out := range r.Outbounds() {
					if out.Op == "send" && out.Action["reply_to"] != nil && strings.HasPrefix(out.Content, "answer to") {
						replies, last = append(replies, fmt.Sprint(out.Action["reply_to"], " ", out.Content)), out.At
						is.True(!out.Progress)
					}
				}
				is.Equal(replies, want)
				is.True(last.Sub(began) < time.Duration(len(want))*takes+5*time.Second) // nothing waits for the eyes
				is.Equal(rep.Left, tt.left)
			})
		})
	}
}

// One message is left waiting, and others of its session are queued behind it, each of which the cell hands out before the next
// one of the chat: nobody else waits for them.
func TestTheRustCellHandsOutWhatIsBehindAMessageThatIsLeft(t *testing.T) {
	const takes = 2 * time.Second // a turn
	s := setup{preset: "rustcell", ledger: durable(ledger.NewMemory())}
	s.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
		if tn.Event.Source.UserID == "u0" && time.Since(tn.Delivery.ReceivedAt) < 8*time.Minute {
			return agent.Answer{}, comeLater{}
		}
		time.Sleep(takes)
		return agent.Answer{Actions: []relay.Action{{"op": "send", "content": "answer to " + tn.Event.Text}}}, nil
	})
	bubble(t, s, func(t *testing.T, r *rig) {
		is := is.New(t)
		for n := range 10 { // of two people in one chat
			e := event("discord", "c1", fmt.Sprint("m", n), fmt.Sprint(n))
			e.Source.UserID = fmt.Sprint("u", n%2)
			r.Deliver(gateway, e)
		}
		began := time.Now()
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Received, 10)
		is.Equal(rep.Left, 5)
		var last time.Time
		replies := func() (list []string) {
			for _, out := range r.Outbounds() {
				if out.Op == "send" {
					list, last = append(list, fmt.Sprint(out.Action["reply_to"], " ", out.Content)), out.At
				}
			}
			return list
		}
		want := []string{"m1 answer to 1", "m3 answer to 3", "m5 answer to 5", "m7 answer to 7", "m9 answer to 9"}
		is.Equal(replies(), want)
		is.True(last.Sub(began) < 5*takes+5*time.Second) // nothing waits for the eyes
		time.Sleep(10 * time.Minute)
		_, _, err = r.run(ledger.Schedule, quarter)
		is.NoErr(err)
		is.Equal(replies()[5:], []string{"m0 answer to 0", "m8 answer to 2\n4\n6\n8"}) // what waited behind it is one turn
	})
}
