package drain_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const quarter = 15 * time.Minute

func TestRevokedAfterAHandshakeStaysOff(t *testing.T) {
	for _, preset := range []string{"hosted", "agentsync"} { // 4401; 4403 and then HTTP 401
		t.Run(preset, func(t *testing.T) {
			bubble(t, setup{preset: preset}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
				wait := r.during(answered, func() { r.Revoke(gateway) })
				rep, _, err := r.run(ledger.Wake, quarter)
				wait()
				is.NoErr(err)
				is.Equal(rep.Status, drain.Revoked)
				state := r.State()
				provisions := len(state.Provisions)
				is.Equal(strings.Count(r.log.String(), `"msg":"`+logs.Dial+`"`), 2) // the first, and one with a fresh token

				rep, _, err = r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(rep.Status, drain.Disabled)
				state = r.State()
				is.Equal(len(state.Provisions), provisions)                         // neither provisions
				is.Equal(strings.Count(r.log.String(), `"msg":"`+logs.Dial+`"`), 2) // nor dials

				is.NoErr(r.Restore(gateway))
				is.NoErr(r.ledger.Enable(t.Context()))
				_, _, err = r.run(ledger.Arm, quarter)
				is.NoErr(err)
				is.Equal(r.replies(), []string{"c1 hello"}) // once, though its ack was lost with the socket
				is.Equal(r.Buffered(gateway), 0)
			})
		})
	}
}

func TestExpiredGoesOn(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		wait := r.during(connected, func() {
			r.Expire(gateway)
			r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.True(rep.Status == drain.Empty || rep.Status == drain.Drained)
		is.Equal(len(r.State().Sockets), 2)
		is.Equal(len(r.State().Provisions), 4) // a fresh token, not fresh credentials
	})
}

func TestRefusedBeforeAHandshakeProvisionsOnceMore(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.NoErr(r.Forget(gateway)) // its secrets verify no more, as after a rotation by another sandbox
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(r.replies(), []string{"c1 hello"})
		is.Equal(len(r.State().Provisions), 8)
	})
}

func TestAStrangerThatIsRefusedGivesUp(t *testing.T) {
	bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		is.NoErr(r.Forget(gateway))
		rep, took, err := r.run(ledger.Wake, quarter)
		is.Equal(rep.Status, drain.Failed)
		kind, _ := relay.KindOf(err)
		is.Equal(kind, relay.CloseRefused)
		is.True(took >= 100*time.Second && took < 140*time.Second)
		standing, err := r.ledger.Standing(t.Context())
		is.NoErr(err)
		is.True(!standing.Disabled) // nobody who was never let in can opt out
	})
}

func TestAKnownGatewayThatIsRefusedWasRevokedInItsSleep(t *testing.T) {
	bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.NoErr(r.Revoke(gateway))
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Revoked)
		rep, _, _ = r.run(ledger.Schedule, quarter)
		is.Equal(rep.Status, drain.Disabled)
	})
}

func TestWithoutAnAckItDoesNotLeave(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.WithholdIdleAck(2)
		rep, took, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Empty)
		is.Equal(rep.Unflipped, 0)
		is.Equal(len(r.State().Idles), 3)
		// 10 s empty; 10 s for an ack, 5 s more; 10 s for an ack, 10 s more.
		is.True(took >= 45*time.Second && took < 47*time.Second)
	})
}

func TestAtTheDeadlineItLeavesWithoutAnAckAndContinues(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.WithholdIdleAck(-1)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		rep, took, err := r.run(ledger.Wake, 5*time.Minute)
		is.NoErr(err)
		is.Equal(rep.Status, drain.HandedOff)
		is.Equal(rep.Unflipped, 1)
		is.True(took > 4*time.Minute+50*time.Second && took < 5*time.Minute)
		is.Equal(r.handedOn(), []drain.Request{{Reason: ledger.Continue, Hop: 1}})
		is.Equal(r.replies(), []string{"c1 hello"})

		rep, _, err = r.request(drain.Request{Reason: ledger.Continue, Hop: 1}, 5*time.Minute)
		is.NoErr(err)
		is.Equal(rep.Status, drain.HandedOff)
		is.Equal(len(r.handedOn()), 1) // it got nowhere: it received nothing and finished nothing

		for hop, more := range map[int]int{11: 1, 12: 0} { // DORMOUSE_MAX_HANDOFFS is 12
			wait := r.during(connected, func() { r.Deliver(gateway, event("discord", "c1", fmt.Sprint("m", hop), "hello")) })
			before := len(r.handedOn())
			rep, _, err = r.request(drain.Request{Reason: ledger.Continue, Hop: hop}, 5*time.Minute)
			wait()
			is.NoErr(err)
			is.Equal(rep.Status, drain.HandedOff)
			is.Equal(rep.Received, 1)
			is.Equal(len(r.handedOn())-before, more)
		}
	})
}

func TestUnderSteadyTrafficItLeavesInTime(t *testing.T) {
	slow := agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
		time.Sleep(3 * time.Second)
		return agent.Echo{}.Answer(ctx, tn)
	})
	bubble(t, setup{agent: slow, env: map[string]string{"DORMOUSE_AGENT_TIMEOUT": "10s"}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		stop := make(chan struct{})
		sent := 0
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(700 * time.Millisecond):
					sent++
					r.Deliver(gateway, event("discord", fmt.Sprint("c", sent%20), fmt.Sprint("m", sent), fmt.Sprint(sent)))
				}
			}
		})
		rep, took, err := r.run(ledger.Wake, 5*time.Minute)
		is.NoErr(err)
		close(stop)
		wg.Wait()
		is.True(took < 4*time.Minute+45*time.Second) // at the latest deadline - margin
		is.True(took > 4*time.Minute)
		is.Equal(rep.Unknown, 0)
		is.Equal(rep.Unflipped, 0)
		is.Equal(len(r.replies()), rep.Received) // every message is answered before the deadline
		is.Equal(r.Buffered(gateway)+rep.Received, sent)
		is.Equal(r.State().Instance(gateway).Dropped, 0)
	})
}

