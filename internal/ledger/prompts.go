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

// Press is an answer to a prompt.
type Press struct {
	Prompt   string    // its ID
	Delivery string    // that brings it
	At       time.Time // when it was given, which may be long before it is read
}

// AnsweredLife is how long a prompt that was taken is remembered as answered, and one whose time is over is kept for answers that
// were given in time.
const AnsweredLife = 7 * 24 * time.Hour

// Prompts are the questions that wait for a button, and those that were answered.
type Prompts interface {
	// PutPrompt keeps p, in place of an earlier one of that ID. One that was taken stays as it is.
	// ErrTooLarge as for Keep.
	PutPrompt(ctx context.Context, p Prompt) error
	// TakePrompt gives a prompt to the first delivery that answers it in time, and again to the same one, so that an attempt
	// that failed can be repeated. Any other delivery gets ErrAnswered for AnsweredLife, else ErrNoPrompt, as does an answer that
	// was given after the prompt's time. An answer that fits no such prompt gets ErrForeign, and the prompt stays as it is. fits
	// looks at nothing but its argument.
	TakePrompt(ctx context.Context, press Press, fits func(Prompt) bool) (Prompt, error)
}
