package devconnector_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestFirstBufferedEventPokes(t *testing.T) {
	for _, name := range []string{"hosted", "whatrouter"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: preset(t, name)})
				r.c.Deliver(id, event("c", "m1"))
				is.Equal(<-r.pokes, wakeURL)
				r.c.Deliver(id, event("c", "m2"))
				time.Sleep(time.Hour)
				r.c.Deliver(id, event("c", "m3"))
				is.Equal(r.poked(), 0) // the buffer is not empty
				poke := r.c.Pokes()[0]
				is.Equal(poke.Host, "https://wake.example") // without the path
				is.Equal(poke.Status, 202)
			})
		})
	}
}

func TestLostPokes(t *testing.T) {
	tests := map[string]func(t *testing.T, is *is.I, r *rig){
		"in the cooldown": func(t *testing.T, is *is.I, r *rig) {
			r.c.Deliver(id, event("c", "m1"))
			is.Equal(r.poked(), 1)
			p := r.connect("whatsapp")
			p.ack(p.bufferID())
			p.goIdle()
			p.leave()
			time.Sleep(30 * time.Second)
			r.c.Deliver(id, event("c", "m2")) // within 60 s of the poke
		},
		"in the flip window": func(t *testing.T, is *is.I, r *rig) {
			p := r.connect("whatsapp")
			p.goIdle()
			r.c.Deliver(id, event("c", "m1")) // the socket is still there
			p.leave()
		},
		"by a failure": func(t *testing.T, is *is.I, r *rig) {
			r.answerPokes(500)
			r.c.Deliver(id, event("c", "m1"))
			is.Equal(r.poked(), 1)
			r.answerPokes(202)
		},
		"by a timeout": func(t *testing.T, is *is.I, r *rig) {
			r.answerPokes(0)
			r.c.Deliver(id, event("c", "m1"))
			is.Equal(r.poked(), 1)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			is.True(r.c.Pokes()[0].Failed)
			r.answerPokes(202)
		},
	}
	for name, lose := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: preset(t, "whatrouter")})
				lose(t, is, r)
				time.Sleep(time.Hour)
				r.c.Deliver(id, event("c", "later"))
				time.Sleep(time.Hour)
				is.Equal(r.poked(), 0)
				p := r.connect("whatsapp")
				p.ack(p.bufferID()) // an unprompted dial drains it
				p.ack(p.bufferID())
				is.True(p.quiet())
			})
		})
	}
}

func TestPokesAgainOnceTheCooldownIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		for range 3 {
			r.c.Deliver(id, event("c", "m"))
			is.Equal(r.poked(), 1)
			p := r.connect()
			p.ack(p.bufferID())
			p.goIdle()
			p.leave()
			time.Sleep(time.Minute)
		}
	})
}

func TestHostedPokesAFlippedInstanceThatIsStillConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		p := r.connect()
		p.goIdle()
		r.c.Deliver(id, event("c", "m"))
		is.Equal(r.poked(), 1)
		is.True(p.quiet()) // but sends nothing on that socket
	})
}

func TestEveryBufferedEventPokesOutsideTheCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		p := devconnector.Hosted()
		p.Poke = devconnector.PokeAny
		r := start(t, devconnector.Config{Preset: p})
		for range 4 { // at 0, 40, 80 and 120 s
			r.c.Deliver(id, event("c", "m"))
			time.Sleep(40 * time.Second)
		}
		is.Equal(r.poked(), 2)
	})
}

func TestPokesWhileSomethingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "rustcell")})
		r.c.Deliver(id, event("c", "m"))
		is.Equal(r.poked(), 1)
		time.Sleep(35 * time.Second)
		is.Equal(r.poked(), 3) // every 10 s
		p := r.connect()
		time.Sleep(time.Minute)
		is.Equal(r.poked(), 0) // somebody is there
		buffered := p.bufferID()
		p.leave()
		is.Equal(r.poked(), 1) // it was not acked
		p = r.connect()
		is.Equal(p.bufferID(), buffered)
		p.ack(buffered)
		synctest.Wait()
		p.leave()
		time.Sleep(time.Minute)
		is.Equal(r.poked(), 0)
	})
}

func TestAgentSyncNeverPokes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "agentsync")})
		r.c.Deliver(id, event("c", "m"))
		time.Sleep(time.Hour)
		is.Equal(r.poked(), 0)
		is.Equal(r.c.Buffered(id), 1)
	})
}

func TestAHeededAnswerIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		p := devconnector.Hosted()
		p.PokeHeedsAnswer, p.PokeEvery = true, 10*time.Second
		r := start(t, devconnector.Config{Preset: p})
		r.answerPokes(503)
		r.c.Deliver(id, event("c", "m"))
		time.Sleep(25 * time.Second)
		is.Equal(r.poked(), 3)
		r.answerPokes(202)
		time.Sleep(time.Hour)
		is.Equal(r.poked(), 1)
	})
}

func TestNoPokeWithoutAWakeURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Gateways: []devconnector.Gateway{{ID: id, Asleep: true}}})
		is.True(r.c.Deliver(id, event("c", "m")) != "")
		is.Equal(r.poked(), 0)
	})
}

func TestInjectedPokeLosses(t *testing.T) {
	for way, want := range map[devconnector.PokeLoss]int{
		devconnector.LostInCooldown: 0, devconnector.LostInFlip: 0, devconnector.LostByFailure: 1} {
		for _, name := range []string{"hosted", "whatrouter"} {
			t.Run(name+" "+string(way), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					is := is.New(t)
					r := start(t, devconnector.Config{Preset: preset(t, name)})
					r.c.LosePoke(way)
					r.c.Deliver(id, event("c", "m1"))
					time.Sleep(time.Hour)
					r.c.Deliver(id, event("c", "m2"))
					is.Equal(r.poked(), 0) // none has arrived
					state := r.c.State()
					is.Equal(len(state.Pokes), want) // and the connector believes what it believes
					is.Equal(state.Count(devconnector.ObsPokeLost), 1-want)
				})
			})
		}
	}
}

func TestRealPokes(t *testing.T) { // over TCP, as nothing else here is
	tests := map[string]struct{ method, agent string }{
		"hosted":     {"GET", "Go-http-client/1.1"},
		"whatrouter": {"GET", "node"},
		"rustcell":   {"POST", "Go-http-client/1.1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			got := make(chan *http.Request, 100)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got <- r
				w.WriteHeader(http.StatusAccepted)
			}))
			defer srv.Close()
			c := devconnector.New(devconnector.Config{Preset: preset(t, name), Gateways: []devconnector.Gateway{
				{ID: id, Secrets: []relay.Secret{relay.NewSecret(secret)}, WakeURL: srv.URL + "/w/x", Asleep: true}}})
			defer c.Close(context.Background())
			c.Deliver(id, event("c", "m"))
			req := <-got
			is.Equal(req.Method, tt.method)
			is.Equal(req.URL.Path, "/w/x")
			is.Equal(req.UserAgent(), tt.agent)
			is.Equal(req.ContentLength, int64(0)) // payload-free
			is.Equal(req.Header.Get("Authorization"), "")
			is.Equal(req.Header.Get("X-Relay-Signature") != "", name == "rustcell")
			is.NoErr(c.Wait(t.Context(), func(s devconnector.State) bool { return s.Pokes[0].Status == 202 }))
		})
	}
}
