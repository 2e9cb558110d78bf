package turn

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const promptLife = time.Hour // section 11

// prompts keeps the questions that wait for a button, and finds the question that a button belongs to. A prompt is in the
// ledger before it leaves, and belongs to the first delivery that answers it. It has no lock: the ledger decides.
type prompts struct {
	ledger ledger.Prompts
	marker string // what the ids of this instance's prompts begin with
	run    *lifetime
	log    *slog.Logger
}

// put keeps a prompt that is about to leave. If it cannot be kept, its answer would find nobody: then it must not leave.
func (p *prompts) put(key string, turn relay.Source, o action.Outgoing) bool {
	life := promptLife
	if seconds, ok := o.Action["timeout_s"].(float64); ok {
		life = time.Duration(seconds * float64(time.Second))
	}
	asked := promptOf(turn, o)
	asked.Until = time.Now().Add(life)
	err := p.ledger.PutPrompt(p.run.ctx, asked)
	if err != nil {
		p.log.Error(logs.PromptNotKept, logs.KeyDelivery, key, logs.KeyError, err)
	}
	return err == nil
}

// drop forgets a prompt that the connector has refused (section 11).
func (p *prompts) drop(key string, turn relay.Source, o action.Outgoing) {
	asked := promptOf(turn, o)
	asked.Until = time.Now()
	if err := p.ledger.PutPrompt(p.run.ctx, asked); err != nil {
		p.log.Warn(logs.PromptNotDropped, logs.KeyDelivery, key, logs.KeyError, err)
	}
}

// promptOf is what is known of a prompt of a turn with that source, but for its time.
func promptOf(turn relay.Source, o action.Outgoing) ledger.Prompt {
	asked := ledger.Prompt{Ref: o.Ref, Platform: cmp.Or(o.Platform, turn.Platform), Chat: o.Chat()}
	asked.ID, _ = o.Action["prompt_id"].(string)
	options, _ := o.Action["options"].([]any)
	for _, option := range options {
		option, _ := option.(map[string]any)
		id, _ := option["id"].(string)
		asked.Options = append(asked.Options, id)
	}
	return asked
}

// answers says whether a message may answer a prompt: it chose what was offered, in the chat that was asked. Some
// connectors name the chat of a thread's message, or of an account with two names, by its other id.
func answers(e *relay.Event, asked ledger.Prompt) bool {
	s := e.Source
	switch {
	case len(asked.Options) > 0 && !slices.Contains(asked.Options, e.PromptResponse.OptionID):
		return false
	case asked.Chat == "":
		return true
	case asked.Platform != s.Platform && asked.Platform != "relay" && s.Platform != "relay":
		return false
	}
	return slices.Contains([]string{s.ChatID, s.ChatIDAlt, s.ThreadID, s.ParentChatID}, asked.Chat)
}

// promptUse says what a message has to do with a prompt.
type promptUse int

const (
	promptNone       promptUse = iota // it is no answer to a prompt
	promptAnswered                    // it is the answer to a prompt of this instance
	promptForeign                     // it is nobody's: of another gateway's prompt (section 9), another chat, or not offered
	promptTaken                       // another delivery has answered the prompt before
	promptClosed                      // the prompt is not open any more
	promptUnreadable                  // the ledger does not say
)

// take finds the prompt that a message answers. Only promptNone and promptAnswered are for the agent: an answer to anything
// but a pending prompt of this instance is consumed here (section 11). What counts is when the button was pressed: by then the
// prompt has to be open, however much later the message is read.
func (p *prompts) take(e *relay.Event, key, session string, received time.Time) (*agent.Prompt, promptUse) {
	response := e.PromptResponse
	if response == nil || response.PromptID == "" {
		return nil, promptNone
	}
	log := p.log.With(logs.KeyDelivery, key, logs.KeySession, session, logs.KeyPrompt, response.PromptID)
	if p.foreign(response.PromptID) {
		log.Info(logs.PromptForeign)
		return nil, promptForeign
	}
	fits := func(asked ledger.Prompt) bool { return answers(e, asked) }
	press := ledger.Press{Prompt: response.PromptID, Delivery: key, At: saidAt(e, received, false)}
	found, err := p.ledger.TakePrompt(p.run.ctx, press, fits)
	switch {
	case err == nil:
		return &agent.Prompt{PromptID: found.ID, OptionID: response.OptionID, Ref: found.Ref}, promptAnswered
	case errors.Is(err, ledger.ErrForeign):
		log.Warn(logs.PromptForeign, logs.KeyReason, "another chat, or an option that was not offered")
		return nil, promptForeign
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
