package turn

import (
	"errors"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
)

const (
	promptLife = time.Hour // section 11
	tooLate    = "That question is no longer open."
)

// putPrompt keeps a prompt that is about to leave. If it cannot be kept its answer would find nobody: it does not leave.
func (w *Worker) putPrompt(it *item, o action.Outgoing) bool {
	id, _ := o.Action["prompt_id"].(string)
	life := promptLife
	if seconds, ok := o.Action["timeout_s"].(float64); ok {
		life = time.Duration(seconds * float64(time.Second))
	}
	err := w.cfg.Prompts.PutPrompt(w.ctx, ledger.Prompt{ID: id, Ref: o.Ref, Until: time.Now().Add(life)})
	if err != nil {
		w.cfg.Log.Error("a prompt could not be kept, so it is not sent: left for the next run", "delivery", it.key, "error", err)
	}
	return err == nil
}

// dropPrompt forgets a prompt that the connector refused (section 11).
func (w *Worker) dropPrompt(it *item, o action.Outgoing) {
	id, _ := o.Action["prompt_id"].(string)
	if err := w.cfg.Prompts.PutPrompt(w.ctx, ledger.Prompt{ID: id, Until: time.Now()}); err != nil {
		w.cfg.Log.Warn("a refused prompt stays known until its time is over", "delivery", it.key, "error", err)
	}
}

// foreign says whether a prompt is another gateway's: the connector shows its answers to all (section 9).
func (w *Worker) foreign(promptID string) bool {
	theirs, _, dotted := strings.Cut(promptID, ".")
	return dotted && theirs != w.marker
}

// answered finds the prompt that it answers, nil if it is an ordinary message. An answer to anything but a pending prompt
// of this instance is consumed here (section 11).
func (w *Worker) answered(it *item) (prompt *agent.Prompt, consumed bool, err error) {
	response := it.Event.PromptResponse
	if response == nil || response.PromptID == "" {
		return nil, false, nil
	}
	log := w.cfg.Log.With("delivery", it.key, "session", it.session, "prompt", response.PromptID)
	if w.foreign(response.PromptID) {
		log.Info("an answer to another gateway's prompt: dropped")
		return nil, true, nil
	}
	p, err := w.cfg.Prompts.TakePrompt(w.ctx, response.PromptID, it.key)
	switch {
	case err == nil:
		it.accepted = true
		return &agent.Prompt{PromptID: p.ID, OptionID: response.OptionID, Ref: p.Ref}, false, nil
	case errors.Is(err, ledger.ErrAnswered):
		log.Info("a prompt answered before: dropped")
	case errors.Is(err, ledger.ErrNoPrompt):
		log.Info("a prompt that is not open any more")
		w.tell(it, tooLate)
	default:
		log.Error("prompts cannot be read: left for the next run", "error", err)
		return nil, false, errLeft
	}
	return nil, true, nil
}