type agentFunc func(ctx context.Context, t agent.Turn) (agent.Answer, error)

func (f agentFunc) Answer(ctx context.Context, t agent.Turn) (agent.Answer, error) { return f(ctx, t) }

func TestWhatIsLeftAtTheDeadlineIsContinued(t *testing.T) {
	slow := agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
		time.Sleep(8 * time.Second)
		return agent.Echo{}.Answer(ctx, tn)
	})
	env := map[string]string{"DORMOUSE_AGENT_TIMEOUT": "10s", "DORMOUSE_CONCURRENCY": "1"}
	bubble(t, setup{agent: slow, env: env, awake: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		wait := r.during(connected, func() {
			for i := range 60 { // eight minutes of work
				r.Deliver(gateway, event("discord", "c1", fmt.Sprint("m", i), fmt.Sprint(i)))
			}
		})
		rep, _, err := r.run(ledger.Wake, 5*time.Minute)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.HandedOff)
		is.Equal(rep.Unflipped, 0)
		is.Equal(r.handedOn(), []drain.Request{{Reason: ledger.Continue, Hop: 1}})
		rep, _, err = r.request(r.handedOn()[0], 15*time.Minute)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		var want []string
		for i := range 60 {
			want = append(want, fmt.Sprint("c1 ", i))
		}
		is.Equal(r.replies(), want) // each once, in order
	})
}

func TestAnActionThatWaitsAtTheDeadlineIsUnknown(t *testing.T) {
	bubble(t, setup{env: map[string]string{"DORMOUSE_OUTBOUND_TIMEOUT": "1h"}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.LeaveUnanswered("send", -1)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		rep, took, err := r.run(ledger.Wake, 5*time.Minute)
		is.NoErr(err)
		is.True(took < 5*time.Minute)
		is.Equal(rep.Unknown, 1)
		is.Equal(rep.Unflipped, 0) // it has gone idle, and waited on
		is.Equal(r.replies(), []string{"c1 hello"})
		_, _, err = r.run(ledger.Wake, 5*time.Minute)
		is.NoErr(err)
		is.Equal(r.replies(), []string{"c1 hello"}) // this process never writes it again
		is.Equal(r.Buffered(gateway), 0)            // acked again, if the first ack was lost
	})
}

func TestABrokenSocketIsDialledAgain(t *testing.T) {
	ends := map[string]func(r *rig) error{
		"cut":        func(r *rig) error { return r.Drop(gateway) },
		"going away": func(r *rig) error { return r.Kick(gateway, 1001, "restart") },
		"suspended":  func(r *rig) error { return r.Suspend(gateway, 20*time.Second) },
		"odd code":   func(r *rig) error { return r.Kick(gateway, 4999, "?") },
		"normal":     func(r *rig) error { return r.Kick(gateway, 1000, "") },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{preset: "whatrouter"}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.Deliver(gateway, event("whatsapp", "c1", "m1", "before"))
				wait := r.during(func(s devconnector.State) bool { return len(s.Acks) == 1 }, func() {
					if err := end(r); err != nil {
						t.Error(err)
					}
					r.Deliver(gateway, event("whatsapp", "c1", "m2", "after"))
				})
				rep, _, err := r.run(ledger.Wake, quarter)
				wait()
				is.NoErr(err)
				is.Equal(rep.Status, drain.Drained)
				is.Equal(r.replies(), []string{"c1 before", "c1 after"})
				is.Equal(r.Buffered(gateway), 0)
				is.Equal(strings.Count(r.log.String(), `"msg":"`+logs.SocketEnded+`"`), 1) // the second was closed by us
			})
		})
	}
}

// lameConn is a connection on which writes fail, from some moment on, a second before reads do.
type lameConn struct {
	net.Conn
	lame func() bool
}

func (c lameConn) Write(p []byte) (int, error) {
	if c.lame() {
		c.Conn.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func (c lameConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.lame() {
		time.Sleep(time.Second)
	}
	return n, err
}

func TestAReplyThatCouldNotBeWrittenGoesOverTheNextSocket(t *testing.T) {
	var asked atomic.Int64 // when, in nanoseconds
	slow := agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
		asked.Store(time.Now().UnixNano())
		time.Sleep(5500 * time.Millisecond) // the typing after 5 s is the write that fails, and reads fail a second later
		return agent.Echo{}.Answer(ctx, tn)
	})
	bubble(t, setup{agent: slow}, func(t *testing.T, r *rig) {
		is := is.New(t)
		dial := r.parts.NetDial
		r.parts.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			dialled := time.Now()
			return lameConn{conn, func() bool {
				at := time.Unix(0, asked.Load())
				return !dialled.After(at) && time.Since(at) > 4*time.Second
			}}, err
		}
		r.drainer = drain.New(r.settings, *r.parts)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(rep.Left, 0)
		is.Equal(r.replies(), []string{"c1 hello"})
	})
}

func TestAReplacedDrainStops(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		wait := r.during(answered, func() { r.Kick(gateway, 1000, "replaced") })
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Replaced)
		is.Equal(len(r.State().Sockets), 1)
	})
}

