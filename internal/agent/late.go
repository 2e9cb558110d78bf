package agent

import (
	"context"
	"sync"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// late is an HTTP agent whose signing secret is in a store. The secret is read when the first turn comes, so that a start
// needs no network, and kept.
type late struct {
	url     string
	read    func(context.Context) (relay.Secret, error)
	netDial relay.DialFunc

	mu    sync.Mutex
	agent *HTTP
}

// Answer is HTTP's. If the secret cannot be read, the error is of class Away: the message waits.
func (l *late) Answer(ctx context.Context, t Turn) (Answer, error) {
	h, err := l.get(ctx)
	if err != nil {
		return Answer{}, err
	}
	return h.Answer(ctx, t)
}

func (l *late) get(ctx context.Context) (*HTTP, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.agent != nil {
		return l.agent, nil
	}
	secret, err := l.read(ctx)
	if err != nil {
		return nil, awayf("agent: its signing secret cannot be read: %w", err)
	}
	h, err := NewHTTP(l.url, secret, l.netDial)
	if err != nil {
		return nil, awayf("%w", err)
	}
	l.agent = h
	return h, nil
}

func (l *late) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.agent != nil {
		l.agent.client.CloseIdleConnections()
	}
}
