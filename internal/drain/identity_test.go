package drain_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/secretstore"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const credentialsARN = "arn:aws:ssm:eu-central-1:1:parameter/dormouse/gw-1"

// vault is a store with one secret, which may be replaced, and which may be down.
type vault struct {
	mu     sync.Mutex
	secret relay.Secret
	err    error
	reads  int
}

func (v *vault) Get(context.Context, string) (relay.Secret, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reads++
	return v.secret, v.err
}

func (v *vault) put(secret string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secret = identity.Encode(provision.Credentials{GatewayID: gateway, Secret: relay.NewSecret(secret)})
}

func (v *vault) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
}

// stored is a rig whose credentials are pinned by ARN.
func stored(preset string) (setup, *vault) {
	v := &vault{}
	v.put(pinnedSecret)
	return setup{
		preset: preset, pinned: true, clients: identity.Clients{Secrets: v},
		env: map[string]string{"GATEWAY_RELAY_SECRET": "", "GATEWAY_RELAY_CREDENTIALS_ARN": credentialsARN},
	}, v
}

// rotate replaces the gateway's secret at the connector.
func (r *rig) rotate(secret string) {
	r.Register(devconnector.Gateway{ID: gateway, Tenant: "tenant-1", Secrets: []relay.Secret{relay.NewSecret(secret)}})
}

func (r *rig) disabled(t *testing.T) bool {
	standing, err := r.ledger.Standing(t.Context())
	is.New(t).NoErr(err)
	return standing.Disabled
}

func TestPinnedCredentialsAreReadFromTheirStore(t *testing.T) {
	for _, preset := range []string{"hosted", "whatrouter"} { // the latter answers 404 to provisioning
		t.Run(preset, func(t *testing.T) {
			s, v := stored(preset)
			bubble(t, s, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.proxy(at("/relay/provision", func(http.ResponseWriter, *http.Request) { t.Error("it was provisioned") }))
				for range 2 {
					rep, _, err := r.run(ledger.Wake, quarter)
					is.NoErr(err)
					is.Equal(rep.Status, drain.Empty)
				}
				is.Equal(v.reads, 1) // kept for the warm invocation
				is.Equal(len(r.State().Provisions), 0)
				standing, err := r.ledger.Standing(t.Context())
				is.NoErr(err)
				is.Equal(standing.Handshaken, gateway)
			})
		})
	}
}

func TestARotationInItsSleepNeedsNoDeployment(t *testing.T) {
	s, v := stored("hosted")
	bubble(t, s, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		r.rotate("second-canary")
		v.put("second-canary")
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.True(!r.disabled(t)) // not taken for an opt-out
		is.Equal(r.replies(), []string{"c1 hello"})
		is.Equal(v.reads, 2)
	})
}

func TestARotationWhileConnectedNeedsNoDeployment(t *testing.T) {
	s, v := stored("hosted")
	bubble(t, s, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		wait := r.during(answered, func() {
			r.rotate("second-canary")
			v.put("second-canary")
			r.Kick(gateway, 4401, "unauthorized")
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.True(!r.disabled(t))
		is.Equal(len(r.State().Sockets), 2)
	})
}

func TestAStoreThatIsDownIsNoOptOut(t *testing.T) {
	s, v := stored("hosted")
	bubble(t, s, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		r.rotate("second-canary")
		v.fail(errors.New("the store is down"))
		rep, took, _ := r.run(ledger.Wake, quarter)
		is.Equal(rep.Status, drain.Failed)
		is.True(took >= 100*time.Second)
		is.True(!r.disabled(t))

		v.fail(nil)
		v.put("second-canary")
		rep, _, err = r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Empty)
	})
}

func TestCredentialsThatAreGoneFailAtOnce(t *testing.T) {
	s, v := stored("hosted")
	bubble(t, s, func(t *testing.T, r *rig) {
		is := is.New(t)
		v.fail(fmt.Errorf("%w: read %s: it is not there", secretstore.ErrSecretUnusable, credentialsARN))
		rep, took, err := r.run(ledger.Wake, quarter)
		is.Equal(rep.Status, drain.Failed)
		is.True(strings.Contains(err.Error(), credentialsARN+": it is not there"))
		is.True(took < time.Second) // waiting would change nothing
	})
}

