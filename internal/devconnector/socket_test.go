package devconnector_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestRoutes(t *testing.T) {
	tests := []struct {
		preset, method, path string
		want                 int
	}{
		{"hosted", "GET", "/relay", 400}, // no upgrade
		{"hosted", "GET", "/relay/", 400},
		{"hosted", "GET", "/", 404},
		{"hosted", "GET", "/relay/rotate", 404},
		{"hosted", "GET", "/relay/provision", 405},
		{"hosted", "POST", "/relay/provision", 401},
		{"hosted", "POST", "/relay/enroll", 401},
		{"hosted", "POST", "/relay/policy", 401},
		{"hosted", "POST", "/relay/media", 401},
		{"hosted", "GET", "/relay/media/x", 401},
		{"whatrouter", "POST", "/relay/provision", 404},
		{"whatrouter", "POST", "/relay/enroll", 404},
		{"whatrouter", "POST", "/relay/media", 401},
		{"agentsync", "POST", "/relay/provision", 404},
		{"agentsync", "POST", "/relay/enroll", 401},
		{"agentsync", "POST", "/relay/media", 404},
		{"agentsync", "GET", "/relay/media/x", 404},
		{"rustcell", "POST", "/relay/provision", 404},
		{"rustcell", "POST", "/relay/enroll", 404},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.preset, " ", tt.method, " ", tt.path), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, devconnector.Config{Preset: preset(t, tt.preset), Gateways: []devconnector.Gateway{}})
				bearer := ""
				if tt.path == "/relay" {
					r.c.Register(devconnector.Gateway{ID: id, Secrets: []relay.Secret{relay.NewSecret(secret)}})
					bearer = freshToken()
				}
				status, _, _ := r.fetch(tt.method, tt.path, bearer, nil)
				is.New(t).Equal(status, tt.want)
			})
		})
	}
}

func TestUpgradeOnAnotherPathIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		for path, want := range map[string]int{"/relay/": 400, "/": 404, "/relay/relay": 404} {
			_, status, err := r.upgrade(path, freshToken())
			is.True(err != nil)
			is.Equal(status, want)
		}
	})
}

func TestBadCredentials(t *testing.T) {
	now := func() int64 { return time.Now().Unix() }
	tokens := map[string]struct {
		token  func() string
		reason string
	}{
		"none":              {func() string { return "" }, "unauthorized"},
		"junk":              {func() string { return "junk" }, "unauthorized"},
		"another secret":    {func() string { return mint(id, "other", now()+300) }, "unauthorized"},
		"an unknown id":     {func() string { return mint("gw-2", secret, now()+300) }, "unauthorized"},
		"aged":              {func() string { return mint(id, secret, now()-121) }, "expired"},
		"aged, other's":     {func() string { return mint(id, "other", now()-300) }, "unauthorized"},
		"blank secret":      {func() string { return mint("blank", " ", now()+300) }, "unauthorized"},
		"aged by a minute":  {func() string { return mint(id, secret, now()-60) }, "expired"},
		"never expiring":    {func() string { return mint(id, secret, 0) }, ""},
		"of the other list": {func() string { return mint(id, "second", now()+300) }, ""},
	}
	for _, name := range checking(t) {
		for which, tt := range tokens {
			t.Run(name+" "+which, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					is := is.New(t)
					p := preset(t, name)
					r := start(t, devconnector.Config{Preset: p, Gateways: []devconnector.Gateway{
						{ID: id, Secrets: []relay.Secret{relay.NewSecret(secret), relay.NewSecret("second")}},
						{ID: "blank", Secrets: []relay.Secret{relay.NewSecret(" ")}}}})
					reason := tt.reason
					if which == "aged by a minute" && p.ExpiryLeeway > 0 {
						reason = ""
					}
					ws, status, err := r.upgrade("/relay", tt.token())
					switch {
					case reason == "":
						is.NoErr(err)
						is.Equal(status, 101)
					case p.RefuseAtUpgrade:
						is.True(err != nil)
						is.Equal(status, 401)
						return
					default:
						is.NoErr(err) // accepted, then closed
						_, _, err = ws.ReadMessage()
						is.True(websocket.IsCloseError(err, 4401))
						is.Equal(err.Error(), "websocket: close 4401: "+reason)
					}
					ws.Close()
				})
			})
		}
	}
}

func TestTooManyFailuresAreBarred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "whatrouter")})
		for range 10 {
			code, _ := r.dial("junk").closed()
			is.Equal(code, 4401)
		}
		code, _ := r.dial(freshToken()).closed()
		is.Equal(code, 1013)
		time.Sleep(time.Minute)
		r.connect("whatsapp")
	})
}

func TestAnonymousDialsWhereAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Gateways: []devconnector.Gateway{}, Anonymous: "dev"})
		p := r.dial("")
		p.hello("relay")
		p.expect("descriptor")
		r.c.Deliver("dev", event("c", "m"))
		p.expect("inbound")
		code, _ := r.dial("junk").closed() // a token that is there has to be good
		is.Equal(code, 4401)
		is.NoErr(r.c.Revoke("dev"))
		code, _ = r.dial("").closed()
		is.Equal(code, 4401)
	})
}

