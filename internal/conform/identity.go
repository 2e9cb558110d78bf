package conform

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

var identityChecks = []Check{
	{
		ID: "provision-secret", Suite: Identity, Section: 14, Level: Must,
		Sentence: "a gateway that provisions for the first time is answered 2xx, with its id and a secret that lets it in",
		Quote:    "2xx answer: `secret`, `deliveryKey`, `tenant`, `gatewayId`, `routeKeys`",
		needs:    needs{identity: true},
		run:      checkProvision,
	},
	{
		ID: "provision-identity", Suite: Identity, Section: 14, Level: Must,
		Sentence: "who shows no identity token, or another one, is answered 4xx with an error that is a text, and gets no secret",
		Quote:    "An error answer's `error` field is shown.",
		needs:    needs{identity: true},
		run:      checkProvisionIdentity,
	},
	{
		ID: "provision-incomplete", Suite: Identity, Section: 14, Level: Should,
		Sentence: "a request without gatewayId is answered 4xx",
		Quote:    "One POST per fronted platform, one after another, same id: body `gatewayId`, `platform`, `botId`",
		needs:    needs{identity: true},
		run: func(t *trial) error {
			r, err := t.provision(t.cfg.Identity, "", t.cfg.Platforms[0], nil)
			if err == nil && r.status/100 != 4 {
				err = fmt.Errorf("%v", r)
			}
			return err
		},
	},
	{
		ID: "provision-repeat", Suite: Identity, Section: 14, Level: Must,
		Sentence: "a gateway that provisions again is answered 2xx, and its secret of before still lets it in, as does a new one",
		Quote:    "the connector's rotation window keeps the previous secret valid for a while",
		needs:    needs{identity: true},
		run:      checkProvisionRepeat,
	},
	{
		ID: "provision-flag", Suite: Identity, Section: 14, Level: Must,
		Sentence: "an answer without a secret says so by secretIssued, the literal false",
		Quote:    "withheld only if the flag is the JSON literal `false`",
		needs:    needs{identity: true},
		run:      checkProvisionFlag,
	},
	{
		ID: "provision-platforms", Suite: Identity, Section: 14, Level: Must,
		Sentence: "a gateway that provisions for a second platform is answered 2xx, its first secret lets it in, and both hellos are answered",
		Quote:    "for every platform after the first, the answer carries NO secret",
		needs:    needs{identity: true, fronts: 2},
		run:      checkProvisionPlatforms,
	},
	{
		ID: "provision-colons", Suite: Identity, Section: 2, Level: Must,
		Sentence: "a gateway whose id has colons is let in",
		Quote:    "The id may contain colons, so a verifier splits from the right.",
		needs:    needs{identity: true},
		run: func(t *trial) error {
			id := t.newID() + ":a:b"
			r, err := t.provision(t.cfg.Identity, id, t.cfg.Platforms[0], nil)
			if err != nil || !r.ok() {
				return orSaid(err, "provisioning: %v", r)
			}
			return t.letIn(gateway{id, r.secret()}, "with an id with colons")
		},
	},
	{
		ID: "provision-stranger", Suite: Identity, Section: 14, Level: Must,
		Sentence: "another tenant that provisions a known id gets no secret of it, and the gateway is let in as before",
		Quote:    "on a replay of an existing gatewayId by a caller that proves neither ownership nor possession",
		needs:    needs{stranger: true},
		run:      checkProvisionStranger,
	},
	{
		ID: "provision-wake", Suite: Identity, Section: 12, Level: Must,
		Sentence: "the wake URL that a gateway provisions is the one that is poked",
		Quote:    "The wake URL reaches the connector only at provision.",
		needs:    needs{identity: true, inject: true, wake: true},
		run:      checkProvisionWake,
	},
	{
		ID: "seat-others", Suite: Identity, Section: 21, Level: Must,
		Sentence: "two gateways are connected at once, and what is written to one of them comes to it alone",
		Quote:    "a socket takes the seat with its first hello",
		needs:    needs{identity: true, inject: true},
		run:      checkSeatOthers,
	},
	{
		ID: "enroll-secret", Suite: Identity, Section: 14, Level: Must,
		Sentence: "an enrollment token is redeemed for the id and a secret that lets the gateway in, and is refused by 403 from then on",
		Quote:    "answer `{secret, deliveryKey, tenant, gatewayId}`",
		needs:    needs{enroll: true},
		run:      checkEnroll,
	},
	{
		ID: "enroll-refused", Suite: Identity, Section: 14, Level: Must,
		Sentence: "an enrollment without an identity token is answered 401, and one with another enrollment token 403",
		Quote:    "identity not verified; 403 = token invalid, expired, used or other tenant",
		needs:    needs{identity: true},
		run:      checkEnrollRefused,
	},
	{
		ID: "policy-taken", Suite: Identity, Section: 14, Level: Must,
		Sentence: "a policy is taken with status 200",
		Quote:    "only status 200 counts",
		needs:    needs{secret: true},
		run: func(t *trial) error {
			r, err := t.policy(t.bearer())
			if err == nil && r.status != 200 {
				err = fmt.Errorf("%v", r)
			}
			return err
		},
	},
	{
		ID: "policy-token", Suite: Identity, Section: 14, Level: Must,
		Sentence: "a policy without an upgrade token is refused by a 4xx status",
		Quote:    "`POST /relay/policy`, bearer upgrade token",
		needs:    needs{secret: true},
		run: func(t *trial) error {
			r, err := t.policy(relay.Secret{})
			if err == nil && r.status/100 != 4 {
				err = fmt.Errorf("%v", r)
			}
			return err
		},
	},
}

