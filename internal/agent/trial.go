package agent

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// TrialText is what a trial turn says.
const TrialText = "ping"

// Trialled is what an agent did with a trial turn.
type Trialled struct {
	Took    time.Duration
	Actions int    // 0: it chose to say nothing
	Said    string // the first words of its first text
}

// Trial asks an agent something that is in no chat: a turn whose delivery says that it is a trial. What it answers goes
// nowhere. The error is that of Agent.Answer, or of its stream.
func Trial(ctx context.Context, a Agent) (t Trialled, err error) {
	now := time.Now()
	event := relay.Event{Text: TrialText, MessageType: "text", MessageID: "trial", Source: relay.Source{
		Platform: "relay", ChatID: "trial", ChatType: "dm", UserID: "operator", UserName: "operator",
	}}
	said, err := a.Answer(ctx, Turn{
		Version: 1, Kind: KindMessage, SessionKey: "trial", Event: &event,
		Descriptor: relay.Descriptor{ContractVersion: 1, Platform: "relay", MaxMessageLength: 4096, LenUnit: "chars", MarkdownDialect: "plain"},
		Delivery:   Delivery{Key: "trial-" + strings.ToLower(rand.Text()), Attempt: 1, ReceivedAt: now, SaidAt: now, Trial: true},
	})
	if err != nil {
		return t, err
	}
	count := func(action relay.Action) {
		t.Actions++
		if text, _ := action["content"].(string); t.Said == "" {
			t.Said = strings.ToValidUTF8(text[:min(len(text), 80)], "")
		}
	}
	for _, action := range said.Actions {
		count(action)
	}
	if said.Stream != nil {
		for action, err := range said.Stream {
			if err != nil {
				return t, err
			}
			count(action)
		}
	}
	t.Took = time.Since(now)
	return t, nil
}