func TestAGhostInTheSeat(t *testing.T) {
	t.Run("that leaves is waited for", func(t *testing.T) {
		bubble(t, setup{preset: "whatrouter"}, func(t *testing.T, r *rig) {
			is := is.New(t)
			r.Deliver(gateway, event("whatsapp", "c1", "m1", "hello"))
			is.NoErr(r.Ghost(gateway, 91*time.Second))
			rep, _, err := r.run(ledger.Wake, quarter)
			is.NoErr(err)
			is.Equal(rep.Status, drain.Drained)
			is.Equal(r.replies(), []string{"c1 hello"})
		})
	})
	t.Run("that stays is left to the schedule", func(t *testing.T) {
		bubble(t, setup{preset: "whatrouter"}, func(t *testing.T, r *rig) {
			is := is.New(t)
			is.NoErr(r.Ghost(gateway, time.Hour))
			rep, took, err := r.run(ledger.Wake, quarter)
			is.NoErr(err)
			is.Equal(rep.Status, drain.SeatTaken)
			is.True(took >= 100*time.Second && took < 140*time.Second)
		})
	})
}

func TestAnUnreachableConnectorIsGivenUp(t *testing.T) {
	bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.reach(false)
		rep, took, err := r.run(ledger.Wake, quarter)
		is.True(err != nil)
		is.Equal(rep.Status, drain.Failed)
		is.True(took >= 100*time.Second && took < 140*time.Second)
		r.reach(true)
		time.Sleep(2 * time.Minute)
		rep, _, err = r.run(ledger.Schedule, quarter) // soon: the poke led to nothing
		is.NoErr(err)
		is.Equal(rep.Status, drain.Empty)
	})
}

func TestAfterAHandshakeItDoesNotGiveUpUnflipped(t *testing.T) {
	bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		wait := r.during(answered, func() {
			r.reach(false)
			r.Drop(gateway)
			time.Sleep(5 * time.Minute) // three times its patience with a stranger
			r.reach(true)
		})
		rep, took, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.True(took > 5*time.Minute && took < 7*time.Minute)
		is.True(r.State().Instance(gateway).Flipped)
	})
}

func TestADialWithoutADescriptorMayHaveUndoneTheFlip(t *testing.T) {
	bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.DelayIdleAck(time.Second)
		wait := r.during(func(s devconnector.State) bool { return len(s.Idles) == 1 }, func() {
			r.run(ledger.Wake, quarter)
			r.WithholdDescriptor(5 * 4) // of as many platforms
		})
		rep, took, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Empty)
		is.True(took > 150*time.Second) // five times 30 s: more than its patience with a connector that has flipped
		is.True(r.State().Instance(gateway).Flipped)
	})
}

func TestASocketThatEndedBeforeADescriptorMayHaveUndoneTheFlip(t *testing.T) {
	tests := map[string]struct {
		end   func(r *rig) error
		stays bool // until there is an ack
	}{
		"cut":            {func(r *rig) error { return r.Drop(gateway) }, true},
		"internal error": {func(r *rig) error { return r.Kick(gateway, 1011, "internal error") }, true},
		"duplicate":      {func(r *rig) error { return r.Kick(gateway, 1008, "duplicate session") }, false},
		"token expired":  {func(r *rig) error { return r.Kick(gateway, 4401, "expired") }, false},
		"no such path":   {func(r *rig) error { return r.Kick(gateway, 4404, "") }, false},
		"busy":           {func(r *rig) error { return r.Kick(gateway, 4429, "busy") }, false},
		"unavailable":    {func(r *rig) error { return r.Kick(gateway, 4503, "") }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.DelayIdleAck(time.Second)
				wait := r.during(func(s devconnector.State) bool { return len(s.Idles) == 1 }, func() {
					r.run(ledger.Wake, quarter) // marks the holder: it will look again
					r.WithholdDescriptor(1000)
					time.Sleep(1500 * time.Millisecond)
					for range 200 { // twice its patience with a connector that has flipped
						tt.end(r)
						time.Sleep(time.Second)
					}
					r.WithholdDescriptor(0)
				})
				rep, took, err := r.run(ledger.Wake, quarter)
				wait()
				if !tt.stays {
					is.True(rep.Status == drain.Failed || rep.Status == drain.SeatTaken)
					is.True(took >= 100*time.Second && took < 160*time.Second)
					return
				}
				is.NoErr(err)
				is.Equal(rep.Status, drain.Empty)
				is.True(took > 200*time.Second)
				is.True(r.State().Instance(gateway).Flipped)
			})
		})
	}
}

func TestUnreachableUntilTheDeadlineIsAFailure(t *testing.T) {
	bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.reach(false)
		rep, _, err := r.run(ledger.Wake, time.Minute) // less than its patience
		is.Equal(rep.Status, drain.Failed)             // Lambda tries again
		is.True(strings.Contains(err.Error(), "connection refused"))
	})
}

func TestNoDescriptorIsAFailure(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.WithholdDescriptor(1000)
		rep, _, err := r.run(ledger.Wake, quarter)
		is.Equal(rep.Status, drain.Failed)
		is.True(errors.Is(err, relay.ErrNoDescriptor))
	})
}

func TestAConnectorThatDoesNotProvision(t *testing.T) {
	none := func(p *devconnector.Preset) { p.Provision = devconnector.ProvisionNone }
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := newRig(t, setup{change: none, env: map[string]string{
			"GATEWAY_RELAY_SECRET": "", "GATEWAY_RELAY_IDENTITY_TOKEN": identityToken,
		}})
		defer r.Connector.Close(context.Background())
		rep, took, err := r.run(ledger.Wake, quarter)
		is.Equal(rep.Status, drain.Failed)
		is.Equal(err.Error(), "provision: the connector answered HTTP 404: this connector does not provision: enroll or pin the "+
			"credentials (it says: not found)")
		is.True(took < time.Second) // asking again changes nothing
	})
}

