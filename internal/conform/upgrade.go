package conform

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

var upgradeChecks = []Check{
	{
		ID: "upgrade-token", Suite: Core, Section: 2, Level: Must,
		Sentence: "a fresh upgrade token is let in: hello is answered",
		Quote:    "The WebSocket upgrade carries the header `Authorization: Bearer <token>`.",
		run:      func(t *trial) error { _, err := t.connect(); return err },
	},
	{
		ID: "upgrade-no-expiry", Suite: Core, Section: 2, Level: Should,
		Sentence: "a token whose exp is 0 does not expire",
		Quote:    "else the literal `0` (no expiry)",
		run:      checkNoExpiry,
	},
	{
		ID: "upgrade-signature", Suite: Core, Section: 13, Level: Must,
		Sentence: "a token with a wrong signature is refused by close 4401 after the upgrade",
		Quote:    "4401 is a close code after an accepted upgrade",
		run:      func(t *trial) error { return t.refused4401(mangled(t.token())) },
	},
	{
		ID: "upgrade-unknown-gateway", Suite: Core, Section: 13, Level: Must,
		Sentence: "a token of a gateway that is not known is refused by close 4401",
		Quote:    "the credentials are not accepted",
		run: func(t *trial) error {
			stranger := relay.UpgradeToken("conform-stranger", t.cfg.Secret, time.Now(), time.Minute)
			return t.refused4401(stranger.Reveal())
		},
	},
	{
		ID: "upgrade-no-token", Suite: Core, Section: 13, Level: Should,
		Sentence: "a dial without a token is refused by close 4401, where tokens are used",
		Quote:    "the credentials are not accepted",
		run:      func(t *trial) error { return t.refused4401("") },
	},
	{
		ID: "upgrade-malformed", Suite: Core, Section: 2, Level: Must,
		Sentence: "a token that is none is refused by close 4401: another text, or one of two parts",
		Quote:    "`token = base64url(signed + \":\" + sig)` without padding",
		run: func(t *trial) error {
			for _, token := range []string{"conform", base64.RawURLEncoding.EncodeToString([]byte(t.cfg.GatewayID + ":0"))} {
				if err := t.refused4401(token); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		ID: "upgrade-expired", Suite: Core, Section: 13, Level: Should,
		Sentence: "a token that expired an hour ago is refused by close 4401 with the reason expired",
		Quote:    "the token aged",
		run:      checkExpired,
	},
	{
		ID: "upgrade-leeway", Suite: Core, Section: 2, Level: Should,
		Sentence: "a token that expired a minute ago is refused",
		Quote:    "`exp` = now in whole unix seconds + ttl when ttl > 0",
		run:      checkLeeway,
	},
	{
		ID: "upgrade-path", Suite: Core, Section: 1, Level: Should,
		Sentence: "an upgrade at /relay/ is answered HTTP 400",
		Quote:    "A connector answers 400 to an upgrade on any path other than `/relay`",
		run:      checkPath,
	},
}

func checkNoExpiry(t *trial) error {
	if !t.cfg.Secret.Usable() {
		return &skipped{"the kit has no secret: it dials without a token"}
	}
	p, err := t.dialWith(relay.UpgradeToken(t.cfg.GatewayID, t.cfg.Secret, time.Now(), 0).Reveal(), "")
	if err != nil {
		return err
	}
	return p.answersHello("a dial with exp 0")
}

// aged is a token whose time was over so long ago.
func (t *trial) aged(ago time.Duration) string {
	return relay.UpgradeToken(t.cfg.GatewayID, t.cfg.Secret, time.Now().Add(-ago-time.Second), time.Second).Reveal()
}

func checkExpired(t *trial) error {
	if !t.cfg.Secret.Usable() {
		return &skipped{"the kit has no secret: it dials without a token"}
	}
	end, err := t.refusal(t.aged(time.Hour))
	if err == nil && (end.code != 4401 || end.reason != "expired") {
		err = errors.New(end.String())
	}
	return err
}

func checkLeeway(t *trial) error {
	if !t.cfg.Secret.Usable() {
		return &skipped{"the kit has no secret: it dials without a token"}
	}
	_, err := t.refusal(t.aged(time.Minute))
	if refusal, ok := errors.AsType[*refused](err); ok && refusal.status != 0 {
		err = nil // by HTTP: upgrade-expired says so
	}
	t.facts.note("leeway", time.Duration(0))
	if err != nil {
		t.facts.note("leeway", 10*time.Minute)
		if _, later := t.refusal(t.aged(150 * time.Second)); later == nil {
			t.facts.note("leeway", 2*time.Minute)
		}
	}
	return err
}

func checkPath(t *trial) error {
	p, err := t.dialWith(t.token(), "/")
	if err == nil {
		end := p.closes()
		t.facts.note("lost", end.code)
		return fmt.Errorf("the upgrade was accepted, then: %v", end)
	}
	if refusal, ok := errors.AsType[*refused](err); ok && refusal.status == 400 {
		return nil
	}
	return err
}