func TestARotationThatWasNotStoredIsARefusalForGood(t *testing.T) {
	s, v := stored("hosted")
	bubble(t, s, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		r.rotate("second-canary")
		rep, took, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Revoked)
		is.True(took >= time.Minute && took < 90*time.Second) // so long it may take between connector and store
		is.True(v.reads > 5)                                  // before each dial
		is.True(r.disabled(t))
	})
}

// A rotation changes the connector first, and the store a moment later.
func TestARotationTakesItsTime(t *testing.T) {
	for name, gap := range map[string]time.Duration{"seconds": 3 * time.Second, "nearly a minute": 50 * time.Second} {
		t.Run(name+", in its sleep", func(t *testing.T) {
			s, v := stored("hosted")
			bubble(t, s, func(t *testing.T, r *rig) {
				is := is.New(t)
				_, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				r.rotate("second-canary")
				time.AfterFunc(gap, func() { v.put("second-canary") })
				r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
				rep, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(rep.Status, drain.Drained)
				is.True(!r.disabled(t))
			})
		})
		t.Run(name+", while connected", func(t *testing.T) {
			s, v := stored("hosted")
			bubble(t, s, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
				wait := r.during(answered, func() {
					r.rotate("second-canary")
					r.Kick(gateway, 4401, "unauthorized")
					time.Sleep(gap)
					v.put("second-canary")
				})
				rep, _, err := r.run(ledger.Wake, quarter)
				wait()
				is.NoErr(err)
				is.Equal(rep.Status, drain.Drained)
				is.True(!r.disabled(t))
			})
		})
	}
}

// A refusal by mistake has opened the question already, and the connection that followed lives for less than a minute.
func TestARotationBehindAMistakeHasAMinuteOfItsOwn(t *testing.T) {
	s, v := stored("hosted")
	bubble(t, s, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		wait := r.during(answered, func() {
			r.Kick(gateway, 4401, "unauthorized")
			is.NoErr(r.Wait(t.Context(), dialled(2)))
			for range 5 { // it stays awake
				time.Sleep(9 * time.Second)
				r.Deliver(gateway, event("discord", "c1", fmt.Sprint("m", time.Now()), "hello"))
			}
			time.Sleep(time.Second)
			r.rotate("second-canary")
			r.Kick(gateway, 4401, "unauthorized")
			time.Sleep(50 * time.Second)
			v.put("second-canary")
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.True(!r.disabled(t))
		is.Equal(len(r.replies()), 6)
	})
}

// A connector that greets and refuses does not begin the minute again each time.
func TestAMinuteBeginsAgainOnce(t *testing.T) {
	s, _ := stored("hosted")
	bubble(t, s, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		dials := r.endsAll(ending{code: 4401, greets: true, lives: 2 * time.Second})
		rep, took, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Revoked)
		is.True(took >= time.Minute && took < 2*time.Minute)
		is.True(len(dials.list()) <= 10)
	})
}

// What answers nothing during the minute decides nothing, and a store that changed begins another one.
func TestTheMinuteOfARotation(t *testing.T) {
	tests := map[string]struct {
		meanwhile func(r *rig, v *vault)
		revoked   bool
		took      time.Duration // at least
	}{
		"suspended at its end": {func(r *rig, _ *vault) {
			time.Sleep(40 * time.Second)
			r.proxy(at("/relay", ending{code: 1013}.serve))
			time.Sleep(60 * time.Second)
			r.proxy(nil)
		}, true, 100 * time.Second},
		"another secret, which is not good either": {func(_ *rig, v *vault) {
			time.Sleep(8 * time.Second)
			v.put("third-canary")
		}, true, 68 * time.Second},
		"a store that is away at its end": {func(_ *rig, v *vault) {
			time.Sleep(40 * time.Second)
			v.fail(errors.New("the store is down"))
		}, false, 100 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, v := stored("hosted")
			bubble(t, s, func(t *testing.T, r *rig) {
				is := is.New(t)
				_, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				r.rotate("second-canary")
				var meanwhile sync.WaitGroup
				meanwhile.Go(func() { tt.meanwhile(r, v) })
				_, took, _ := r.run(ledger.Wake, quarter)
				meanwhile.Wait()
				is.Equal(r.disabled(t), tt.revoked)
				is.True(took >= tt.took)
			})
		})
	}
}

// The question is closed once a connection has lived a minute, also if its minute had begun again before.
func TestAConnectionThatLivedAMinuteIsNoOptOut(t *testing.T) {
	strike, long := ending{code: 4401, greets: true}, ending{code: 4401, greets: true, lives: 61 * time.Second}
	for name, strikes := range map[string][]ending{"after a mistake": {strike, long, strike}, "after two": {strike, strike, long, strike}} {
		t.Run(name, func(t *testing.T) { livedAMinute(t, strikes) })
	}
}