func TestSecondSocket(t *testing.T) {
	tests := map[string]struct {
		newGoes bool
		code    int
		reason  string
	}{
		"hosted":       {false, 1000, "replaced"},
		"whatrouter":   {true, 1008, "duplicate session"},
		"agentsync":    {false, 1000, "replaced"},
		"rustcell":     {false, 4000, "replaced by a new dial"},
		"slacksidecar": {true, 4429, "another gateway is connected"},
	}
	is.New(t).Equal(len(tests), len(devconnector.PresetNames()))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: preset(t, name)})
				first := r.connect()
				second := r.dial(freshToken())
				gone := first
				if tt.newGoes {
					gone = second
				}
				code, reason := gone.closed()
				is.Equal(code, tt.code)
				is.Equal(reason, tt.reason)
				if tt.newGoes {
					first.leave()
					r.connect() // the seat is free
					return
				}
				second.hello("discord")
				second.expect("descriptor")
			})
		})
	}
}

func TestOneDescriptorPerHello(t *testing.T) {
	tests := map[string]struct {
		preset string
		want   map[string]any
	}{
		"discord":  {"hosted", map[string]any{"max_message_length": 2000.0, "len_unit": "chars", "markdown_dialect": "discord"}},
		"telegram": {"hosted", map[string]any{"max_message_length": 4096.0, "len_unit": "utf16"}},
		"slack":    {"hosted", map[string]any{"max_message_length": 39000.0}},
		"irc":      {"rustcell", map[string]any{"max_message_length": 4096.0, "markdown_dialect": "plain"}},
		"whatsapp": {"whatrouter", map[string]any{"supported_ops": []any{"send", "edit", "delete", "typing", "react",
			"send_media", "get_chat_info"}}},
		"line": {"agentsync", map[string]any{"supported_ops": nil}},
	}
	for platform, tt := range tests {
		t.Run(platform, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: preset(t, tt.preset)})
				p := r.dial(freshToken())
				p.hello(platform)
				d := p.expect("descriptor")["descriptor"].(map[string]any)
				is.Equal(d["platform"], platform)
				for _, name := range []string{"contract_version", "label", "supports_draft_streaming", "supports_edit",
					"supports_threads"} {
					is.True(d[name] != nil)
				}
				for name, want := range tt.want {
					is.Equal(d[name], want)
				}
				hello := r.c.State().Hellos[0]
				is.Equal(hello.BotID, "bot-"+platform)
				is.Equal(hello.Manifest, false)
			})
		})
	}
}

func TestDescriptorCanBeChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		p := devconnector.Hosted()
		p.Descriptor = map[string]any{"max_message_length": "many", "label": nil}
		r := start(t, devconnector.Config{Preset: p})
		socket := r.dial(freshToken())
		socket.hello("discord")
		d := socket.expect("descriptor")["descriptor"].(map[string]any)
		is.Equal(d["max_message_length"], "many")
		_, there := d["label"]
		is.True(!there)
	})
}