func TestWithheldSecrets(t *testing.T) {
	t.Run("without an instance id it says what to do", func(t *testing.T) {
		bubble(t, setup{}, func(t *testing.T, r *rig) {
			is := is.New(t)
			_, _, err := r.run(ledger.Wake, quarter)
			is.NoErr(err)
			r.WithholdSecret(true)
			cold := r.coldStart(t)
			rep, took, err := cold.run(ledger.Wake, quarter)
			is.Equal(rep.Status, drain.Failed)
			is.Equal(err.Error(), withheld)
			is.True(took < time.Second) // asking again changes nothing
			is.True(!r.disabled(t))

			rep, _, err = r.run(ledger.Wake, quarter) // the process that has it in hand goes on
			is.NoErr(err)
			is.Equal(rep.Status, drain.Empty)
		})
	})
	t.Run("with an instance id it takes a fresh gateway id, once an hour", func(t *testing.T) {
		env := map[string]string{"GATEWAY_RELAY_INSTANCE_ID": "inst-1"}
		bubble(t, setup{env: env}, func(t *testing.T, r *rig) {
			is := is.New(t)
			_, _, err := r.run(ledger.Wake, quarter) // the id is new to the connector
			is.NoErr(err)
			r.WithholdSecret(true)
			r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
			rep, _, err := r.coldStart(t).run(ledger.Wake, quarter)
			is.NoErr(err)
			is.Equal(rep.Status, drain.Drained)
			is.Equal(r.replies(), []string{"c1 hello"}) // the same instance's buffer
			hellos := r.State().Hellos
			is.True(freshID.MatchString(hellos[len(hellos)-1].Gateway))

			is.Equal(strings.Count(r.log.String(), logs.SecretWithheld), 1)

			rep, _, err = r.coldStart(t).run(ledger.Wake, quarter)
			is.Equal(rep.Status, drain.Failed)
			is.Equal(err.Error(), withheld+" (fresh gateway ids are taken at most once an hour and ten times a day: try again later)")
			time.Sleep(time.Hour)
			rep, _, err = r.coldStart(t).run(ledger.Wake, quarter)
			is.NoErr(err)
			is.Equal(rep.Status, drain.Empty)
		})
	})
}

const withheld = "provision: the connector knows this gateway id and withholds its secret: credentials in hand stay good; " +
	"with none, enroll and pin the credentials"

var freshID = regexp.MustCompile(`^gw-1-[0-9a-f]{8}$`)

func TestTheLeaseIsTaken(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		wait := r.during(connected, func() {
			rep, took, err := r.run(ledger.Wake, quarter) // another poke
			is.NoErr(err)
			is.Equal(rep.Status, drain.Taken)
			is.True(took < time.Second)
		})
		_, took, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(len(r.State().Idles), 1) // the mark came before going idle: that look was made
		is.True(took < 11*time.Second)
	})
}

func TestAPokeWhileGoingIdleIsLookedAfter(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.DelayIdleAck(time.Second)
		wait := r.during(func(s devconnector.State) bool { return len(s.Idles) == 1 }, func() {
			rep, _, _ := r.run(ledger.Wake, quarter)
			is.Equal(rep.Status, drain.Taken)
		})
		_, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(len(r.State().Sockets), 2) // dialled again
	})
}

// A poke during a drain is not lost: before the drain goes idle it is connected anyway, and after that it looks again.
func TestSixtyFourPokesDuringADrain(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		poke := func() {
			var wg sync.WaitGroup
			defer wg.Wait()
			for range 64 {
				wg.Go(func() {
					rep, _, err := r.coldStart(t).run(ledger.Wake, quarter)
					if err != nil || rep.Status != drain.Taken {
						t.Errorf("a poke during a drain: %s, %v", rep.Status, err)
					}
				})
			}
		}
		r.DelayIdleAck(time.Second)
		r.Deliver(gateway, event("discord", "c1", "m1", "one"))
		serving := r.during(answered, poke)
		leaving := r.during(func(s devconnector.State) bool { return len(s.Idles) == 1 && s.Instance(gateway).Flipped }, func() {
			r.Deliver(gateway, event("discord", "c1", "m2", "two"))
			poke()
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		serving()
		leaving()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(r.replies(), []string{"c1 one", "c1 two"})
		is.Equal(r.Buffered(gateway), 0)
		is.Equal(len(r.State().Sockets), 2) // one after the other
		is.Equal(r.State().Sockets[0].By, "gateway")
		o, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.True(!o.Held && !o.Asked)
	})
}

func TestALostLeaseStopsAtOnce(t *testing.T) {
	stolen := &thief{}
	bubble(t, setup{ledger: ledgertest.Wrap(ledger.NewMemory(), stolen.wrap), env: map[string]string{"DORMOUSE_EMPTY_AFTER": "60s"}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		wait := r.during(connected, stolen.steal)
		rep, took, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Taken)
		is.True(took <= 11*time.Second)   // the next heartbeat tells
		synctest.Wait()                   // the connector has read going_idle and the close frame
		is.Equal(len(r.State().Idles), 1) // it buffers until the next dial, of this drain or another
		is.True(!r.State().Sockets[0].Open)
	})
}

// thief is a ledger whose lease is gone from one moment to the next.
type thief struct {
	mu     sync.Mutex
	stolen bool
	fail   bool
}

func (l *thief) steal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stolen = true
}

func (l *thief) wrap(lease ledger.Lease) ledger.Lease { return thiefLease{lease, l} }

type thiefLease struct {
	ledger.Lease
	*thief
}

func (l thiefLease) Heartbeat(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stolen:
		return ledger.ErrLost
	case l.fail:
		return errors.New("ledger: throttled")
	}
	return l.Lease.Heartbeat(ctx)
}

func TestFailingHeartbeatsAreALostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := newRig(t, setup{ledger: ledgertest.Wrap(ledger.NewMemory(), (&thief{fail: true}).wrap)})
		defer r.Connector.Close(context.Background())
		r.WithholdIdleAck(-1)
		rep, took, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Taken)
		is.Equal(took, 20*time.Second) // two thirds of a lease
	})
}

// lateHeart is a ledger whose heartbeats take until the lease has been given back.
type lateHeart struct {
	ledger.Lease
	released chan struct{}
	late     *atomic.Int64
}

func (l lateHeart) Heartbeat(ctx context.Context) error {
	select {
	case <-l.released:
		l.late.Add(1)
		return ledger.ErrLost
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l lateHeart) Release(ctx context.Context, plan ledger.Plan, received bool) error {
	err := l.Lease.Release(ctx, plan, received)
	close(l.released)
	select {
	case <-time.After(time.Second): // the answer is slow
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestAHeartbeatThatMeetsTheReleaseLosesNothing(t *testing.T) {
	late := new(atomic.Int64)
	wrap := func(l ledger.Lease) ledger.Lease { return lateHeart{l, make(chan struct{}), late} }
	env := map[string]string{"DORMOUSE_EMPTY_AFTER": "10s"} // a third of a lease: the first heartbeat is under way then
	bubble(t, setup{ledger: ledgertest.Wrap(ledger.NewMemory(), wrap), env: env}, func(t *testing.T, r *rig) {
		is := is.New(t)
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Empty)
		is.Equal(late.Load(), int64(0)) // none reached the table behind the release
		is.True(!strings.Contains(r.log.String(), logs.LeaseKept))
	})
}

func TestWhoSleptThroughTheLeaseDoesNotDial(t *testing.T) {
	for name, delay := range map[string]time.Duration{"in time": 19 * time.Second, "too late": 21 * time.Second} {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{pinned: true, ledger: &slowLease{ledger.NewMemory(), delay}}, func(t *testing.T, r *rig) {
				is := is.New(t)
				rep, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				if delay < 20*time.Second { // two thirds of a lease
					is.Equal(rep.Status, drain.Empty)
					return
				}
				is.Equal(rep.Status, drain.Taken) // another drain may have it by now
				is.Equal(len(r.State().Sockets), 0)
			})
		})
	}
}

// slowLease gives the lease, and answers late.
type slowLease struct {
	*ledger.Memory
	delay time.Duration
}

func (l *slowLease) Acquire(ctx context.Context, ask ledger.Ask) (ledger.Lease, error) {
	g, err := l.Memory.Acquire(ctx, ask)
	time.Sleep(l.delay)
	return g, err
}

func TestAJournalThatCannotBeReadIsToldBeforeDialling(t *testing.T) {
	tests := map[string]struct {
		err  error
		want drain.Status
		took time.Duration
	}{
		"for now":              {errors.New("ledger: throttled"), drain.Failed, 100 * time.Second}, // its patience
		"the lease being lost": {ledger.ErrLost, drain.Taken, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{ledger: ledgertest.Wrap(ledger.NewMemory(), (&unreadable{err: tt.err, times: 100}).wrap)}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
				rep, took, _ := r.run(ledger.Wake, quarter)
				is.Equal(rep.Status, tt.want)
				is.True(took >= tt.took && took < tt.took+40*time.Second)
				is.Equal(len(r.State().Sockets), 0) // so nothing was sent to it
				is.True(r.State().Instance(gateway).Flipped)
				is.Equal(r.Buffered(gateway), 1)
			})
		})
	}
}

func TestWhileTheJournalCannotBeReadNoLiveMessageIsLost(t *testing.T) {
	recovering := &unreadable{err: errors.New("ledger: throttled"), times: 1}
	bubble(t, setup{ledger: durable(ledgertest.Wrap(ledger.NewMemory(), recovering.wrap))}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.DelayIdleAck(3 * time.Second)
		wait := r.during(connected, func() {
			time.Sleep(time.Second)
			r.Deliver(gateway, event("discord", "c1", "m1", "live"))
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(r.replies(), []string{"c1 live"})
	})
}

// slowPages are a journal of pages of one key, of which each but the first takes a while.
type slowPages struct {
	ledger.Lease
	pages *ledgertest.Pages
	takes time.Duration
}

func (l slowPages) Recover(ctx context.Context, from string) (ledger.Page, error) {
	if from != "" {
		time.Sleep(l.takes)
	}
	return l.pages.Recover(ctx, l.Lease, from)
}

func TestADialWaitsForTheFirstPageOfWhatWasLeftAlone(t *testing.T) {
	kept := ledger.NewMemory()
	pages := ledgertest.Wrap(kept, func(l ledger.Lease) ledger.Lease {
		return slowPages{l, &ledgertest.Pages{Size: 1}, time.Minute}
	})
	bubble(t, setup{ledger: durable(pages)}, func(t *testing.T, r *rig) {
		is := is.New(t)
		died, err := kept.Acquire(t.Context(), ledger.Ask{Reason: ledger.Wake, Owner: "died", Life: time.Minute})
		is.NoErr(err)
		for i := range 4 {
			e := event("discord", "c1", fmt.Sprint("left", i), fmt.Sprint("left ", i))
			body, err := json.Marshal(map[string]any{"event": e})
			is.NoErr(err)
			_, err = died.Receive(t.Context(), ledger.Entry{Key: fmt.Sprint(i), Seq: int64(i), Session: "0000000a", Body: body})
			is.NoErr(err)
		}
		_, err = died.HandOff(t.Context(), ledger.Plan{}, true)
		is.NoErr(err)
		wait := r.during(connected, func() { r.Deliver(gateway, event("discord", "c1", "m1", "live")) })
		rep, took, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.True(*rep.MS.Dial < 1000)
		is.True(took > 3*time.Minute) // and it did not go idle meanwhile
		is.Equal(r.replies(), []string{"c1 left 0", "c1 left 1", "c1 left 2", "c1 left 3", "c1 live"})
	})
}

func TestTheJournalIsReadBesideProvisioning(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		both := make(chan struct{})
		r.parts.Ledger = ledgertest.Wrap(ledger.NewMemory(), (&unreadable{before: func() { both <- struct{}{} }}).wrap)
		r.drainer = drain.New(r.settings, *r.parts)
		var once sync.Once
		r.proxy(func(_ http.ResponseWriter, req *http.Request) bool {
			once.Do(func() { <-both })
			return false
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Empty)
		is.Equal(len(r.State().Provisions), 4)
	})
}

