package drain_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// refusal is one of the ways to say no to a dial: an HTTP status at the upgrade, or a close code after it.
type refusal int

func (no refusal) serve(w http.ResponseWriter, req *http.Request) {
	if no < 1000 {
		http.Error(w, "no", int(no))
		return
	}
	ws, err := new(websocket.Upgrader).Upgrade(w, req, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(int(no), "revoked"), time.Now().Add(time.Second))
	ws.ReadMessage() // its close
}

func (no refusal) text() string {
	if no < 1000 {
		return fmt.Sprintf("relay: connector answered the upgrade with HTTP status %d", int(no))
	}
	return fmt.Sprintf(`relay: connector closed the socket: %d "revoked"`, int(no))
}

var refusals = []refusal{401, 403, 4401, 4403}

// provisionRefusals are the answers of /relay/provision that refuse, with what is said of them.
var provisionRefusals = map[int]string{
	403: "provision: the connector answered HTTP 403: this identity may not have this gateway id: check whose it is, or choose another id (it says: no)",
	410: "provision: the connector answered HTTP 410: this gateway was removed there: have its operator enable it again, or choose another id (it says: no)",
}

func refuseProvision(status int) func(http.ResponseWriter, *http.Request) bool {
	return at("/relay/provision", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, `{"error":"no"}`)
	})
}

// at answers one path in the connector's place.
func at(path string, answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path != path {
			return false
		}
		answer(w, req)
		return true
	}
}

const forGood = "drain: the connector refuses this gateway for good: "

// isOff checks all that an opt-out is: the standing with the words of the refusal, one line for the alarm, and nothing
// done by any later invocation.
func (r *rig) isOff(t *testing.T, rep drain.Report, err error, by string) {
	t.Helper()
	is := is.New(t)
	is.NoErr(err) // a successful invocation, which nobody retries
	is.Equal(rep.Status, drain.Revoked)
	standing, err := r.ledger.Standing(t.Context())
	is.NoErr(err)
	is.True(standing.Disabled)
	is.Equal(standing.DisabledAt, time.Now())
	is.Equal(standing.DisabledBy, by)
	var lines []string
	for line := range strings.Lines(r.log.String()) {
		if strings.Contains(line, `"msg":"`+logs.Revoked+`"`) {
			lines = append(lines, line)
		}
	}
	is.Equal(len(lines), 1)
	is.True(strings.Contains(lines[0], `"level":"ERROR"`) && strings.Contains(lines[0], `"gateway":"`+gateway+`"`))

	before := len(r.State().Observations)
	for _, reason := range []ledger.Reason{ledger.Wake, ledger.Schedule, ledger.Arm, ledger.Continue} {
		rep, _, err := r.coldStart(t).run(reason, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Disabled)
	}
	is.Equal(len(r.State().Observations), before) // nothing is provisioned and nothing dialled
}

// Design section 6, the rows that end in revoked: in its sleep, before a handshake of the process that learns of it.
func TestAnOptOutInItsSleep(t *testing.T) {
	for _, no := range refusals {
		for name, s := range map[string]setup{"pinned": {pinned: true}, "provisioned": {}} {
			for _, process := range []string{"warm", "cold"} {
				t.Run(fmt.Sprint(int(no), ", ", name, ", ", process), func(t *testing.T) {
					bubble(t, s, func(t *testing.T, r *rig) {
						is := is.New(t)
						_, _, err := r.run(ledger.Wake, quarter)
						is.NoErr(err)
						var dials atomic.Int32
						r.proxy(at("/relay", func(w http.ResponseWriter, req *http.Request) {
							dials.Add(1)
							no.serve(w, req)
						}))
						next := r
						if process == "cold" {
							next = r.coldStart(t)
						}
						rep, _, err := next.run(ledger.Wake, quarter)
						r.isOff(t, rep, err, forGood+no.text())
						is.Equal(dials.Load(), int32(2)) // once more with new credentials
					})
				})
			}
		}
	}
	for status, words := range provisionRefusals {
		t.Run(fmt.Sprint(status, " at provision"), func(t *testing.T) {
			bubble(t, setup{}, func(t *testing.T, r *rig) {
				_, _, err := r.run(ledger.Wake, quarter)
				is.New(t).NoErr(err)
				r.proxy(refuseProvision(status))
				rep, _, err := r.coldStart(t).run(ledger.Wake, quarter)
				r.isOff(t, rep, err, forGood+words)
			})
		})
	}
}