func TestFramesMayBeCutAnyhow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		p := r.dial(freshToken())
		hellos := "\n\r\n" + `{"type":"hello","platform":"discord","botId":"b"}` + "\r\n" +
			`{"type":"hello","platform":"slack","botId":"b"}` + "\n"
		for i, b := range []byte(hellos) { // a byte a message, text and binary
			is.NoErr(p.ws.WriteMessage(websocket.TextMessage+i%2, []byte{b}))
		}
		p.expect("descriptor")
		p.expect("descriptor")
		p.send(`{"type":"going_idle"}` + "\n" + `{"type":"interrupt","session_key":"k","reason":"stop"}`)
		p.expect("going_idle_ack")
		is.NoErr(p.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"going_idle"}`)))
		is.True(p.quiet()) // its newline has not come
		is.Equal(r.c.State().Interrupts[0].Reason, "stop")
		is.Equal(len(r.c.State().Breaches), 0)
	})
}

func TestBadFramesAreSkipped(t *testing.T) {
	for _, name := range []string{"hosted", "agentsync"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: preset(t, name)})
				p := r.connect()
				bad := []string{`{`, `[]`, `7`, `{"type":"nonsense"}`, `{"type":7}`, `{"Type":"going_idle"}`,
					"{\"type\":\"\xff\"}"}
				for _, line := range bad {
					p.send(line)
					if name == "agentsync" {
						p.expect("error")
					}
				}
				p.goIdle()
				is.Equal(len(r.c.State().Breaches), len(bad))
			})
		})
	}
}

func TestFramesOverTheLimitEndTheSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "rustcell")})
		p := r.connect()
		go p.ws.WriteMessage(websocket.TextMessage, []byte(strings.Repeat("x", 1<<20+1)))
		code, _ := p.closed()
		is.Equal(code, 1009)

		p = r.connect()
		go func() { // one line over several messages
			for range 3 {
				p.ws.WriteMessage(websocket.TextMessage, []byte(strings.Repeat("x", 1<<19)))
			}
		}()
		code, _ = p.closed()
		is.Equal(code, 1009)
		synctest.Wait()
		is.Equal(r.c.Sockets()[1].Code, 1009)
	})
}

func TestPings(t *testing.T) {
	pings := map[string]int{"hosted": 0, "whatrouter": 10, "agentsync": 0, "rustcell": 0}
	for name, want := range pings {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: preset(t, name)})
				p := r.dial(freshToken())
				var got atomic.Int32
				answer := p.ws.PingHandler()
				p.ws.SetPingHandler(func(data string) error {
					got.Add(1)
					return answer(data)
				})
				p.hello("whatsapp")
				time.Sleep(5*time.Minute + time.Second)
				synctest.Wait()
				is.Equal(got.Load(), int32(want)) // every 30 s, or never
				is.True(r.c.Sockets()[0].Open)    // the pongs keep it
			})
		})
	}
}

func TestWithoutPongsTheSocketIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "whatrouter")})
		p := r.dial(freshToken())
		p.ws.SetPingHandler(func(string) error { return nil })
		p.hello("whatsapp")
		time.Sleep(59 * time.Second)
		is.True(r.c.Sockets()[0].Open)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		is.Equal(r.c.Sockets()[0].Code, 1006)
	})
}

func TestGatewayPingsAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, devconnector.Config{Preset: preset(t, "rustcell")})
		p := r.dial(freshToken())
		pong := make(chan string, 1)
		p.ws.SetPongHandler(func(data string) error { pong <- data; return nil })
		is.New(t).NoErr(p.ws.WriteControl(websocket.PingMessage, []byte("hi"), time.Now().Add(time.Second)))
		is.New(t).Equal(<-pong, "hi")
	})
}

func TestHowASocketEndedIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		r.connect().leave()
		p := r.connect()
		p.ws.NetConn().Close()
		synctest.Wait()
		sockets := r.c.Sockets()
		is.Equal(sockets[0].Code, 1000)
		is.Equal(sockets[0].By, "gateway")
		is.Equal(sockets[1].Code, 1006)
		is.True(!r.c.State().Instance(id).Connected)
	})
}

func TestTheSeatIsFreeOnceACloseIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: preset(t, "whatrouter")})
		for n := range 200 { // answered first, it would be taken now and then
			p := r.connect("whatsapp")
			bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
			is.NoErr(p.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)))
			<-p.ended
			is.True(!r.c.Sockets()[n].Open)
		}
	})
}

func TestCloseEndsEverySocketWith1001(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		p := r.connect()
		is.NoErr(r.c.Close(t.Context()))
		code, reason := p.closed()
		is.Equal(code, 1001)
		is.Equal(reason, "going away")
		_, status, err := r.upgrade("/relay", freshToken())
		is.True(err != nil)
		is.Equal(status, 503)
	})
}

func TestCloseDoesNotWaitForAPeerThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		ws, _, err := r.upgrade("/relay", freshToken()) // and never reads
		is.NoErr(err)
		defer ws.Close()
		began := time.Now()
		is.NoErr(r.c.Close(t.Context()))
		is.True(time.Since(began) <= 2*time.Second)
	})
}

func TestCloseCutsWhatIsLeftWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		ws, _, err := r.upgrade("/relay", freshToken()) // and never reads
		is.NoErr(err)
		defer ws.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		is.NoErr(r.c.Close(ctx))
		is.Equal(time.Since(began), time.Duration(0))
	})
}

func TestCloseNamesAPokeThatOutlivesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		release := make(chan struct{})
		r := start(t, devconnector.Config{Poke: func(context.Context, string) (int, error) { <-release; return 202, nil }})
		r.c.Deliver(id, event("c", "m"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.c.Close(ctx)
		is.True(errors.Is(err, context.DeadlineExceeded))
		close(release)
	})
}

func TestTheCommandsOfAManifestAreShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: devconnector.Hosted()})
		p := r.dial(freshToken())
		p.send(`{"type":"hello","platform":"discord","botId":"1","command_manifest":[{"name":"new","description":"Anew."},` +
			`{"name":"No Name","description":"d"},{"name":"deploy","description":"Deploys.","options":[{"type":3}]}]}`)
		p.expect("descriptor")
		state := r.c.State()
		is.Equal(state.Commands, []devconnector.Command{
			{Name: "new", Description: "Anew."},
			{Name: "deploy", Description: "Deploys.", Options: json.RawMessage(`[{"type":3}]`)},
		})
		is.Equal(state.Breaches, []string{"command_manifest[1] is no command"}) // dropped, and the others taken
		is.Equal(state.Observations[slices.IndexFunc(state.Observations, func(o devconnector.Observation) bool {
			return o.What == devconnector.ObsHello
		})].Detail, "registers /new /deploy")

		p.hello("telegram") // says nothing of commands
		p.expect("descriptor")
		is.Equal(len(r.c.State().Commands), 2)
	})
}
