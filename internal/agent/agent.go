// Package agent asks the agent: it gives a turn to whatever answers, as JSON, and returns the actions that the chat is to
// get. An agent is a Lambda function, an HTTP endpoint, or the echo for tests.
//
// Package turn calls Answer for each attempt. It blocks until the agent has answered or the context ends, and may be called
// from any goroutine, for several turns at a time. Answer starts no goroutine that outlives it, asks once, and remembers
// nothing of a turn. Errors quote no events, no answers and no URLs; of an HTTP status that is no answer, and of a
// function's error, they keep the first words.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Turn is one message for the agent, as JSON. docs/agent has its schema.
type Turn struct {
	Version    int               `json:"version"` // 1
	Kind       string            `json:"kind"`    // KindMessage or KindPassthrough
	SessionKey string            `json:"session_key"`
	Results    map[string]Result `json:"results,omitempty"` // of KindResults: by the names that the agent gave
	Event      *relay.Event      `json:"event"`             // contract section 6, defaults filled in
	Events     []*relay.Event    `json:"events,omitempty"`  // of several messages: as they came; Event is the last with the texts of all
	Context    string            `json:"context,omitempty"` // the event's context as lines to read, for reference only
	Prompt     *Prompt           `json:"prompt,omitempty"`  // the question that this answers
	Media      []Media           `json:"media,omitempty"`   // the event's attachments, with files that were fetched
	Forward    *relay.Forward    `json:"forward,omitempty"` // of KindPassthrough: the request itself, unverified
	Descriptor relay.Descriptor  `json:"descriptor"`        // of the chat's platform
	Late       bool              `json:"late,omitempty"`    // it is old news: said longer ago than DORMOUSE_STALE_AFTER
	Delivery   Delivery          `json:"delivery"`

	// Traceparent is the trace that the turn belongs to (W3C Trace Context). A URL gets it as a header, too.
	Traceparent string `json:"traceparent,omitempty"`
}

// Kinds of turns.
const (
	KindMessage     = "message"
	KindResults     = "results"     // what became of actions whose results the agent has asked for
	KindPassthrough = "passthrough" // a platform's raw request: its event says no more than the platform
)

// Media is an attachment. One that the connector has re-hosted has Data, or an Error that says why the file is missing. A
// public link has neither.
type Media struct {
	relay.Media
	Data  []byte `json:"data,omitempty"` // base64 in JSON
	Error string `json:"error,omitempty"`
}

// withoutFiles returns the turn without its files. Their Error says that they were left out.
func (t Turn) withoutFiles() Turn {
	t.Media = slices.Clone(t.Media)
	for i := range t.Media {
		if m := &t.Media[i]; m.Data != nil {
			m.Data, m.Error = nil, "left out: with it the turn is more than the agent takes"
		}
	}
	return t
}

// Prompt is a question that an earlier answer asked, with the option that the user chose.
type Prompt struct {
	PromptID string `json:"prompt_id"`
	OptionID string `json:"option_id"`
	Ref      string `json:"ref,omitempty"` // as the agent gave it
}

// Delivery says how the message got here.
type Delivery struct {
	Key        string    `json:"key"`     // the same at every attempt
	Attempt    int       `json:"attempt"` // from 1
	Buffered   bool      `json:"buffered"`
	ReceivedAt time.Time `json:"received_at"`
	SaidAt     time.Time `json:"said_at"`         // by the platform's own id, where that holds a time; else ReceivedAt
	AgeS       int64     `json:"age_s"`           // whole seconds since then, as this attempt starts
	Sent       []Sent    `json:"sent,omitempty"`  // what earlier attempts have sent before their stream broke
	Trial      bool      `json:"trial,omitempty"` // an operator tries whether the agent answers: nothing of the answer is sent
}

// Sent is an action that an earlier attempt has sent, or may have.
type Sent struct {
	Op        string `json:"op"`
	MessageID string `json:"message_id,omitempty"` // empty if no answer told it
	Outcome   string `json:"outcome"`              // ok, unknown, refused or declined
	Class     string `json:"class,omitempty"`      // of an outcome that is not ok: unknown, permanent or declined
}