// An identity that is not accepted is a fault, and no opt-out, however well the connector knows this gateway.
func TestARefusedIdentityIsNoOptOut(t *testing.T) {
	const words = "provision: the connector answered HTTP 401: the identity " +
		"token was not accepted: check its issuer, audience, subject and age (it says: no); shown was a token that is no JWT"
	for _, known := range []bool{false, true} {
		t.Run(fmt.Sprint("known ", known), func(t *testing.T) {
			bubble(t, setup{}, func(t *testing.T, r *rig) {
				is := is.New(t)
				if known {
					_, _, err := r.run(ledger.Wake, quarter)
					is.NoErr(err)
				}
				r.proxy(refuseProvision(401))
				rep, took, err := r.coldStart(t).run(ledger.Wake, quarter)
				is.Equal(rep.Status, drain.Failed) // which rings once
				is.Equal(err.Error(), words)
				is.True(took < time.Second)
				began := time.Now()
				trouble := func() ledger.Trouble {
					standing, err := r.ledger.Standing(t.Context())
					is.NoErr(err)
					is.True(!standing.Disabled)
					return standing.Trouble
				}
				is.Equal(trouble(), ledger.Trouble{What: "identity_refused", Since: began, Said: words})

				is.Equal(r.every(t), 5*time.Minute) // and then the sweeps are rarer and rarer
				for _, every := range []time.Duration{10 * time.Minute, 20 * time.Minute, 40 * time.Minute, time.Hour, time.Hour} {
					time.Sleep(r.every(t))
					rep, _, err = r.coldStart(t).run(ledger.Schedule, quarter)
					is.NoErr(err)
					is.Equal(rep.Status, drain.IdentityRefused)
					is.Equal(r.every(t), every)
				}
				rep, _, err = r.coldStart(t).run(ledger.Wake, quarter) // a poke has its look, and moves no sweep
				is.NoErr(err)
				is.Equal(rep.Status, drain.IdentityRefused)
				is.Equal(r.every(t), time.Hour)
				is.Equal(trouble().Since, began)

				r.proxy(nil)
				rep, _, err = r.coldStart(t).run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(rep.Status, drain.Empty)
				is.Equal(trouble(), ledger.Trouble{})
			})
		})
	}
}

// The same after a handshake: by 4401 or 4403, and then whatever refuses the one dial with a fresh token.
func TestAnOptOutWhileConnected(t *testing.T) {
	for _, code := range []int{4401, 4403} {
		for _, no := range refusals {
			for name, s := range map[string]setup{"pinned": {pinned: true}, "provisioned": {}} {
				t.Run(fmt.Sprint(code, " then ", int(no), ", ", name), func(t *testing.T) {
					bubble(t, s, func(t *testing.T, r *rig) {
						is := is.New(t)
						r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
						wait := r.during(answered, func() {
							r.proxy(at("/relay", no.serve))
							r.Kick(gateway, code, "revoked")
						})
						rep, _, err := r.run(ledger.Wake, quarter)
						wait()
						r.isOff(t, rep, err, forGood+"refused again with a fresh token: "+no.text())
						is.Equal(strings.Count(r.log.String(), `"msg":"`+logs.Dial+`"`), 2)
					})
				})
			}
		}
	}
}

// A gateway that was never let in cannot be opted out: the drain fails, says what to do, and the next one tries again.
func TestAStrangerIsNotOptedOut(t *testing.T) {
	for status, words := range provisionRefusals {
		t.Run(fmt.Sprint(status, " at provision"), func(t *testing.T) {
			bubble(t, setup{}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.proxy(refuseProvision(status))
				rep, took, err := r.run(ledger.Arm, quarter)
				is.Equal(rep.Status, drain.Failed)
				is.Equal(err.Error(), words)
				is.True(took < time.Second)
				is.True(!r.disabled(t))
			})
		})
	}
	for _, no := range refusals {
		t.Run(fmt.Sprint(int(no)), func(t *testing.T) {
			bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.proxy(at("/relay", no.serve))
				rep, took, err := r.run(ledger.Arm, quarter)
				is.Equal(rep.Status, drain.Failed)
				is.Equal(err.Error(), "drain: gave up after 1m40s: "+no.text())
				is.True(took >= 100*time.Second && took < 140*time.Second)
				is.True(!r.disabled(t))
			})
		})
	}
}

// An operator's way back: accepted there, enabled here.
func TestAfterEnableItGoesOn(t *testing.T) {
	for _, preset := range []string{"hosted", "agentsync"} {
		t.Run(preset, func(t *testing.T) {
			bubble(t, setup{preset: preset, pinned: true}, func(t *testing.T, r *rig) {
				is := is.New(t)
				_, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.NoErr(r.Revoke(gateway))
				rep, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(rep.Status, drain.Revoked)

				is.NoErr(r.ledger.Enable(t.Context())) // too soon: it is off again, and says so again
				rep, _, err = r.run(ledger.Arm, quarter)
				is.NoErr(err)
				is.Equal(rep.Status, drain.Revoked)

				is.NoErr(r.Restore(gateway))
				is.NoErr(r.ledger.Enable(t.Context()))
				rep, _, err = r.run(ledger.Arm, quarter)
				is.NoErr(err)
				is.Equal(rep.Status, drain.Empty)
				is.True(slices.ContainsFunc(r.State().Observations, func(o devconnector.Observation) bool { return o.What == devconnector.ObsGoingIdleAck }))
			})
		})
	}
}