// unreadable is a journal whose first reads of what earlier runs left fail.
type unreadable struct {
	err    error
	times  int
	before func() // is called first, if there is one
}

func (l *unreadable) wrap(lease ledger.Lease) ledger.Lease { return unreadableLease{lease, l} }

type unreadableLease struct {
	ledger.Lease
	*unreadable
}

func (l unreadableLease) Recover(ctx context.Context, from string) (ledger.Page, error) {
	if l.before != nil {
		l.before()
	}
	if l.times--; l.times >= 0 {
		return ledger.Page{}, l.err
	}
	return l.Lease.Recover(ctx, from)
}

func TestAJournalThatFailsSendsItToSleep(t *testing.T) {
	bubble(t, setup{ledger: noJournal()}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		rep, took, err := r.run(ledger.Wake, quarter)
		is.True(err != nil)
		is.Equal(rep.Status, drain.Failed)
		is.True(took < time.Second)
		is.Equal(len(r.State().Idles), 1)
		is.Equal(r.Buffered(gateway), 1) // not acked: the connector keeps it
	})
}

func noJournal() ledger.Ledger {
	return ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return noJournalLease{l} })
}

type noJournalLease struct{ ledger.Lease }

func (noJournalLease) Receive(context.Context, ...ledger.Entry) ([]ledger.State, error) {
	time.Sleep(10 * time.Millisecond) // as a table takes its time
	return nil, errors.New("ledger: throttled")
}

// slowly echoes after a while, if it gets to.
func slowly(d time.Duration) agentFunc {
	return func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
		select {
		case <-time.After(d):
			return agent.Echo{}.Answer(ctx, tn)
		case <-ctx.Done():
			return agent.Answer{}, ctx.Err()
		}
	}
}

func TestWhatTheJournalRefusesOfLiveMessagesIsAnsweredBeforeItLeaves(t *testing.T) {
	env := map[string]string{"DORMOUSE_CONCURRENCY": "1"} // the second is queued when it goes idle
	refuses := durable(noJournal())
	bubble(t, setup{ledger: refuses, agent: slowly(5 * time.Second), env: env}, func(t *testing.T, r *rig) {
		is := is.New(t)
		wait := r.during(connected, func() {
			time.Sleep(time.Second)
			r.Deliver(gateway, event("discord", "c1", "m1", "one"))
			r.Deliver(gateway, event("discord", "c2", "m2", "two"))
		})
		flipped := r.during(func(s devconnector.State) bool { return len(s.Idles) == 1 }, func() {
			if n := len(r.replies()); n != 0 {
				t.Errorf("%d replies before it went idle: it waited for its turns", n)
			}
		})
		rep, took, err := r.run(ledger.Wake, quarter)
		wait()
		flipped()
		is.True(err != nil)
		is.Equal(rep.Status, drain.Failed)
		is.Equal(rep.Unkept, 2)
		is.Equal(sorted(r.replies()), []string{"c1 one", "c2 two"})
		is.True(took >= 11*time.Second && took < 12*time.Second) // and then it leaves
		is.True(r.State().Instance(gateway).Flipped)
		is.Equal(len(r.State().Sockets), 1)
	})
}

