package turn

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	promptLife       = time.Hour // section 11
	promptClosedText = "That question is no longer open."
)

// prompts keeps the questions that wait for a button, and finds the question that a button belongs to. A prompt is in the
// ledger before it leaves, and belongs to the first delivery that answers it. It has no lock: the ledger decides.
type prompts struct {
	ledger ledger.Prompts
	marker string // what the ids of this instance's prompts begin with
	run    *lifetime
	log    *slog.Logger
}

// put keeps a prompt that is about to leave. If it cannot be kept, its answer would find nobody: then it must not leave.
func (p *prompts) put(key string, o action.Outgoing) bool {
	id, _ := o.Action["prompt_id"].(string)
	life := promptLife
	if seconds, ok := o.Action["timeout_s"].(float64); ok {
		life = time.Duration(seconds * float64(time.Second))
	}
	err := p.ledger.PutPrompt(p.run.ctx, ledger.Prompt{ID: id, Ref: o.Ref, Until: time.Now().Add(life)})
	if err != nil {
		p.log.Error(logs.PromptNotKept, logs.KeyDelivery, key, logs.KeyError, err)
	}
	return err == nil
}

// drop forgets a prompt that the connector has refused (section 11).
func (p *prompts) drop(key string, o action.Outgoing) {
	id, _ := o.Action["prompt_id"].(string)
	if err := p.ledger.PutPrompt(p.run.ctx, ledger.Prompt{ID: id, Until: time.Now()}); err != nil {
		p.log.Warn(logs.PromptNotDropped, logs.KeyDelivery, key, logs.KeyError, err)
	}
}

// promptUse says what a message has to do with a prompt.
type promptUse int

const (
	promptNone       promptUse = iota // it is no answer to a prompt
	promptAnswered                    // it is the answer to a prompt of this instance
	promptForeign                     // it answers another gateway's prompt: the connector shows answers to all (section 9)
	promptTaken                       // another delivery has answered the prompt before
	promptClosed                      // the prompt is not open any more
	promptUnreadable                  // the ledger does not say
)

// take finds the prompt that a message answers. Only promptNone and promptAnswered are for the agent: an answer to anything
// but a pending prompt of this instance is consumed here (section 11).
func (p *prompts) take(response *relay.PromptResponse, key, session string) (*agent.Prompt, promptUse) {
	if response == nil || response.PromptID == "" {
		return nil, promptNone
	}
	log := p.log.With(logs.KeyDelivery, key, logs.KeySession, session, logs.KeyPrompt, response.PromptID)
	if p.foreign(response.PromptID) {
		log.Info(logs.PromptForeign)
		return nil, promptForeign
	}
	found, err := p.ledger.TakePrompt(p.run.ctx, response.PromptID, key)
	switch {
	case err == nil:
		return &agent.Prompt{PromptID: found.ID, OptionID: response.OptionID, Ref: found.Ref}, promptAnswered
	case errors.Is(err, ledger.ErrAnswered):
		log.Info(logs.PromptAnsweredBefore)
		return nil, promptTaken
	case errors.Is(err, ledger.ErrNoPrompt):
		log.Info(logs.PromptClosed)
		return nil, promptClosed
	default:
		log.Error(logs.PromptsUnreadable, logs.KeyError, err)
		return nil, promptUnreadable
	}
}

// foreign says whether a prompt is another gateway's.
func (p *prompts) foreign(promptID string) bool {
	marker, _, dotted := strings.Cut(promptID, ".")
	return dotted && marker != p.marker
}
