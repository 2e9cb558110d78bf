package devconnector_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

func TestFaultsThatEndTheSocket(t *testing.T) {
	tests := map[string]struct {
		inject func(*devconnector.Connector) error
		code   int
		reason string
	}{
		"drop":    {func(c *devconnector.Connector) error { return c.Drop(id) }, 1006, ""},
		"kick":    {func(c *devconnector.Connector) error { return c.Kick(id, 4401, "why") }, 4401, "why"},
		"expire":  {func(c *devconnector.Connector) error { return c.Expire(id) }, 4401, "expired"},
		"suspend": {func(c *devconnector.Connector) error { return c.Suspend(id, 0) }, 1013, "suspended"},
		"ghost":   {func(c *devconnector.Connector) error { return c.Ghost(id, 0) }, 1006, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{})
				buffered := r.c.Deliver(id, event("c", "m"))
				p := r.connect()
				p.bufferID()
				is.NoErr(tt.inject(r.c))
				code, reason := p.closed()
				is.Equal(code, tt.code)
				is.Equal(reason, tt.reason)
				p = r.connect() // the next dial is welcome, and starts where the ack was missing
				is.Equal(p.bufferID(), buffered)
			})
		})
	}
}

func TestFramesOfAKickedSocketAreNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		buffered := r.c.Deliver(id, event("c", "m"))
		ws, _, err := r.upgrade("/relay", freshToken())
		is.NoErr(err)
		defer ws.Close()
		is.NoErr(ws.WriteMessage(1, []byte(`{"type":"hello","platform":"discord","botId":"b"}`+"\n")))
		for range 2 { // descriptor, inbound
			_, _, err = ws.ReadMessage()
			is.NoErr(err)
		}
		is.NoErr(r.c.Expire(id))
		is.NoErr(ws.WriteMessage(1, []byte(`{"type":"inbound_ack","bufferId":"`+buffered+`"}`+"\n")))
		is.NoErr(ws.WriteMessage(1, []byte(`{"type":"going_idle"}`+"\n")))
		synctest.Wait()
		is.Equal(r.c.Buffered(id), 1)
		is.Equal(len(r.c.State().Idles), 0)
	})
}

func TestRevoked(t *testing.T) {
	for _, name := range checking(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				p := preset(t, name)
				r := start(t, devconnector.Config{Preset: p})
				socket := r.connect()
				is.NoErr(r.c.Revoke(id))
				code, reason := socket.closed()
				if name == "agentsync" {
					is.Equal(code, 4403)
					is.Equal(reason, "revoked")
				} else {
					is.Equal(code, 4401)
				}
				for range 2 { // and each dial, however fresh its token
					ws, status, err := r.upgrade("/relay", freshToken())
					if p.RefuseAtUpgrade {
						is.Equal(status, 401)
						continue
					}
					is.NoErr(err)
					_, _, err = ws.ReadMessage()
					is.Equal(err.Error(), "websocket: close 4401: unauthorized")
					ws.Close()
				}
				if p.Provision != devconnector.ProvisionNone {
					status, _, _ := r.fetch("POST", "/relay/provision", identity, provisionBody(id, "discord"))
					is.Equal(status, 403)
				}
				is.NoErr(r.c.Restore(id))
				r.connect()
			})
		})
	}
}

func TestForgottenSecretsVerifyAgainOnceProvisioned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		is.NoErr(r.c.Forget(id))
		code, reason := r.dial(freshToken()).closed()
		is.Equal(code, 4401)
		is.Equal(reason, "unauthorized")
		_, body, _ := r.fetch("POST", "/relay/provision", identity, provisionBody(id, "discord"))
		p := r.dial(mint(id, field(t, body, "secret"), 0))
		p.hello("discord")
		p.expect("descriptor")
	})
}

func TestSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		is.NoErr(r.c.Suspend(id, time.Minute))
		code, _ := r.dial(freshToken()).closed()
		is.Equal(code, 1013)
		time.Sleep(time.Minute)
		r.connect()
	})
}

func TestGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "whatrouter")})
		p := r.connect("whatsapp")
		is.NoErr(r.c.Ghost(id, 91*time.Second))
		p.closed()
		is.Equal(r.c.Deliver(id, event("c", "m1")), "") // written into it, and gone
		is.Equal(r.poked(), 0)
		time.Sleep(90 * time.Second)
		code, reason := r.dial(freshToken()).closed()
		is.Equal(code, 1008)
		is.Equal(reason, "duplicate session")
		is.True(r.c.State().Instance(id).Ghost)

		is.NoErr(r.c.Wait(t.Context(), func(s devconnector.State) bool { return !s.Instance(id).Ghost }))
		is.True(r.c.Deliver(id, event("c", "m2")) != "")
		is.Equal(r.poked(), 1)
		p = r.connect("whatsapp")
		is.Equal(p.expect("inbound")["event"].(map[string]any)["message_id"], "m2")
		is.Equal(r.c.State().Instance(id).Lost, 1)
	})
}

func TestNoPokeForAFlippedGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		is.NoErr(r.c.Ghost(id, time.Minute)) // it is asleep
		is.True(r.c.Deliver(id, event("c", "m")) != "")
		is.Equal(r.poked(), 0)
	})
}

func TestDuplicatedFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		r.c.Duplicate(1)
		first, second := r.c.Deliver(id, event("c", "m1")), r.c.Deliver(id, event("c", "m2"))
		p := r.connect()
		is.Equal(p.bufferID(), first)
		is.Equal(p.bufferID(), first)
		p.ack(first)
		p.ack(first) // the second one counts for nothing, and is no offence
		is.Equal(p.bufferID(), second)
		is.True(p.quiet())
		is.Equal(len(r.c.State().Breaches), 0)
		is.Equal(len(r.c.Acks()), 1)
	})
}

func TestGarbageInFrontOfGoodFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		is.True(len(devconnector.Garbage()) > 24)
		r.c.SendGarbage()
		buffered := r.c.Deliver(id, event("c", "m1"))
		p := r.connect()
		for range devconnector.Garbage() {
			p.next()
		}
		is.Equal(p.bufferID(), buffered)
		p.ack("garbage-1") // whoever sets such a thing aside acks it
		p.ack(buffered)
		is.True(p.quiet())
		is.Equal(r.c.Buffered(id), 0)
		is.Equal(len(r.c.State().Breaches), 0)
		r.c.Deliver(id, event("c", "m2"))
		p.expect("inbound") // once is enough
	})
}

func TestDelayedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		r.c.DelayResults(20 * time.Second)
		r.c.DelayIdleAck(5 * time.Second)
		p := r.connect()
		began := time.Now()
		p.do("", "", `{"op":"get_chat_info","chat_id":"c"}`)
		is.Equal(time.Since(began), 20*time.Second)
		began = time.Now()
		p.goIdle()
		is.Equal(time.Since(began), 5*time.Second)

		p.send(outbound(fmt.Sprintf("%032x", 1), "", "", `{"op":"get_chat_info","chat_id":"c"}`))
		p.leave() // the answer has nobody to go to
		time.Sleep(time.Minute)
		is.Equal(r.c.State().Count(devconnector.ObsResult), 1)
	})
}

func TestWithheldIdleAckDoesNotFlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		r.c.WithholdIdleAck(2)
		p := r.connect()
		for range 2 {
			p.send(`{"type":"going_idle"}`)
		}
		is.True(p.quiet())
		r.c.Deliver(id, event("c", "m"))
		p.expect("inbound") // live
		p.goIdle()
		idles := r.c.State().Idles
		is.Equal(len(idles), 3)
		is.Equal([]bool{idles[0].Acked, idles[1].Acked, idles[2].Acked}, []bool{false, false, true})
	})
}

func TestWithheldDescriptor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		r.c.Deliver(id, event("c", "m"))
		r.c.WithholdDescriptor(1)
		p := r.dial(freshToken())
		p.hello("discord")
		is.True(p.quiet())
		p.hello("slack")
		p.expect("descriptor")
		p.expect("inbound")
	})
}

func TestWithheldSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		r.c.WithholdSecret(true)
		_, body, _ := r.fetch("POST", "/relay/provision", identity, provisionBody(id, "discord"))
		is.Equal(field(t, body, "secretIssued"), "false")
		is.Equal(field(t, body, "secret"), "")
		_, body, _ = r.fetch("POST", "/relay/provision", identity, provisionBody("gw-1-fresh", "discord"))
		is.Equal(field(t, body, "secretIssued"), "true") // a new id has nothing to withhold
		r.connect()                                      // the pinned one still verifies
	})
}

func TestRefusedAndUnansweredActions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		p := devconnector.Hosted()
		p.Routing = devconnector.RouteAny
		r := start(t, devconnector.Config{Preset: p})
		r.c.Refuse("send", 1)
		r.c.LeaveUnanswered("typing", -1)
		socket := r.connect()
		send := func(op string) { socket.send(outbound(fmt.Sprintf("%032x", 1), "", "", op)) }
		const typing, message = `{"op":"typing","chat_id":"c"}`, `{"op":"send","chat_id":"c","content":"hi"}`
		send(typing)
		send(message)
		result := socket.expect("outbound_result")["result"].(map[string]any)
		is.Equal(result["success"], false)
		is.Equal(result["code"], "refused")
		send(message)
		is.Equal(socket.expect("outbound_result")["result"].(map[string]any)["success"], true)
		send(typing)
		is.True(socket.quiet())
		got := r.c.Outbounds()
		is.True(!got[0].Answered)
		is.True(got[0].Result.Success) // applied even so
		r.c.LeaveUnanswered("", 0)
		send(typing)
		socket.expect("outbound_result")
	})
}

func TestOversizeFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		is.NoErr(r.c.Oversize(id, 2<<20))
		frame := r.connect().expect("inbound")
		is.Equal(len(frame["event"].(map[string]any)["text"].(string)), 2<<20)
		is.Equal(frame["bufferId"], "buf-1")
	})
}

func TestFaultsNeedSomebodyToHit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		for _, name := range []string{"drop", "kick", "expire"} {
			err := r.c.Inject(devconnector.Fault{Name: name})
			is.True(err != nil)
			is.Equal(err.Error(), "devconnector: "+name+": gw-1 is not connected")
		}
		for _, name := range []string{"revoke", "restore", "suspend", "ghost", "forget", "oversize", "drop"} {
			err := r.c.Inject(devconnector.Fault{Name: name, Gateway: "nobody"})
			is.True(err != nil)
			is.True(strings.HasPrefix(err.Error(), `devconnector: no such gateway, or several where none was named: "nobody": known are `))
		}
		is.True(r.c.Inject(devconnector.Fault{Name: "nonsense"}) != nil)
		is.True(r.c.Inject(devconnector.Fault{Name: "lose_poke", Way: "nonsense"}) != nil)
	})
}

func TestEveryFaultHasAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		for _, name := range devconnector.FaultNames() {
			is.NoErr(r.c.Inject(devconnector.Fault{Name: "restore"}))
			r.c.Register(pinned()) // "forget" and its like took the secret
			r.connect()
			before := len(r.c.State().Observations)
			is.NoErr(r.c.Inject(devconnector.Fault{Name: name, Way: "flip", Seconds: 1, Size: 10}))
			last := r.c.State().Observations[before:]
			is.True(hasFault(last, name))
			is.NoErr(r.c.Inject(devconnector.Fault{Name: "withhold_descriptor", Off: true}))
			time.Sleep(time.Minute)
		}
	})
}

func hasFault(seen []devconnector.Observation, name string) bool {
	for _, o := range seen {
		if o.What == devconnector.ObsFault && o.Detail == name {
			return true
		}
	}
	return false
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := r.c.Wait(ctx, func(s devconnector.State) bool { return len(s.Outbounds) > 0 })
		is.True(errors.Is(err, ctx.Err()))
	})
}

func TestObserverSeesEverythingInOrderAndNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		var got []devconnector.Observation
		var r *rig
		ready := make(chan struct{})
		r = start(t, devconnector.Config{Observe: func(o devconnector.Observation) {
			<-ready
			got = append(got, o)
			if o.What == devconnector.ObsGoingIdle { // it may call back
				r.c.Deliver(id, event("c", "in the flip window"))
			}
		}})
		close(ready)
		_, body, _ := r.fetch("POST", "/relay/provision", identity, provisionBody(id, "discord"))
		issued, deliveryKey := field(t, body, "secret"), field(t, body, "deliveryKey")
		r.fetch("POST", "/relay/provision", "wrong-identity-canary", provisionBody(id, "discord"))
		r.dial(mint("canary-id", "x", 0)).closed()
		r.c.Deliver(id, event("c", "m1"))
		<-r.pokes
		token := mint(id, issued, 0)
		p := r.dial(token)
		p.hello("discord")
		p.expect("descriptor")
		buffered := p.bufferID()
		p.ack(buffered)
		p.do("discord", "bot-discord", `{"op":"send","chat_id":"c","content":"reply-canary",`+seen+`}`)
		p.goIdle()
		synctest.Wait() // until the observer has called back
		p.leave()
		is.NoErr(r.c.Close(t.Context()))

		var order []string
		for i, o := range got {
			is.Equal(o.Seq, i+1)
			is.True(!o.At.IsZero())
			order = append(order, o.What)
		}
		is.Equal(order, []string{"provision", "provision", "refused", "upgrade", "closed", "buffered", "poke", "poked",
			"upgrade", "hello", "descriptor", "inbound", "inbound_ack", "outbound", "outbound_result", "going_idle",
			"going_idle_ack", "buffered", "poke_lost", "closed"})
		is.Equal(got[len(got)-1].By, "gateway")
		is.Equal(got[11].BufferID, buffered)
		is.Equal(got[11].MessageID, "m1")

		shown, err := json.Marshal(got)
		is.NoErr(err)
		state, err := json.Marshal(r.c.State())
		is.NoErr(err)
		for _, canary := range []string{secret, issued, deliveryKey, token, identity, "identity-canary", "path-canary",
			"canary-id", "text-canary"} {
			is.True(!bytes.Contains(shown, []byte(canary)))
			is.True(!bytes.Contains(state, []byte(canary)))
		}
		is.True(!bytes.Contains(shown, []byte("reply-canary"))) // snapshots hold the reply, observations do not
	})
}