func TestWhatTheJournalRefusesIsAnsweredThoughAnEarlierMessageIsLeft(t *testing.T) {
	fails := &failing{}
	bubble(t, setup{ledger: durable(ledgertest.Wrap(ledger.NewMemory(), fails.wrap)), agent: slowly(5 * time.Second)}, func(t *testing.T, r *rig) {
		is := is.New(t)
		wait := r.during(connected, func() {
			time.Sleep(time.Second)
			r.Deliver(gateway, event("discord", "c1", "m1", "one")) // in the journal, which then takes no answer
			time.Sleep(time.Second)
			fails.down.Store(true)
			r.Deliver(gateway, event("discord", "c1", "m2", "two"))
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.True(err != nil)
		is.Equal(rep.Unkept, 1)
		is.Equal(r.replies(), []string{"c1 two"}) // or it would be lost
		fails.down.Store(false)
		_, _, err = r.run(ledger.Arm, quarter)
		is.NoErr(err)
		is.Equal(r.replies(), []string{"c1 two", "c1 one"})
	})
}

// failing is a journal that refuses to take anything while it is down.
type failing struct{ down atomic.Bool }

func (l *failing) wrap(lease ledger.Lease) ledger.Lease { return failingLease{lease, l} }

type failingLease struct {
	ledger.Lease
	*failing
}

func (l failingLease) Receive(ctx context.Context, entries ...ledger.Entry) ([]ledger.State, error) {
	if l.down.Load() {
		return nil, errors.New("ledger: throttled")
	}
	return l.Lease.Receive(ctx, entries...)
}

func (l failingLease) Keep(ctx context.Context, key string, actions []json.RawMessage) error {
	if l.down.Load() {
		return errors.New("ledger: throttled")
	}
	return l.Lease.Keep(ctx, key, actions)
}

func TestWhatTheJournalRefusesOfLiveMessagesIsLeftAtTheDeadline(t *testing.T) {
	env := map[string]string{"DORMOUSE_AGENT_TIMEOUT": "1h"}
	refuses := durable(noJournal())
	bubble(t, setup{ledger: refuses, agent: slowly(time.Hour), env: env}, func(t *testing.T, r *rig) {
		is := is.New(t)
		wait := r.during(connected, func() {
			time.Sleep(time.Second)
			r.Deliver(gateway, event("discord", "c1", "m1", "one"))
		})
		rep, took, err := r.run(ledger.Wake, 5*time.Minute)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.HandedOff)
		is.True(took < 5*time.Minute)
	})
}

// A hub that only acks going_idle sends on until the close is in.
func TestALiveMessageThatCameLateIsAnsweredInTheNextDial(t *testing.T) {
	ledgers := map[string]ledger.Ledger{
		"kept":                   durable(ledger.NewMemory()),
		"refused by the journal": durable(noJournal()),
	}
	unflipping := func(p *devconnector.Preset) { p.FlipOnIdle = false }
	for name, journal := range ledgers {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{change: unflipping, ledger: journal}, func(t *testing.T, r *rig) {
				is := is.New(t)
				var once sync.Once
				dial := r.parts.NetDial
				r.parts.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)
					return &closeWatch{conn, func() {
						once.Do(func() {
							r.Deliver(gateway, event("discord", "c1", "m2", "two"))
							time.Sleep(time.Millisecond) // it has come when the close frame leaves
						})
					}}, err
				}
				r.drainer = drain.New(r.settings, *r.parts)
				wait := r.during(connected, func() {
					time.Sleep(time.Second)
					r.Deliver(gateway, event("discord", "c1", "m1", "one"))
				})
				rep, _, err := r.run(ledger.Wake, quarter)
				wait()
				is.Equal(err != nil, rep.Unkept > 0)
				is.Equal(rep.Unknown, 0)
				is.Equal(r.replies(), []string{"c1 one", "c1 two"})
				is.Equal(len(r.State().Sockets), 2)
			})
		})
	}
}

// closeWatch tells when a close frame is about to leave.
type closeWatch struct {
	net.Conn
	closing func()
}

func (c *closeWatch) Write(b []byte) (int, error) {
	if hasClose(b) {
		c.closing()
	}
	return c.Conn.Write(b)
}

// hasClose reports whether a close frame is among the client's frames in one write (RFC 6455, section 5.2).
func hasClose(b []byte) bool {
	for len(b) >= 2 {
		if b[0] == 0x88 { // FIN and opcode 8
			return true
		}
		length, header := int(b[1]&0x7f), 6 // with the mask
		switch length {
		case 126:
			length, header = int(binary.BigEndian.Uint16(b[2:])), 8
		case 127:
			length, header = int(binary.BigEndian.Uint64(b[2:])), 14
		}
		b = b[min(header+length, len(b)):]
	}
	return false
}

func TestALedgerThatIsDownIsToldBeforeDialling(t *testing.T) {
	bubble(t, setup{ledger: &noLease{Memory: ledger.NewMemory()}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		rep, _, err := r.run(ledger.Schedule, quarter)
		is.Equal(rep.Status, drain.Failed)
		is.True(strings.Contains(err.Error(), "table not found"))
		is.Equal(r.dials, 0)
	})
}

type noLease struct{ *ledger.Memory }

func (*noLease) Acquire(context.Context, ledger.Ask) (ledger.Lease, error) {
	return nil, errors.New("ledger: table not found")
}

func TestMalformedFramesAreSkipped(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.SendGarbage()
		for i := range 5 {
			r.Deliver(gateway, event("discord", "c1", fmt.Sprint("m", i), fmt.Sprint(i)))
		}
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(r.replies(), []string{"c1 0", "c1 1", "c1 2", "c1 3", "c1 4"})
		is.Equal(len(r.State().Sockets), 1)
	})
}

func TestAnUnusableBufferedFrameDoesNotComeBackForEver(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.DeliverRaw(gateway, []byte(`{"text":"x","source":"not an object"}`))
		is.NoErr(r.Oversize(gateway, 5<<20))
		r.Deliver(gateway, event("discord", "c1", "m1", "good"))
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Dead, 2)
		is.Equal(r.replies(), []string{"c1 good"})
		is.Equal(r.Buffered(gateway), 0)
		is.Equal(len(r.State().Sockets), 1) // a message over the limit does not cost the connection
	})
}

func TestTerminateSaysGoodbye(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		wait := r.during(answered, func() {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			r.drainer.Terminate(ctx)
			o, err := r.ledger.Overview(ctx)
			is.NoErr(err)
			is.True(!o.Held) // the lease is given back when Terminate returns
		})
		_, took, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.True(took < time.Second)
		synctest.Wait() // the connector has read going_idle and the close frame
		is.Equal(len(r.State().Idles), 1)
		is.Equal(len(r.State().Sockets), 1)
		is.Equal(r.State().Sockets[0].Code, 1000)
	})
}

