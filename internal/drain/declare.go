package drain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// declare sends the relevance policy (section 14), once in a run, and not if the connector has taken the same one before;
// an operator who arms has it sent in any case. A failure does not end the run: the policy only keeps the connector from
// waking this gateway for messages that it would not answer.
func (r *run) declare(ctx context.Context, creds provision.Credentials) {
	policies := r.settings.Policies
	if r.declared || len(policies) == 0 {
		return
	}
	r.declared = true
	fingerprint := fingerprint(string(r.settings.URL), creds.GatewayID, policies)
	if r.lease.Grant().Standing.Declared == fingerprint && r.req.Reason != ledger.Arm && r.req.Reason != ledger.Check {
		return
	}
	began := time.Now()
	if err := r.access.client.Declare(ctx, upgradeToken(creds), policies); err != nil {
		r.log.Warn(logs.PolicyRefused, logs.KeyError, err)
		r.policy = err.Error()
		return
	}
	r.policy = "taken"
	r.log.Info(logs.Policy, logs.KeyPlatforms, len(policies), logs.KeyMS, time.Since(began).Milliseconds())
	if err := r.lease.SetDeclared(ctx, fingerprint); err != nil {
		r.log.Error(logs.PolicyUnwritten, logs.KeyError, err)
	}
}

// fingerprint tells one policy from another, by connector and gateway.
func fingerprint(connector, gatewayID string, policies []relay.Policy) string {
	raw, err := json.Marshal([]any{connector, gatewayID, policies})
	if err != nil {
		panic("drain: strings and booleans always marshal: " + err.Error())
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
