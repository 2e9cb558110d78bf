package provision

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Declare sends the policies side by side, with an upgrade token as the bearer (section 14). A policy counts as taken only
// if the answer is 200. The error joins those of all policies that failed.
func (c *Client) Declare(ctx context.Context, upgradeToken relay.Secret, policies []relay.Policy) error {
	client := newHTTPClient(c.cfg.NetDial)
	defer client.CloseIdleConnections()
	faults := make([]error, len(policies))
	var wg sync.WaitGroup
	for i, policy := range policies {
		wg.Go(func() {
			if policy.FreeResponseScopes == nil {
				policy.FreeResponseScopes = []string{}
			}
			status, raw, err := c.send(ctx, client, c.cfg.URL.Policy(), upgradeToken, policy)
			switch {
			case err != nil:
				faults[i] = fmt.Errorf("policy of %s: %w", policy.Platform, err)
			case status != http.StatusOK:
				faults[i] = fmt.Errorf("provision: policy of %s: the connector answered HTTP %d", policy.Platform, status)
				if words := sanitize(errorField(raw), upgradeToken); words != "" {
					faults[i] = fmt.Errorf("%w (it says: %s)", faults[i], words)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(faults...)
}
