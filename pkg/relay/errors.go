package relay

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gorilla/websocket"
)

// The errors stand here in the order in which a caller meets them; the package comment has the whole list.

// UpgradeError is the connector's HTTP answer to an upgrade that it refused. Dial returns it.
type UpgradeError struct{ Status int }

func (e *UpgradeError) Error() string {
	return fmt.Sprintf("relay: connector answered the upgrade with HTTP status %d", e.Status)
}

// Kind is CloseRefused for a status that refuses the credentials.
func (e *UpgradeError) Kind() CloseKind {
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		return CloseRefused
	}
	return CloseBroken
}

// ErrNoDescriptor means that the connector took the upgrade and then did not answer hello in time (section 4). Dial
// returns it. Dial again later.
var ErrNoDescriptor = errors.New("relay: no descriptor")

// CloseError is how the connector ended the socket (section 13, RFC 6455 section 7.4). Its Kind says what to do next.
type CloseError struct {
	Code   int // 1006 if the socket broke without a close frame
	Reason string
}

func (e *CloseError) Error() string {
	if e.Code == websocket.CloseAbnormalClosure {
		return "relay: socket broke without a close frame"
	}
	return fmt.Sprintf("relay: connector closed the socket: %d %q", e.Code, e.Reason)
}

// Kind is what the code and the reason mean.
func (e *CloseError) Kind() CloseKind {
	switch {
	case e.Code == 4401 && e.Reason == "expired":
		return CloseExpired
	case e.Code == 4401 || e.Code == 4403:
		return CloseRefused
	case e.Code == websocket.ClosePolicyViolation || e.Code == 4429:
		return CloseDuplicate
	case e.Code == websocket.CloseNormalClosure && e.Reason == "replaced", e.Code == 4000:
		return CloseReplaced
	case e.Code == websocket.CloseTryAgainLater:
		return CloseSuspended
	case e.Code == websocket.CloseGoingAway:
		return CloseGoingAway
	case e.Code/100 == 44 || e.Code/100 == 45:
		return CloseTurnedAway
	}
	return CloseBroken
}

// CloseKind says what a refused upgrade or the end of a socket means (sections 13 and 19).
type CloseKind int

const (
	CloseBroken     CloseKind = iota // no close frame, or a code without a meaning of its own: dial again
	CloseExpired                     // 4401 "expired": the token is too old; dial again with a fresh one
	CloseRefused                     // 4401 otherwise, 4403, HTTP 401 or 403: if a fresh token meets it too, stop
	CloseDuplicate                   // 1008, 4429: another socket of this gateway is open, or not yet noticed as gone; wait
	CloseReplaced                    // 1000 "replaced", 4000: a newer socket of this gateway took over; do not dial against it
	CloseSuspended                   // 1013: too many attempts; wait longer
	CloseGoingAway                   // 1001: the connector restarts; dial again shortly
	CloseTurnedAway                  // another 44xx or 45xx: not let in, for reasons that are not the token's; dial again later
)

// String is the kind in one word, or two.
func (k CloseKind) String() string {
	names := [...]string{"broken", "expired", "refused", "duplicate", "replaced", "suspended", "going away", "turned away"}
	if k < 0 || int(k) >= len(names) {
		return fmt.Sprintf("CloseKind(%d)", int(k))
	}
	return names[k]
}

// KindOf finds a *CloseError or an *UpgradeError in err and returns its Kind; false if there is neither.
func KindOf(err error) (CloseKind, bool) {
	if e, ok := errors.AsType[*CloseError](err); ok {
		return e.Kind(), true
	}
	if e, ok := errors.AsType[*UpgradeError](err); ok {
		return e.Kind(), true
	}
	return CloseBroken, false
}

// OpError is an action that the connector refused or could not carry out (section 11). Do returns it beside the Result.
type OpError struct {
	Code    string // egress_declined and the like; often empty
	Message string // as it came

	Retryable  *bool   // whether sending it again may help; nil: not told
	RetryAfter float64 // seconds to wait before that; 0: not told
}

// Result is the result that the error was made of.
func (e *OpError) Result() Result {
	return Result{Code: e.Code, Error: e.Message, Retryable: e.Retryable, RetryAfter: e.RetryAfter}
}

// Error quotes at most 200 bytes of the code and of the message.
func (e *OpError) Error() string {
	message := fmt.Sprintf("%.200q", e.Message)
	if e.Code != "" {
		return fmt.Sprintf("relay: connector refused the action: %.200q: %s", e.Code, message)
	}
	return "relay: connector refused the action: " + message
}

// ErrOutcomeUnknown means that an action left and no result came that says what became of it. If it is sent again, its
// effect may be there twice. Do returns it.
var ErrOutcomeUnknown = errors.New("relay: outcome unknown")