func livedAMinute(t *testing.T, strikes []ending) {
	s, _ := stored("hosted")
	bubble(t, s, func(t *testing.T, r *rig) {
		is := is.New(t)
		var dials dialTimes
		r.proxy(func(w http.ResponseWriter, req *http.Request) bool {
			if req.URL.Path != "/relay" {
				return false
			}
			n := dials.note()
			if n > len(strikes) {
				return false
			}
			dials.serving.Add(1)
			defer dials.serving.Done()
			strikes[n-1].serve(w, req)
			return true
		})
		rep, _, err := r.run(ledger.Arm, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Empty)
		is.True(!r.disabled(t))
		is.Equal(len(dials.list()), len(strikes)+1)
	})
}

// Every way in which a connector can say that a known gateway is not wanted any more ends in the same state, with the
// status and the text of the refusal in the standing and in one line for an alarm.
func TestAnOptOutIsRemembered(t *testing.T) {
	tests := map[string]struct {
		setup setup
		awake bool // it happens while connected
		cold  bool // the next drain is a new process
		want  string
	}{
		"403 at provision": {setup{}, false, true, "drain: the connector refuses this gateway for good: provision: the connector " +
			"answered HTTP 403: this identity may not have this gateway id: check whose it is, or choose another id " +
			"(it says: this gateway is revoked)"},
		"401 at the upgrade":                {setup{preset: "agentsync", pinned: true}, false, false, "connector answered the upgrade with HTTP status 401"},
		"4401 after accept":                 {setup{pinned: true}, false, false, "4401"},
		"4401 while connected":              {setup{pinned: true}, true, false, "refused again with a fresh token"},
		"4403 while connected, then 401":    {setup{preset: "agentsync", pinned: true}, true, false, "connector answered the upgrade with HTTP status 401"},
		"4401 while connected, provisioned": {setup{}, true, false, "refused again with a fresh token"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, tt.setup, func(t *testing.T, r *rig) {
				is := is.New(t)
				next := r
				if tt.awake {
					r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
					wait := r.during(answered, func() { r.Revoke(gateway) })
					defer wait()
				} else {
					_, _, err := r.run(ledger.Wake, quarter)
					is.NoErr(err)
					is.NoErr(r.Revoke(gateway))
					if tt.cold {
						next = r.coldStart(t)
					}
				}
				rep, _, err := next.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(rep.Status, drain.Revoked)
				standing, err := r.ledger.Standing(t.Context())
				is.NoErr(err)
				is.True(standing.Disabled)
				if !strings.Contains(standing.DisabledBy, tt.want) {
					t.Errorf("disabled by %q, want %q", standing.DisabledBy, tt.want)
				}
				is.Equal(strings.Count(r.log.String(), `"msg":"`+logs.Revoked+`"`), 1)

				for _, reason := range []ledger.Reason{ledger.Wake, ledger.Schedule, ledger.Arm, ledger.Continue} {
					before := len(r.State().Observations)
					rep, _, err := r.coldStart(t).run(reason, quarter)
					is.NoErr(err) // not an error, and not retried
					is.Equal(rep.Status, drain.Disabled)
					is.Equal(len(r.State().Observations), before) // nothing is provisioned and nothing dialled
				}

				is.NoErr(r.Restore(gateway))
				is.NoErr(r.ledger.Enable(t.Context())) // as `dormouse enable` does
				rep, _, err = r.coldStart(t).run(ledger.Wake, quarter)
				is.NoErr(err)
				is.True(rep.Status == drain.Empty || rep.Status == drain.Drained)
			})
		})
	}
}

func TestRacingColdStartsProvisionOnce(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		other := r.coldStart(t)
		var reports [2]drain.Report
		var wg sync.WaitGroup
		for i, rig := range []*rig{r, other} {
			wg.Go(func() { reports[i], _, _ = rig.run(ledger.Wake, quarter) })
		}
		wg.Wait()
		statuses := []drain.Status{reports[0].Status, reports[1].Status}
		is.True(statuses[0] == drain.Empty && statuses[1] == drain.Taken || statuses[1] == drain.Empty && statuses[0] == drain.Taken)
		is.Equal(len(r.State().Provisions), 4) // one for each platform
	})
}

