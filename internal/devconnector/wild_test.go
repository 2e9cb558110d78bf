package devconnector_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// What section 19 knows of single connectors, beyond its table.

func TestTheRustCellWaitsForTheEyesToComeOff(t *testing.T) {
	eyes := func(remove bool) string {
		return fmt.Sprintf(`{"op":"react","chat_id":"a","message_id":"a1","emoji":"\u{1F440}","remove":%t}`, remove)
	}
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "rustcell")})
		p := r.connect()
		for _, message := range []string{"a1", "a2", "a3"} {
			r.c.Deliver(id, event("a", message))
		}
		p.ack(p.bufferID())
		is.True(p.quiet()) // an ack is not enough
		p.do("", "", strings.ReplaceAll(eyes(false), `\u{1F440}`, "eyes"))
		is.True(p.quiet()) // nor are the eyes
		began := time.Now()
		p.send(outbound(strings.Repeat("7", 32), "", "", strings.ReplaceAll(eyes(true), `\u{1F440}`, "eyes")))
		second := p.bufferID()
		p.expect("outbound_result")
		is.Equal(time.Since(began), 0*time.Second)
		p.ack(second)
		p.bufferID() // without eyes, 20 minutes later
		is.Equal(time.Since(began), 20*time.Minute)

		p.leave() // unacked, so its turn begins anew on the next socket
		r.connect().bufferID()
	})
}

func TestTheRustCellTakesASendWithoutReplyToForProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "rustcell")})
		p := r.connect()
		r.c.Deliver(id, event("a", "a1"))
		p.bufferID()
		p.do("", "", `{"op":"send","chat_id":"a","content":"working"}`)
		p.do("", "", `{"op":"send","chat_id":"a","content":"done","reply_to":"a1"}`)
		is.True(r.c.Outbounds()[0].Progress)
		is.True(!r.c.Outbounds()[1].Progress)
	})
}

func TestTheRustCellDropsTheOldestOfAHundred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "rustcell")})
		var ids []string
		for n := range 103 {
			ids = append(ids, r.c.Deliver(id, event("a", fmt.Sprint(n))))
		}
		is.Equal(r.c.Buffered(id), 100)
		is.Equal(r.c.State().Instance(id).Dropped, 3)
		is.Equal(r.connect().bufferID(), ids[3])
	})
}

func TestAForwardThatIsNeverAckedHoldsUpNothing(t *testing.T) {
	for name, want := range map[string]bool{"hosted": true, "whatrouter": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: preset(t, name)})
				forward := r.c.Forward(id, relay.Forward{Platform: "discord", Method: "POST", Path: "/", Body: []byte(`{"channel_id":"c"}`)})
				message := r.c.Deliver(id, event("c", "m1"))
				p := r.connect()
				is.Equal(p.expect("passthrough_forward")["bufferId"], forward)
				if !want {
					is.True(p.quiet())
					return
				}
				is.Equal(p.bufferID(), message)
				p.ack(message)
				synctest.Wait()
				r.c.Deliver(id, event("c", "m2"))
				is.Equal(p.bufferID(), "") // live, although the forward waits
				p.leave()
				is.Equal(r.connect().expect("passthrough_forward")["bufferId"], forward)
			})
		})
	}
}

func TestAgentSyncSendsAHundredRowsAHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "agentsync")})
		for n := range 150 {
			r.c.Deliver(id, event("c", fmt.Sprint(n)))
		}
		p := r.connect()
		for range 100 {
			p.ack(p.bufferID())
		}
		is.True(p.quiet())
		is.Equal(r.c.Buffered(id), 50)
		p.hello("telegram")
		p.expect("descriptor")
		for range 50 {
			p.ack(p.bufferID())
		}
		is.True(p.quiet())
		is.Equal(r.c.Buffered(id), 0)
	})
}

func TestAgentSyncHasNoResultForWhatItCannotDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "agentsync")})
		p := r.connect()
		p.send(outbound(strings.Repeat("7", 32), "", "", `{"op":"react","chat_id":"c9","message_id":"m-1","emoji":"x"}`))
		is.Equal(p.expect("error")["error"], "unsupported op: react")
		is.True(p.quiet())
		is.True(!r.c.Outbounds()[0].Answered)
	})
}

func TestWhatrouterTakesItsTimeForEachChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		p := preset(t, "whatrouter")
		p.OutboundDelay, p.Routing = time.Minute, devconnector.RouteAny
		r := start(t, devconnector.Config{Preset: p})
		socket := r.connect("whatsapp")
		began := time.Now()
		text := strings.Repeat("x", 4095) + "\U0001F600" // 4,097 UTF-16 units
		socket.do("", "", fmt.Sprintf(`{"op":"send","chat_id":"c1","content":%q}`, text))
		is.Equal(time.Since(began), 2*time.Minute)
	})
}

func TestARestartForgetsChatsAndKeepsRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "whatrouter")})
		send := `{"op":"send","chat_id":"c1","content":"hi"}`
		p := r.connect("whatsapp")
		r.c.Deliver(id, event("c1", "m1"))
		p.bufferID()
		is.Equal(p.do("", "", send)["success"], true)
		r.c.Restart()
		code, _ := p.closed()
		is.Equal(code, 1001)
		waiting := r.c.Deliver(id, event("c2", "m2"))
		is.Equal(r.poked(), 1)
		p = r.connect("whatsapp")
		is.Equal(p.bufferID(), waiting)
		is.Equal(p.do("", "", send)["error"], "chat not routed to this profile")
		p.ack(waiting)
		synctest.Wait()
		r.c.Deliver(id, event("c1", "m3"))
		p.bufferID()
		is.Equal(p.do("", "", send)["success"], true)
	})
}

func TestMediaURLs(t *testing.T) {
	for name, want := range map[string]string{"hosted": "https://connector.example", "whatrouter": "http://localhost:8787"} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, devconnector.Config{Preset: preset(t, name)})
			is.New(t).Equal(r.c.MediaURL("https://connector.example", "f"), want+"/relay/media/f")
		})
	}
}

func TestTheSlackSidecar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "slacksidecar")})
		is.Equal(r.c.Deliver(id, event("c1", "m1")), "") // it drops what comes while nobody is connected
		is.Equal(r.c.State().Instance(id).Dropped, 1)

		for path, code := range map[string]int{"/": 4404, "/relay/": 4404, "/other": 4404} {
			ws, status, err := r.upgrade(path, "")
			is.NoErr(err)
			is.Equal(status, http.StatusSwitchingProtocols)
			_, _, err = ws.ReadMessage()
			is.True(websocket.IsCloseError(err, code))
			ws.Close()
		}
		status, _, _ := r.fetch("POST", "/relay/provision", identity, provisionBody(id, "slack"))
		is.Equal(status, http.StatusNotFound)

		p := r.dial("") // no credentials
		p.hello("slack")
		p.expect("descriptor")
		r.c.Deliver(id, event("c1", "m2"))
		is.Equal(p.bufferID(), "")
		p.goIdle() // acked, and not flipped
		r.c.Deliver(id, event("c1", "m3"))
		is.Equal(p.bufferID(), "")

		r.c.Down(time.Minute)
		code, _ := p.closed()
		is.Equal(code, 4503)
		code, _ = r.dial("").closed()
		is.Equal(code, 4503)
		time.Sleep(time.Minute)
		p = r.dial("any token")
		p.hello("slack")
		p.expect("descriptor")
	})
}