// policy declares what the reference declares for a platform whose bots want to be addressed.
func (t *trial) policy(bearer relay.Secret) (reply, error) {
	r, err := t.askJSON("/policy", bearer, map[string]any{
		"platform": t.cfg.Platforms[0], "requireAddress": true, "freeResponseScopes": []string{}, "allowOtherBots": false,
	})
	if err == nil && r.missing() {
		err = &skipped{"there is no /relay/policy"}
	}
	return r, err
}

func checkProvision(t *trial) error {
	g, err := t.fresh(t.cfg.Identity, nil)
	if err != nil {
		return err
	}
	return t.letIn(g, "with the secret that was issued")
}

func checkProvisionIdentity(t *trial) error {
	for _, identity := range []relay.Secret{{}, relay.NewSecret("conform-no-identity")} {
		r, err := t.provision(identity, t.newID(), t.cfg.Platforms[0], nil)
		switch {
		case err != nil:
			return err
		case r.status/100 != 4:
			return fmt.Errorf("%v", r)
		case r.secret().Usable():
			return errors.New("a secret was issued")
		case textOf(r.object, "error") == "":
			return fmt.Errorf("%v without an error", r)
		}
	}
	return nil
}

func checkProvisionRepeat(t *trial) error {
	g, err := t.fresh(t.cfg.Identity, nil)
	if err != nil {
		return err
	}
	r, err := t.provision(t.cfg.Identity, g.id, t.cfg.Platforms[0], nil)
	if err != nil || !r.ok() {
		return orSaid(err, "again: %v", r)
	}
	t.facts.note("provision", "withholds")
	if r.secret().Usable() {
		t.facts.note("provision", "issues")
		if err := t.letIn(gateway{g.id, r.secret()}, "with the second secret"); err != nil {
			return err
		}
	}
	return t.letIn(g, "with the secret of before")
}

func checkProvisionFlag(t *trial) error {
	g, err := t.fresh(t.cfg.Identity, nil)
	if err != nil {
		return err
	}
	for _, platform := range []string{t.cfg.Platforms[0], t.cfg.Platforms[len(t.cfg.Platforms)-1], "conform-platform"} {
		r, err := t.provision(t.cfg.Identity, g.id, platform, nil)
		if err != nil {
			return err
		}
		if r.ok() && !r.secret().Usable() && r.object["secretIssued"] != false {
			return fmt.Errorf("no secret, and secretIssued is %v", r.object["secretIssued"])
		}
	}
	return nil
}