// fakeSTS gives tokens, or an error.
type fakeSTS struct {
	known string // the algorithm that the connector can verify
	err   error
	asks  []string
}

func (f *fakeSTS) GetWebIdentityToken(_ context.Context, in *sts.GetWebIdentityTokenInput, _ ...func(*sts.Options)) (
	*sts.GetWebIdentityTokenOutput, error,
) {
	if f.err != nil {
		return nil, f.err
	}
	f.asks = append(f.asks, *in.SigningAlgorithm+" for "+in.Audience[0])
	ends := time.Now().Add(5 * time.Minute)
	token := identityToken
	if *in.SigningAlgorithm != f.known {
		token = "another-canary"
	}
	return &sts.GetWebIdentityTokenOutput{WebIdentityToken: aws.String(token), Expiration: &ends}, nil
}

const es384, rs256 = "ES384 for http://localhost:80", "RS256 for http://localhost:80"

func TestAConnectorThatKnowsOnlyRS256(t *testing.T) {
	fake := &fakeSTS{known: "RS256"}
	env := map[string]string{
		"GATEWAY_RELAY_IDENTITY_TOKEN": "", "GATEWAY_RELAY_IDENTITY": "aws", "GATEWAY_RELAY_URL": "http://localhost:80",
	}
	bubble(t, setup{env: env, clients: identity.Clients{STS: fake}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Empty)
		is.Equal(slices.Compact(fake.asks), []string{es384, rs256}) // either twice if the first was fetched ahead, and so kept
		rep, _, err = r.coldStart(t).run(ledger.Wake, quarter)      // a known gateway: the first 401 is no opt-out
		is.NoErr(err)
		is.Equal(rep.Status, drain.Empty)
		is.True(!r.disabled(t))
	})
}

func TestAStaleTokenIsFetchedAnewBeforeItsRefusalCounts(t *testing.T) {
	env := map[string]string{
		"GATEWAY_RELAY_IDENTITY_TOKEN": "", "GATEWAY_RELAY_IDENTITY": "aws", "GATEWAY_RELAY_URL": "http://localhost:80",
	}
	for known, tt := range map[string]struct {
		asks []string
		want drain.Status
	}{
		"ES384": {[]string{es384, es384}, drain.Empty},
		"RS256": {[]string{es384, es384, rs256}, drain.Empty},
		"none":  {[]string{es384, es384, rs256}, drain.Failed}, // no fourth
	} {
		t.Run(known, func(t *testing.T) {
			fake := &fakeSTS{known: "ES384"}
			bubble(t, setup{env: env, clients: identity.Clients{STS: fake}}, func(t *testing.T, r *rig) {
				is := is.New(t)
				_, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(fake.asks, []string{es384})
				fake.known = known
				var dials atomic.Int32
				r.proxy(func(w http.ResponseWriter, req *http.Request) bool {
					no := req.URL.Path == "/relay" && dials.Add(1) == 1 || req.URL.Path == "/relay/provision" && len(fake.asks) == 1
					if no {
						w.WriteHeader(http.StatusUnauthorized)
					}
					return no
				})
				rep, _, err := r.run(ledger.Wake, quarter)
				is.Equal(err != nil, tt.want == drain.Failed)
				is.Equal(rep.Status, tt.want)
				is.Equal(fake.asks, tt.asks)
				is.True(!r.disabled(t)) // an identity that is not accepted is no opt-out
			})
		})
	}
}

func TestAnIdentityThatCannotBeHad(t *testing.T) {
	env := map[string]string{
		"GATEWAY_RELAY_IDENTITY_TOKEN": "", "GATEWAY_RELAY_IDENTITY": "aws", "GATEWAY_RELAY_URL": "http://localhost:80",
	}
	for name, tt := range map[string]struct {
		err     error
		atLeast time.Duration
		atMost  time.Duration
	}{
		"for now":  {errors.New("no route to host"), 100 * time.Second, 140 * time.Second},
		"for good": {provision.ErrAuthUnusable, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{env: env, clients: identity.Clients{STS: &fakeSTS{err: tt.err}}}, func(t *testing.T, r *rig) {
				is := is.New(t)
				rep, took, err := r.run(ledger.Wake, quarter)
				is.Equal(rep.Status, drain.Failed)
				is.True(errors.Is(err, tt.err))
				is.True(took >= tt.atLeast && took <= tt.atMost)
			})
		})
	}
}