// Result is what became of an action.
type Result struct {
	Op        string          `json:"op"`
	Success   bool            `json:"success"`
	Outcome   string          `json:"outcome"`              // ok, unknown, refused, declined or skipped
	Class     string          `json:"class,omitempty"`      // of one that is not ok: unknown, declined or permanent
	MessageID string          `json:"message_id,omitempty"` // of the message that it made or changed
	ThreadID  string          `json:"thread_id,omitempty"`  // of thread_create
	ChatInfo  json.RawMessage `json:"chat_info,omitempty"`  // of get_chat_info
}

// Answer is what the agent wants done, in order. An empty answer is a choice to say nothing.
type Answer struct {
	Actions []relay.Action
	More    int // actions behind them that are too much to be held: their number is all that is known of them

	// Later, if it is not zero, says that the answer comes later, within that time, as a say. Nothing else is in it then.
	Later time.Duration

	// Stream, if it is not nil, yields further actions as the agent makes them. It is ranged over once at most, before the
	// turn's context ends. A *Skipped is a record that is no action, beside others. Any other error is the last that it yields,
	// and means what an error of Agent.Answer means.
	Stream iter.Seq2[relay.Action, error]
}

// Agent answers turns. ClassOf says what an error means for the message.
type Agent interface {
	Answer(ctx context.Context, turn Turn) (Answer, error)
}

// Options are what some agents need besides their name.
type Options struct {
	Secret relay.Secret // signs turns that are posted to a URL; blank leaves them unsigned
	Lambda Invoker      // invokes a lambda: agent

	// LambdaStreams, if set, invokes a lambda: agent in place of Lambda, so that its answers may stream.
	LambdaStreams StreamInvoker

	// Durable, if it is not zero, says that a lambda: agent is a durable function, whose answers come later, within that time.
	Durable time.Duration

	// ReadSecret, if set, returns the signing secret in place of Secret. It is called when the first turn is posted.
	ReadSecret func(context.Context) (relay.Secret, error)

	// NetDial opens the connections to a URL; nil means the network.
	NetDial relay.DialFunc
}

// New returns the agent that spec names: "echo", "lambda:" and a function's name or ARN, or an http or https URL. done
// stops its idle connections.
func New(spec string, opt Options) (a Agent, done func(), err error) {
	none := func() {}
	if spec == "echo" {
		return Echo{}, none, nil
	}
	if function, ok := strings.CutPrefix(spec, "lambda:"); ok {
		if function == "" || opt.Lambda == nil {
			return nil, nil, errors.New("agent: lambda: wants a function's name or ARN behind it, and a client to invoke it with")
		}
		if opt.Durable > 0 {
			return NewDurable(function, opt.Lambda, opt.Durable), none, nil
		}
		return NewLambda(function, opt.Lambda, opt.LambdaStreams), none, nil
	}
	if strings.HasPrefix(spec, "https://") || strings.HasPrefix(spec, "http://") {
		if opt.ReadSecret != nil {
			h := &late{url: spec, read: opt.ReadSecret, netDial: opt.NetDial}
			return h, h.done, nil
		}
		h, err := NewHTTP(spec, opt.Secret, opt.NetDial)
		if err != nil {
			return nil, nil, err
		}
		return h, h.client.CloseIdleConnections, nil
	}
	return nil, nil, fmt.Errorf("agent %q: want echo, lambda: and a function, or an http(s) URL", spec)
}

// Echo answers one send with the event's text, and nothing to an event without text.
type Echo struct{}

// Answer never fails.
func (Echo) Answer(_ context.Context, t Turn) (Answer, error) {
	if t.Event.Text == "" {
		return Answer{}, nil
	}
	return Answer{Actions: []relay.Action{say(t.Event.Text)}}, nil
}

func say(text string) relay.Action { return relay.Action{"op": "send", "content": text} }
