package ledger

import (
	"context"
	"time"
)

// Prompt is a question that waits for a button.
type Prompt struct {
	ID       string
	Ref      string    // the agent's, opaque
	Until    time.Time // its first answer may come until then
	Platform string    // of the chat that it was asked in; empty, as the next two: not known
	Chat     string
	Options  []string // ids of what it offers
}

// AnsweredLife is how long a prompt that was taken is remembered as answered.
const AnsweredLife = 7 * 24 * time.Hour

// Prompts are the questions that wait for a button, and those that were answered.
type Prompts interface {
	// PutPrompt keeps p until its time is over, in place of an earlier one of that ID. One that was taken stays as it is.
	// ErrTooLarge as for Keep.
	PutPrompt(ctx context.Context, p Prompt) error
	// TakePrompt gives a prompt to the first delivery that answers it, and again to the same one, so that an attempt that
	// failed can be repeated. Any other delivery gets ErrAnswered for AnsweredLife, else ErrNoPrompt. An answer that fits no
	// such prompt gets ErrForeign, and the prompt stays as it is. fits looks at nothing but its argument.
	TakePrompt(ctx context.Context, id, delivery string, fits func(Prompt) bool) (Prompt, error)
}
