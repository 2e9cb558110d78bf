package logs

// Events of package wake. Poke and PokeLost have KeyMethod, KeyAttempts and KeyMS.
const (
	// Poke says that Lambda has accepted the start of drain.
	Poke = "poke"

	// PokeLost is an error: drain was not started. With KeyError.
	PokeLost = "poke lost: the drain was not started"

	// EventRefused is a warning: the event is no HTTP request. With KeyBytes.
	EventRefused = "event refused: not an HTTP request in payload format 2.0"

	// MethodRefused is a warning: the request has a method that pokes nothing.
	MethodRefused = "poke refused: method not allowed"
)

// Keys of package wake's events.
const (
	KeyMethod   = "method"   // the request's
	KeyAttempts = "attempts" // how often Lambda was asked
	KeyBytes    = "bytes"    // the event's size
)
