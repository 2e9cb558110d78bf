package devconnector_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestDrainsInOrderOnePerAckThenGoesLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		var ids []string
		for n := range 5 {
			ids = append(ids, r.c.Deliver(id, event("c1", fmt.Sprint("m", n))))
		}
		p := r.connect()
		for n, want := range ids {
			frame := p.expect("inbound")
			is.Equal(frame["bufferId"], want)
			is.Equal(frame["event"].(map[string]any)["message_id"], fmt.Sprint("m", n))
			is.True(p.quiet()) // the next one waits for this one's ack
			p.ack(want)
		}
		is.True(p.quiet())
		is.Equal(r.c.Buffered(id), 0)

		is.Equal(r.c.Deliver(id, event("c1", "live")), "")
		frame := p.expect("inbound")
		_, hasID := frame["bufferId"]
		is.True(!hasID) // live
		is.Equal(len(r.c.Acks()), 5)
		is.Equal(r.c.State().Instance(id).Live, 1)
	})
}

func TestWhatComesDuringTheDrainQueuesBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		first := r.c.Deliver(id, event("c1", "m1"))
		p := r.connect()
		is.Equal(p.bufferID(), first)
		second := r.c.Deliver(id, event("c2", "m2"))
		is.True(second != "")
		is.True(p.quiet()) // nothing else moves until the ack
		p.ack(first)
		is.Equal(p.bufferID(), second)
	})
}

func TestUnackedComesAgainWithTheSameID(t *testing.T) {
	for _, name := range buffering(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: preset(t, name)})
				first, second := r.c.Deliver(id, event("c1", "m1")), r.c.Deliver(id, event("c1", "m2"))
				p := r.connect()
				is.Equal(p.bufferID(), first)
				p.ws.NetConn().Close() // before the ack
				synctest.Wait()

				p = r.connect()
				is.Equal(p.bufferID(), first)
				p.ack(first)
				is.Equal(p.bufferID(), second)
				p.leave()

				p = r.connect()
				is.Equal(p.bufferID(), second)
				p.ack(second)
				is.True(p.quiet())
				is.Equal(r.c.Buffered(id), 0)
				is.Equal(len(r.c.State().Breaches), 0)
			})
		})
	}
}

func TestWrongAndNumericAcksAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "whatrouter")})
		first := r.c.Deliver(id, event("c1", "m1"))
		second := r.c.Deliver(id, event("c1", "m2"))
		is.Equal(first, "1") // the id looks like a number, and is none
		p := r.connect("whatsapp")
		is.Equal(p.bufferID(), first)
		p.send(`{"type":"inbound_ack","bufferId":1}`)
		p.send(`{"type":"inbound_ack","bufferId":"17"}`)
		p.ack(second) // not in flight yet
		p.send(`{"type":"inbound_ack"}`)
		p.send(`{"type":"inbound_ack","bufferId":null}`)
		is.True(p.quiet())
		is.Equal(r.c.Buffered(id), 2)
		is.Equal(r.c.State().Count(devconnector.ObsAckIgnored), 5)
		p.ack(first)
		is.Equal(p.bufferID(), second)
	})
}

func TestWindows(t *testing.T) {
	tests := map[string]struct {
		preset string
		want   []string // what is sent at once of a1 a2 b1 b2
		ack    int      // index into want
		then   []string
	}{
		"ack-gated":    {"hosted", []string{"a1"}, 0, []string{"a2"}},
		"one per chat": {"one per chat", []string{"a1", "b1"}, 1, []string{"b2"}},
		"pipelined":    {"agentsync", []string{"a1", "a2", "b1", "b2"}, 3, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				p := devconnector.Preset{Name: tt.preset, WindowPerChat: true}
				if tt.preset != "one per chat" {
					p = preset(t, tt.preset)
				}
				r := start(t, devconnector.Config{Preset: p})
				ids := make(map[string]string)
				for _, message := range []string{"a1", "a2", "b1", "b2"} {
					ids[message] = r.c.Deliver(id, event(message[:1], message))
				}
				socket := r.connect()
				for _, message := range tt.want {
					is.Equal(socket.bufferID(), ids[message])
				}
				is.True(socket.quiet())
				is.Equal(r.c.State().Instance(id).InFlight, len(tt.want))
				socket.ack(ids[tt.want[tt.ack]])
				for _, message := range tt.then {
					is.Equal(socket.bufferID(), ids[message])
				}
				is.True(socket.quiet())
			})
		})
	}
}

func TestPipelinedWindowHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		several := preset(t, "agentsync")
		several.HelloLimit = 0
		r := start(t, devconnector.Config{Preset: several})
		for n := range 250 {
			r.c.Deliver(id, event("c", fmt.Sprint(n)))
		}
		p := r.connect()
		var ids []string
		for range 100 {
			ids = append(ids, p.bufferID())
		}
		is.True(p.quiet())
		for i := range 50 { // acked out of order, each makes room for one
			p.ack(ids[99-i])
			ids = append(ids, p.bufferID())
		}
		is.True(p.quiet())
		is.Equal(r.c.Buffered(id), 200)
		p.leave()

		p = r.connect() // the holes are not sent again
		is.Equal(p.bufferID(), ids[0])
		for range 99 {
			ids = append(ids, p.bufferID())
		}
		is.Equal(ids[150+48], ids[49])
		is.True(ids[150+49] == ids[100])
	})
}

func TestGoingIdleStopsTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // section 19: going_idle before the last row's ack
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "whatrouter")})
		first, second := r.c.Deliver(id, event("c1", "m1")), r.c.Deliver(id, event("c1", "m2"))
		p := r.connect("whatsapp")
		is.Equal(p.bufferID(), first)
		p.goIdle()
		p.ack(first)
		is.True(p.quiet()) // the ack is taken, nothing is pumped
		is.Equal(r.c.Buffered(id), 1)
		third := r.c.Deliver(id, event("c1", "m3"))
		p.hello("whatsapp") // a second hello does not un-flip
		p.expect("descriptor")
		is.True(p.quiet())
		is.True(r.c.State().Instance(id).Flipped)
		p.leave()

		p = r.connect("whatsapp") // a new dial does
		is.True(!r.c.State().Instance(id).Flipped)
		is.Equal(p.bufferID(), second)
		p.ack(second)
		is.Equal(p.bufferID(), third)
	})
}

func TestAckIdleAndCloseInOneGoLeavesTheNextRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "whatrouter")})
		first := r.c.Deliver(id, event("c1", "m1"))
		r.c.Deliver(id, event("c1", "m2"))
		is.Equal(r.poked(), 1)
		p := r.connect("whatsapp")
		p.bufferID()
		p.send(`{"type":"inbound_ack","bufferId":"` + first + `"}` + "\n" + `{"type":"going_idle"}`)
		p.leave()
		is.Equal(r.c.Buffered(id), 1)
		time.Sleep(time.Hour)
		is.Equal(r.poked(), 0)
	})
}

func TestIdleOnlyAckedStillDelivers(t *testing.T) {
	for _, name := range []string{"agentsync", "rustcell"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: preset(t, name)})
				p := r.connect()
				p.goIdle()
				is.True(!r.c.State().Instance(id).Flipped)
				r.c.Deliver(id, event("c1", "m1"))
				p.expect("inbound") // frames may follow the ack
			})
		})
	}
}

func TestBufferIDsOnLiveFrames(t *testing.T) {
	tests := map[string]string{"hosted": "live live live live", "whatrouter": "live live live live",
		"agentsync": "live id live id", "rustcell": "id id id id"}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: preset(t, name)})
				p := r.connect()
				got := ""
				for n := range 4 {
					r.c.Deliver(id, event(fmt.Sprint("c", n), fmt.Sprint(n)))
					buffered := p.bufferID()
					if buffered == "" {
						got += " live"
						continue
					}
					got += " id"
					p.ack(buffered)
					synctest.Wait()
				}
				is.Equal(got, " "+want)
			})
		})
	}
}