// A handshake that the connector is about to accept may end first: else it would send live messages to nobody.
func TestTerminateInAHandshakeSaysGoodbye(t *testing.T) {
	bubble(t, setup{pinned: true, awake: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		var terminating sync.WaitGroup
		defer terminating.Wait()
		r.proxy(func(_ http.ResponseWriter, req *http.Request) bool {
			if req.URL.Path == "/relay" {
				terminating.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), 480*time.Millisecond)
					defer cancel()
					r.drainer.Terminate(ctx)
				})
				time.Sleep(100 * time.Millisecond)
			}
			return false // the connector goes on with it
		})
		rep, took, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.HandedOff)
		is.True(took < 480*time.Millisecond)
		synctest.Wait() // the connector has read what was written
		is.Equal(len(r.State().Idles), 1)
		is.Equal(r.State().Sockets[0].Code, 1000)
		o, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.True(!o.Held)
	})
}

// SIGTERM in every phase: the lease is given back at once, and the next run has it.
func TestTerminateGivesTheLeaseBackInEveryPhase(t *testing.T) {
	slow := func(path string) func(http.ResponseWriter, *http.Request) bool {
		return at(path, never)
	}
	tests := map[string]struct {
		setup   setup
		prepare func(r *rig)
		after   time.Duration // from the start of the run
	}{
		"dialling":              {setup{pinned: true}, func(r *rig) { r.proxy(slow("/relay")) }, time.Second},
		"without a descriptor":  {setup{pinned: true}, func(r *rig) { r.WithholdDescriptor(1000) }, time.Second},
		"in a back-off":         {setup{pinned: true}, func(r *rig) { r.reach(false) }, 20 * time.Second},
		"connected and quiet":   {setup{pinned: true}, func(*rig) {}, 2 * time.Second},
		"in a turn":             {setup{pinned: true, agent: slowly(time.Minute)}, func(r *rig) { r.Deliver(gateway, event("discord", "c1", "m1", "hello")) }, 5 * time.Second},
		"waiting for an ack":    {setup{pinned: true}, func(r *rig) { r.DelayIdleAck(8 * time.Second) }, 8 * time.Second},
		"closing after the ack": {setup{pinned: true}, func(r *rig) { r.closesIn(4 * time.Second) }, 5 * time.Second},
		"in a second dial":      {setup{pinned: true}, func(r *rig) { r.DelayIdleAck(time.Hour) }, 40 * time.Second},
		"reading what was left": {setup{pinned: true, ledger: waitsToRecover()}, func(*rig) {}, time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, tt.setup, func(t *testing.T, r *rig) {
				is := is.New(t)
				tt.prepare(r)
				var took time.Duration
				time.AfterFunc(tt.after, func() {
					start := time.Now()
					ctx, cancel := context.WithTimeout(context.Background(), 480*time.Millisecond)
					defer cancel()
					r.drainer.Terminate(ctx)
					took = time.Since(start)
					o, err := r.ledger.Overview(context.Background())
					is.NoErr(err)
					is.True(!o.Held)
				})
				rep, ran, err := r.run(ledger.Arm, quarter)
				is.NoErr(err)
				is.Equal(rep.Status, drain.HandedOff)
				is.True(ran >= tt.after && ran < tt.after+time.Second)
				is.True(took < 400*time.Millisecond)
				o, err := r.ledger.Overview(t.Context())
				is.NoErr(err)
				is.True(!o.Held)
				is.True(!o.Standing.Disabled)
				is.True(time.Until(o.Plan.At) <= 5*time.Minute) // what it was at is looked for soon
			})
		})
	}
}

// waitsToRecover is a ledger whose journal cannot be read before the run ends.
func waitsToRecover() ledger.Ledger {
	return ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return stuckLease{l} })
}

type stuckLease struct{ ledger.Lease }

func (stuckLease) Recover(ctx context.Context, _ string) (ledger.Page, error) {
	<-ctx.Done()
	return ledger.Page{}, ctx.Err()
}

func TestSweepsAreRarerAndRarerAndABudgetBoundsPokes(t *testing.T) {
	bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		start := time.Now()
		var sweeps []time.Duration
		for range 12 * 4 { // four hours of schedules
			time.Sleep(5 * time.Minute)
			rep, _, err := r.run(ledger.Schedule, quarter)
			is.NoErr(err)
			if rep.Status != drain.NotDue {
				sweeps = append(sweeps, time.Since(start).Round(5*time.Minute))
			}
		}
		want := []time.Duration{5 * time.Minute, 15 * time.Minute, 35 * time.Minute, 75 * time.Minute, 135 * time.Minute, 195 * time.Minute}
		is.Equal(sweeps, want)

		sockets := len(r.State().Sockets)
		for range 30 { // somebody has the wake URL
			r.run(ledger.Wake, quarter)
		}
		looks := len(r.State().Sockets) - sockets
		is.True(looks >= 10 && looks <= 11) // one token comes back in the five minutes that these take
	})
}

func TestConnectionsAreOpenedAhead(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		cold := r.dials
		_, _, err = r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(r.dials-cold, 1) // the one that was opened ahead is the one that is used
		_, _, err = r.run(ledger.Schedule, quarter)
		is.NoErr(err)
		is.Equal(r.dials-cold, 1) // not due: nothing is opened
	})
}

func TestTheReportIsOneLine(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		r.drainer.Started(40 * time.Millisecond)
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		ms := rep.MS
		for _, at := range []*int64{ms.Lease, ms.Dial, ms.Descriptor, ms.FirstTyping, ms.FirstAck, ms.FirstReply, ms.All} {
			is.True(at != nil)
		}
		is.True(slices.IsSorted([]int64{*ms.Lease, *ms.Dial, *ms.Descriptor, *ms.FirstTyping, *ms.FirstReply, *ms.All}))
		is.Equal(*ms.Init, int64(40))
		is.True(ms.TLS == nil) // its socket is in memory

		rep, _, err = r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.True(rep.MS.Init == nil) // the process was there
		is.True(rep.MS.FirstTyping == nil)
	})
}