func checkProvisionPlatforms(t *trial) error {
	g, err := t.fresh(t.cfg.Identity, nil)
	if err != nil {
		return err
	}
	r, err := t.provision(t.cfg.Identity, g.id, t.cfg.Platforms[1], nil)
	if err != nil || !r.ok() {
		return orSaid(err, "for %s: %v", t.cfg.Platforms[1], r)
	}
	t.facts.note("provision-second", r.secret().Usable())
	p, err := t.seat(g)
	if err != nil {
		return fmt.Errorf("with the first secret: %w", err)
	}
	p.hello(t.cfg.Platforms[1])
	_, err = p.expect(relay.TypeDescriptor)
	return err
}

func checkProvisionStranger(t *trial) error {
	g, err := t.fresh(t.cfg.Identity, nil)
	if err != nil {
		return err
	}
	r, err := t.provision(t.cfg.Stranger, g.id, t.cfg.Platforms[0], nil)
	if err != nil {
		return err
	}
	if secret := r.secret(); secret.Usable() {
		if t.letIn(gateway{g.id, secret}, "the stranger") == nil {
			return errors.New("the stranger was given a secret that lets in")
		}
		return errors.New("the stranger was given a secret")
	}
	return t.letIn(g, "after the stranger's request")
}

const wakePath = "/conform-wake"

func checkProvisionWake(t *trial) error {
	g, err := t.fresh(t.cfg.Identity, map[string]any{"wakeUrl": strings.TrimRight(t.cfg.WakeURL, "/") + wakePath})
	if err != nil {
		return err
	}
	p, err := t.seat(g)
	if err != nil {
		return err
	}
	if err := p.idle(); err != nil {
		return err
	}
	p.leave()
	t.forgetPokes()
	if err := t.writeTo(g.id, t.chat(), "message 1"); err != nil {
		return err
	}
	for {
		poke, ok := t.poked(t.pokeWait())
		if !ok {
			return fmt.Errorf("no poke there within %v", t.pokeWait())
		}
		if strings.HasSuffix(poke.Path, wakePath) {
			return nil
		}
	}
}

func checkSeatOthers(t *trial) error {
	g, err := t.fresh(t.cfg.Identity, nil)
	if err != nil {
		return err
	}
	ours, err := t.calm()
	if err != nil {
		return err
	}
	other, err := t.seat(g)
	if err != nil {
		return fmt.Errorf("a second gateway beside the first: %w", err)
	}
	if err := t.writeTo(g.id, t.chat(), "message 1"); err != nil {
		return err
	}
	if f, err := other.inbound(); err != nil {
		return err
	} else if id := f.bufferID(); id != "" {
		other.ack(id)
	}
	if err := ours.silent("to the gateway to which it was not written"); err != nil {
		return err
	}
	return ours.answersHello("a second gateway has connected")
}

func checkEnroll(t *trial) error {
	g := gateway{id: t.newID()}
	r, err := t.enroll(t.cfg.Identity, t.cfg.Enroll, g.id)
	switch {
	case err != nil:
		return err
	case !r.ok() || !r.secret().Usable():
		return fmt.Errorf("%v", r)
	case textOf(r.object, "gatewayId") == "":
		return errors.New("no gatewayId in the answer")
	}
	g.id, g.secret = textOf(r.object, "gatewayId"), r.secret()
	if err := t.letIn(g, "with the secret of the enrollment"); err != nil {
		return err
	}
	r, err = t.enroll(t.cfg.Identity, t.cfg.Enroll, t.newID())
	if err == nil && r.status != 403 {
		err = fmt.Errorf("the token again: %v", r)
	}
	return err
}

func (t *trial) enroll(identity, token relay.Secret, id string) (reply, error) {
	r, err := t.askJSON("/enroll", identity, map[string]any{"enrollmentToken": token.Reveal(), "gatewayId": id})
	if err == nil {
		t.facts.note("enroll", !r.missing())
		if r.missing() {
			err = &skipped{"there is no /relay/enroll"}
		}
	}
	return r, err
}

func checkEnrollRefused(t *trial) error {
	stray := relay.NewSecret("conform-no-enrollment")
	r, err := t.enroll(relay.Secret{}, stray, t.newID())
	if err != nil || r.status != 401 {
		return orSaid(err, "without an identity: %v", r)
	}
	r, err = t.enroll(t.cfg.Identity, stray, t.newID())
	if err == nil && r.status != 403 {
		err = fmt.Errorf("with another enrollment token: %v", r)
	}
	return err
}
