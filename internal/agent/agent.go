// Package agent is who answers: it takes a turn as JSON and gives back actions for the chat.
package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Turn is one message for the agent, as JSON.
type Turn struct {
	Version    int              `json:"version"` // 1
	SessionKey string           `json:"session_key"`
	Event      *relay.Event     `json:"event"`      // contract section 6, defaults filled in
	Descriptor relay.Descriptor `json:"descriptor"` // of the chat's platform
	Delivery   Delivery         `json:"delivery"`
}

// Delivery says how the message got here.
type Delivery struct {
	Key        string    `json:"key"`     // the same at every attempt
	Attempt    int       `json:"attempt"` // from 1
	Buffered   bool      `json:"buffered"`
	ReceivedAt time.Time `json:"received_at"`
}

// Answer is what the agent wants done, in order; none means nothing.
type Answer struct {
	Actions []relay.Action
}

// Agent answers turns. An error is a failed attempt, unless it wraps ErrUnavailable.
type Agent interface {
	Answer(ctx context.Context, turn Turn) (Answer, error)
}

// ErrUnavailable means that the agent was not reached: no attempt, the message waits.
var ErrUnavailable = errors.New("agent cannot be reached")

// New returns the agent that spec names: "echo", or an http or https URL. done stops its idle connections.
func New(spec string) (a Agent, done func(), err error) {
	switch {
	case spec == "echo":
		return Echo{}, func() {}, nil
	case strings.HasPrefix(spec, "https://"), strings.HasPrefix(spec, "http://"):
		h := NewHTTP(spec)
		return h, h.client.CloseIdleConnections, nil
	}
	return nil, nil, fmt.Errorf("agent %q: want echo or an http(s) URL", spec)
}

// Echo answers one send with the event's text, and nothing to an event without text.
type Echo struct{}

// Answer never fails.
func (Echo) Answer(_ context.Context, t Turn) (Answer, error) {
	if t.Event.Text == "" {
		return Answer{}, nil
	}
	return Answer{Actions: []relay.Action{{"op": "send", "content": t.Event.Text}}}, nil
}

// maxAnswer bounds an answer's JSON.
const maxAnswer = 6 << 20

// HTTP posts each turn to a URL. Any status but 200 and 204, and any body that Decode refuses, is a failed attempt.
type HTTP struct {
	url    string
	client *http.Client
}

// NewHTTP returns the agent behind url. Connections are kept for the next turn. Redirects are refused: a turn goes to
// the host that was configured and to no other.
func NewHTTP(url string) *HTTP {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	return &HTTP{url: url, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Answer posts the turn and reads the answer. The errors do not show the URL, which may hold a credential.
func (h *HTTP) Answer(ctx context.Context, t Turn) (Answer, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return Answer{}, fmt.Errorf("agent: encoding the turn: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return Answer{}, errors.New("agent: DORMOUSE_AGENT is no usable URL")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "dormouse")
	res, err := h.client.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("agent: posting the turn: %w", reach(ctx, err))
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("agent: reading the answer: %w", reach(ctx, err))
	case res.StatusCode == http.StatusNoContent:
		return Answer{}, nil
	case res.StatusCode != http.StatusOK:
		return Answer{}, fmt.Errorf("agent: answered HTTP %d, want 200 or 204", res.StatusCode)
	case len(answer) > maxAnswer:
		return Answer{}, fmt.Errorf("agent: answer is over %d bytes", maxAnswer)
	}
	return Decode(answer)
}

// Decode reads an answer: {"actions":[{"op":...},...]}, {"text":"..."}, or nothing, which is an empty body or {}.
func Decode(body []byte) (Answer, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return Answer{}, nil
	}
	var in struct {
		Actions []relay.Action `json:"actions"`
		Text    *string        `json:"text"`
	}
	if err := jsonv2.Unmarshal(body, &in); err != nil {
		return Answer{}, fmt.Errorf(`agent: answer is not {"actions":[...]}, {"text":"..."} or empty: %w`, shape(err))
	}
	if in.Actions != nil && in.Text != nil {
		return Answer{}, errors.New("agent: answer has both actions and text, want one of them")
	}
	if in.Text != nil && *in.Text != "" {
		return Answer{Actions: []relay.Action{{"op": "send", "content": *in.Text}}}, nil
	}
	for i, a := range in.Actions {
		if a.Op() == "" {
			return Answer{}, fmt.Errorf("agent: actions[%d] has no op", i)
		}
	}
	return Answer{Actions: in.Actions}, nil
}
