package relay

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Do sends an action and waits for its result (section 5), at most Config.OutboundTimeout. A refusal is an *OpError, and
// the Result is returned with it. After an error that wraps ErrOutcomeUnknown the action may have been applied; after any
// other it was not, and may be sent again.
func (c *Conn) Do(ctx context.Context, out Outbound) (Result, error) {
	out.RequestID = cmp.Or(out.RequestID, newRequestID())
	waiter := make(chan answer, 1)
	if !c.expect(out.RequestID, waiter) {
		return Result{}, fmt.Errorf("relay: %s: request %q still waits for its result; use another id",
			out.Action.Op(), out.RequestID)
	}
	defer c.forget(out.RequestID, waiter)
	start, err := c.sendFrame(ctx, c.frame(out))
	if err != nil {
		return Result{}, err
	}
	limit := time.NewTimer(c.cfg.OutboundTimeout)
	defer limit.Stop()
	select {
	case a := <-waiter:
		return a.outcome(out)
	case <-ctx.Done():
		return Result{}, unknown(out, ctx.Err())
	case <-limit.C:
		return Result{}, unknown(out, fmt.Errorf("no result within %v", c.cfg.OutboundTimeout))
	case <-c.done:
	}
	select {
	case a := <-waiter: // it came just before the end
		return a.outcome(out)
	default:
	}
	if !c.socket.mayHaveLeft(start) {
		return Result{}, fmt.Errorf("relay: %s was not sent: %w", out.Action.Op(), c.err)
	}
	return Result{}, unknown(out, c.err)
}

// Post sends an action and waits for no result; typing is such an action. It waits only while the peer does not read what
// was sent before. nil means only that the action is on its way.
func (c *Conn) Post(out Outbound) error {
	out.RequestID = cmp.Or(out.RequestID, newRequestID())
	_, err := c.sendFrame(context.Background(), c.frame(out))
	return err
}

// Interrupt asks the connector to stop what it is doing for a session (section 5). reason says why and may be empty.
// Nothing answers an interrupt: nil means only that it is on its way. It waits as Post does.
func (c *Conn) Interrupt(sessionKey, reason string) error {
	if sessionKey == "" {
		return errors.New("relay: interrupt: no session key; name the session with SessionKey")
	}
	frame := interrupt{Type: TypeInterrupt, SessionKey: sessionKey}
	if reason != "" {
		frame.Reason = &reason
	}
	_, err := c.sendFrame(context.Background(), frame)
	return err
}

// interrupt asks the connector to stop the work of a session (section 5).
type interrupt struct {
	Type       string  `json:"type"` // TypeInterrupt
	SessionKey string  `json:"session_key"`
	Reason     *string `json:"reason"` // null if there is none
}

// frame adds the bot that hello named for the action's platform, never another platform's (section 5).
func (c *Conn) frame(out Outbound) OutboundFrame {
	return OutboundFrame{
		Type:      TypeOutbound,
		RequestID: out.RequestID,
		Action:    out.Action,
		Platform:  out.Platform,
		BotID:     c.bots[out.Platform],
	}
}

func newRequestID() string {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// answer is an outbound_result. Its result is nil if the frame could not be read.
type answer struct{ result *Result }

// outcome is what Do returns for an answer to out.
func (a answer) outcome(out Outbound) (Result, error) {
	switch {
	case a.result == nil:
		return Result{}, unknown(out, errors.New("its result cannot be read"))
	case a.result.Success:
		return *a.result, nil
	}
	refused := &OpError{
		Code: a.result.Code, Message: a.result.Error, Retryable: a.result.Retryable, RetryAfter: a.result.RetryAfter,
	}
	if a.result.Ambiguous || a.result.names() {
		return *a.result, unknown(out, refused)
	}
	return *a.result, refused
}

// unknown is the error for an action that may have been applied.
func unknown(out Outbound, why error) error {
	return fmt.Errorf("%w: %s, request %s: %w", ErrOutcomeUnknown, out.Action.Op(), out.RequestID, why)
}

// expect registers who waits for a request's result. It returns false if somebody does already.
func (c *Conn) expect(requestID string, waiter chan<- answer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.waiting[requestID]; taken {
		return false
	}
	c.waiting[requestID] = waiter
	return true
}

// forget undoes expect, unless the request's result has come and the id is in use again.
func (c *Conn) forget(requestID string, waiter chan<- answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[requestID] == waiter {
		delete(c.waiting, requestID)
	}
}

// resolve hands an answer to the caller that waits for it. The reader calls it.
func (c *Conn) resolve(requestID string, a answer) {
	c.mu.Lock()
	waiter, ok := c.waiting[requestID]
	delete(c.waiting, requestID)
	c.mu.Unlock()
	if !ok {
		c.unclaimed.Add(1)
		if c.cfg.Unclaimed != nil && a.result != nil {
			c.cfg.Unclaimed(requestID, *a.result)
		}
		return
	}
	waiter <- a // never blocks: the channel has room for one, and only one is sent
}
