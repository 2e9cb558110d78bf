package relay

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unique"
)

const redacted = "[redacted]"

// Secret holds a credential. However it is printed, logged or marshalled it reads "[redacted]"; Reveal is the way out.
// Secrets compare by what they hold.
type Secret struct {
	held unique.Handle[string] // fmt would print a string in an unexported field of some other struct
}

// NewSecret wraps value as it is, untrimmed.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{unique.Make(value)}
}

// Reveal returns the credential itself, to be put on the wire and nowhere else.
func (s Secret) Reveal() string {
	if s == (Secret{}) {
		return ""
	}
	return s.held.Value()
}

// Usable reports whether there is anything but blanks in it: a blank secret must not count as set (section 2).
func (s Secret) Usable() bool { return strings.TrimFunc(s.Reveal(), isSpace) != "" }

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// Format prints "[redacted]" for every verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText returns "[redacted]": a secret does not survive being written and read back.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue is "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// UnmarshalText holds value as it is, as NewSecret does.
func (s *Secret) UnmarshalText(value []byte) error { *s = NewSecret(string(value)); return nil }
