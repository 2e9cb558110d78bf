package relay_test

import (
	"testing"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestUpgradeToken(t *testing.T) {
	type token struct {
		Note      string
		GatewayID string `json:"gateway_id"`
		Secret    string
		Now       int64 `json:"now_unix"`
		TTL       int64 `json:"ttl_seconds"`
		Token     string
	}
	note := func(c token) string { return c.Note }
	eachVector(t, vectors[token](t, "upgrade_tokens"), note, nil, func(c token) string {
		now := time.Unix(c.Now, 999_999_999) // the fraction does not count
		return unlike("token", relay.UpgradeToken(c.GatewayID, relay.NewSecret(c.Secret), now, time.Duration(c.TTL)*time.Second).Reveal(), c.Token)
	})
}