func TestEventsForWhoLeftWithoutGoingIdle(t *testing.T) {
	for _, name := range buffering(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: preset(t, name)})
				r.connect().leave()
				buffered := r.c.Deliver(id, event("c1", "m1"))
				inst := r.c.State().Instance(id)
				if name == "hosted" { // section 12: the live path, to nobody, without a poke
					is.Equal(buffered, "")
					is.Equal(inst.Dropped, 1)
					is.Equal(r.poked(), 0)
				} else {
					is.True(buffered != "")
					is.Equal(inst.Buffered, 1)
				}
			})
		})
	}
}

func TestBrokenEventIsDeliveredAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		r.c.DeliverRaw(id, []byte("[1,\r\n2]"))
		frame := r.connect().expect("inbound")
		is.Equal(frame["event"], []any{1.0, 2.0})
		is.Equal(frame["bufferId"], "buf-1")
	})
}

func TestForwardReachesEveryLiveSessionOfTheTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		key := []relay.Secret{relay.NewSecret(secret)}
		r := start(t, devconnector.Config{Gateways: []devconnector.Gateway{
			{ID: "gw-a", Tenant: "t", Secrets: key, Asleep: true},
			{ID: "gw-b", Tenant: "t", Secrets: key},
			{ID: "gw-c", Tenant: "other", Secrets: key},
		}})
		b, c := r.dial(mint("gw-b", secret, 0)), r.dial(mint("gw-c", secret, 0))
		for _, p := range []*peer{b, c} {
			p.hello("discord")
			p.expect("descriptor")
		}
		buffered := r.c.Forward("gw-a", relay.Forward{Platform: "discord", Method: "POST", Path: "/interactions",
			Body: []byte(`{"id":"i1","type":2,"channel_id":"c9","guild_id":"g9","member":{"user":{"id":"u9"}}}`)})
		is.True(buffered != "") // asleep

		frame := b.expect("passthrough_forward")
		_, hasID := frame["bufferId"]
		is.True(!hasID)
		is.True(c.quiet()) // another tenant

		a := r.dial(mint("gw-a", secret, 0))
		a.hello("discord")
		a.expect("descriptor")
		frame = a.expect("passthrough_forward")
		is.Equal(frame["bufferId"], buffered)
		forward := frame["forward"].(map[string]any)
		is.Equal(forward["path"], "/interactions")
		is.Equal(forward["headers"], []any{})
		is.True(forward["bodyB64"] != "")
		a.ack(buffered)
		// Who pressed the button can be answered.
		result := a.do("discord", "bot-discord", `{"op":"send","chat_id":"c9","content":"hi","metadata":{"user_id":"u9"}}`)
		is.Equal(result["success"], true)
		is.Equal(r.c.Buffered("gw-a"), 0)
	})
}

func TestGatewaysWithOneInstanceShareItsBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		buffered := r.c.Deliver(id, event("c1", "m1"))
		status, _, _ := r.fetch("POST", "/relay/provision", identity,
			[]byte(`{"gatewayId":"gw-1","platform":"discord","instanceId":"inst-1"}`))
		is.Equal(status, 200)
		status, body, _ := r.fetch("POST", "/relay/provision", identity,
			[]byte(`{"gatewayId":"gw-1-fresh","platform":"discord","instanceId":"inst-1"}`))
		is.Equal(status, 200)
		is.Equal(len(r.c.State().Instances), 1)
		is.Equal(r.c.State().Instance("inst-1").Gateways, []string{"gw-1", "gw-1-fresh"})

		p := r.dial(mint("gw-1-fresh", field(t, body, "secret"), 0))
		p.hello("discord")
		p.expect("descriptor")
		is.Equal(p.bufferID(), buffered)
	})
}

func TestDeliveryToNobodyInParticular(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		is.True(r.c.Deliver("", event("c", "m")) != "") // the only one
		r.c.Register(devconnector.Gateway{ID: "gw-2"})
		is.Equal(r.c.Deliver("", event("c", "m")), "")
		is.Equal(r.c.State().Count(devconnector.ObsDropped), 1)
	})
}