func TestPolicyIsDeclaredOnce(t *testing.T) {
	env := map[string]string{"GATEWAY_RELAY_REQUIRE_MENTION": "true", "SLACK_ALLOW_BOTS": "all"}
	bubble(t, setup{env: env}, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		got := map[string]string{}
		for _, p := range r.State().Policies {
			got[p.Platform] = fmt.Sprint(p.Gateway, p.RequireAddress, p.FreeResponseScopes, p.AllowOtherBots)
		}
		is.Equal(got, map[string]string{
			"discord": "gw-1true [] false", "telegram": "gw-1true [] false",
			"slack": "gw-1true [] true", "whatsapp": "gw-1true [] false",
		})
		var order []string
		for _, o := range r.State().Observations {
			if o.What == devconnector.ObsProvision || o.What == devconnector.ObsPolicy || o.What == devconnector.ObsUpgrade {
				order = append(order, o.What)
			}
		}
		is.Equal(order[3:], []string{ // after the credentials and before the dial
			devconnector.ObsProvision, devconnector.ObsPolicy, devconnector.ObsPolicy, devconnector.ObsPolicy,
			devconnector.ObsPolicy, devconnector.ObsUpgrade,
		})

		_, _, err = r.coldStart(t).run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(len(r.State().Policies), 4) // unchanged
		_, _, err = r.coldStart(t).run(ledger.Arm, quarter)
		is.NoErr(err)
		is.Equal(len(r.State().Policies), 8) // an operator who arms has it sent in any case
	})
}

func TestAChangedPolicyReplacesTheOther(t *testing.T) {
	bubble(t, setup{pinned: true, env: map[string]string{"GATEWAY_RELAY_PLATFORMS": "discord,relay", "GATEWAY_RELAY_REQUIRE_MENTION": "true",
		"GATEWAY_RELAY_FREE_RESPONSE_SCOPES": "c1"}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		mention := r.settings.Policies
		silence := []relay.Policy{{Platform: "discord", FreeResponseScopes: []string{}}} // all false, and said so
		for _, policies := range [][]relay.Policy{mention, mention, silence, silence, nil, mention} {
			r.settings.Policies = policies
			_, _, err := r.coldStart(t).run(ledger.Wake, quarter)
			is.NoErr(err)
		}
		var got []string
		for _, p := range r.State().Policies {
			got = append(got, fmt.Sprint(p.Platform, p.RequireAddress, p.FreeResponseScopes, p.AllowOtherBots))
		}
		is.Equal(got, []string{"discordtrue [c1] false", "discordfalse [] false", "discordtrue [c1] false"})
	})
}

func TestAPolicyThatIsNotTakenHindersNothing(t *testing.T) {
	tests := map[string]struct {
		answer http.HandlerFunc
		told   string
		takes  time.Duration // as long as a request may take
	}{
		"failing": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
			"provision: policy of slack: the connector answered HTTP 500", 0},
		"one platform": {func(w http.ResponseWriter, req *http.Request) {
			var p relay.Policy
			json.NewDecoder(req.Body).Decode(&p)
			if p.Platform == "slack" {
				w.WriteHeader(403)
			}
		}, "provision: policy of slack: the connector answered HTTP 403", 0},
		"accepted, not taken": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) },
			"provision: policy of slack: the connector answered HTTP 202", 0}, // only 200 counts
		"slow": {never, "policy of slack: provision: http://connector:80: no whole answer within 15s", 15 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{env: map[string]string{"GATEWAY_RELAY_REQUIRE_MENTION": "false"}}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.proxy(at("/relay/policy", tt.answer))
				r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
				rep, _, err := r.run(ledger.Schedule, quarter) // a wake would wait at a mutex
				is.NoErr(err)
				is.Equal(rep.Status, drain.Drained)
				is.Equal(r.replies(), []string{"c1 hello"})
				is.True(*rep.MS.Dial >= tt.takes.Milliseconds() && *rep.MS.Dial < tt.takes.Milliseconds()+100)
				is.True(strings.Contains(r.log.String(), logs.PolicyRefused))
				is.True(strings.Contains(r.log.String(), tt.told))
				standing, err := r.ledger.Standing(t.Context())
				is.NoErr(err)
				is.Equal(standing.Declared, "") // the next drain tries again, with all of it
				r.proxy(nil)
				_, _, err = r.run(ledger.Wake, quarter)
				is.NoErr(err)
				policies := r.State().Policies
				is.Equal(len(policies), 4)
				for _, p := range policies {
					is.True(!p.RequireAddress)
				}
			})
		})
	}
}
