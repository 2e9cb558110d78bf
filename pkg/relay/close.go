package relay

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gorilla/websocket"
)

var (
	// ErrOutcomeUnknown means the frame went out and no result came: sending it again may repeat its effect.
	ErrOutcomeUnknown = errors.New("relay: outcome unknown")

	// ErrOverrun ends a Conn whose caller fell 4,096 deliveries or 16 MiB behind: receive faster, or withhold acks so
	// that the connector waits.
	ErrOverrun = errors.New("relay: deliveries overran the queue")

	// ErrNoDescriptor means the connector took the upgrade and then did not answer hello in time (section 4).
	ErrNoDescriptor = errors.New("relay: no descriptor")
)

// CloseKind classes how a connector refused or ended a socket (sections 13 and 19).
type CloseKind int

const (
	CloseBroken    CloseKind = iota // no close frame, or a code without a meaning of its own: dial again
	CloseExpired                    // 4401 "expired": the token aged, dial again with a fresh one
	CloseRefused                    // 4401 otherwise, 4403, or HTTP 401 or 403 at the upgrade
	CloseDuplicate                  // 1008: somebody, or his ghost, holds the seat
	CloseReplaced                   // 1000 "replaced": another socket took the seat
	CloseSuspended                  // 1013: back off
	CloseGoingAway                  // 1001: the connector restarts
)

// String is the kind in one word.
func (k CloseKind) String() string {
	names := [...]string{"broken", "expired", "refused", "duplicate", "replaced", "suspended", "going away"}
	if k < 0 || int(k) >= len(names) {
		return fmt.Sprintf("CloseKind(%d)", int(k))
	}
	return names[k]
}

// CloseError is how the connector ended the socket (section 13, RFC 6455 section 7.4).
type CloseError struct {
	Code   int // 1006 if it broke without a close frame
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
	case e.Code == websocket.ClosePolicyViolation:
		return CloseDuplicate
	case e.Code == websocket.CloseNormalClosure && e.Reason == "replaced":
		return CloseReplaced
	case e.Code == websocket.CloseTryAgainLater:
		return CloseSuspended
	case e.Code == websocket.CloseGoingAway:
		return CloseGoingAway
	}
	return CloseBroken
}

// UpgradeError is the connector's HTTP answer to an upgrade that it did not take.
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

// KindOf finds a *CloseError or an *UpgradeError in err, and says false if there is neither.
func KindOf(err error) (CloseKind, bool) {
	if e, ok := errors.AsType[*CloseError](err); ok {
		return e.Kind(), true
	}
	if e, ok := errors.AsType[*UpgradeError](err); ok {
		return e.Kind(), true
	}
	return CloseBroken, false
}

// OpError is an action that the connector refused or could not carry out (section 11).
type OpError struct {
	Code    string // egress_declined and the like; often empty
	Message string // as it came
}

// Error cuts what the connector said to 200 bytes of each.
func (e *OpError) Error() string {
	message := fmt.Sprintf("%.200q", e.Message)
	if e.Code != "" {
		return fmt.Sprintf("relay: connector refused the action: %.200q: %s", e.Code, message)
	}
	return "relay: connector refused the action: " + message
}
