package provision

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Stored is a TokenSource for a token in a store of secrets. It calls read when it has no token, or one that ends soon. So
// a token that is replaced in the store needs no restart.
func Stored(read func(context.Context) (relay.Secret, error)) *Kept {
	return Keep(func(ctx context.Context) (relay.Secret, time.Time, error) {
		secret, err := read(ctx)
		if err != nil {
			return relay.Secret{}, time.Time{}, err
		}
		token := strings.TrimSpace(secret.Reveal())
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return relay.Secret{}, time.Time{}, fmt.Errorf("%w: what is stored is no identity token: want the bare token", ErrAuthUnusable)
		}
		ends := tokenEnd(token)
		if err := ended(ends); err != nil {
			return relay.Secret{}, time.Time{}, err
		}
		return relay.NewSecret(token), ends, nil
	})
}
