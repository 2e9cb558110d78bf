package provision

import (
	"context"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	early   = 30 * time.Second // how long before its end a token is no longer used
	endless = time.Minute      // how long a token that does not say when it ends is kept
)

// Kept is a TokenSource that keeps a token until shortly before its end. Keep makes it.
type Kept struct {
	fetch func(context.Context) (relay.Secret, time.Time, error)
	kept  keeper
}

var _ Alternative = (*Kept)(nil)

// Keep makes a TokenSource of fetch, which gets a new token and says when that ends. If it returns a zero time, the exp of
// the JWT counts; a token without exp is kept for a minute.
func Keep(fetch func(context.Context) (token relay.Secret, ends time.Time, err error)) *Kept {
	return &Kept{fetch: fetch}
}

// Token returns the kept token, or a new one. While a new one is fetched, other callers wait for it and get the same.
func (k *Kept) Token(ctx context.Context) (relay.Secret, error) { return k.kept.get(ctx, k.fetch) }

// Refused drops the token. It reports whether that token had been kept, so that the next one is another.
func (k *Kept) Refused() bool { return k.kept.refused() }

// keeper keeps one token until shortly before its end.
type keeper struct {
	mu    sync.Mutex
	token relay.Secret
	until time.Time // by the wall clock: the monotonic one stands still while a function is frozen
	again bool      // the token was returned more than once
}

// get returns the kept token, or fetches one.
func (k *keeper) get(ctx context.Context, fetch func(context.Context) (token relay.Secret, ends time.Time, err error)) (relay.Secret, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now().Round(0)
	if k.token.Usable() && now.Before(k.until) {
		k.again = true
		return k.token, nil
	}
	token, ends, err := fetch(ctx)
	if err != nil {
		return relay.Secret{}, err
	}
	if ends.IsZero() {
		ends = tokenEnd(token.Reveal())
	}
	k.token, k.until, k.again = token, now.Add(endless), false
	if !ends.IsZero() {
		k.until = ends.Round(0).Add(-early)
	}
	return token, nil
}

// refused drops the token. It reports whether the last token that was returned had been kept.
func (k *keeper) refused() (kept bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept, k.again = k.again, false
	k.token = relay.Secret{}
	return kept
}
