package devconnector_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

const seen = `"metadata":{"scope_id":"guild-1","user_id":"user-1"}`

func TestActions(t *testing.T) {
	tests := map[string]struct {
		preset        string
		platform, bot string
		action        string
		want          map[string]any // members of the result
	}{
		"send": {"hosted", "discord", "bot-discord",
			`{"op":"send","chat_id":"c1","content":"hi","reply_to":null,` + seen + `}`,
			map[string]any{"success": true, "message_id": "m-1"}},
		"scope alone will do": {"hosted", "discord", "bot-discord",
			`{"op":"send","chat_id":"c1","content":"hi","metadata":{"scope_id":"guild-1"}}`,
			map[string]any{"success": true}},
		"author alone will do": {"hosted", "discord", "bot-discord",
			`{"op":"send","chat_id":"c1","content":"hi","metadata":{"user_id":"user-1"}}`,
			map[string]any{"success": true}},
		"neither": {"hosted", "discord", "bot-discord",
			`{"op":"send","chat_id":"c1","content":"hi","metadata":{}}`,
			map[string]any{"success": false, "code": "egress_declined",
				"error": "discord egress declined: target not routed to an onboarded tenant"}},
		"no metadata at all": {"hosted", "discord", "bot-discord",
			`{"op":"typing","chat_id":"c1"}`,
			map[string]any{"success": false, "code": "egress_declined"}},
		"another guild's": {"hosted", "discord", "bot-discord",
			`{"op":"send","chat_id":"c1","content":"hi","metadata":{"scope_id":"guild-2"}}`,
			map[string]any{"success": false, "code": "egress_declined"}},
		"a chat never seen": {"hosted", "discord", "bot-discord",
			`{"op":"send","chat_id":"c9","content":"hi",` + seen + `}`,
			map[string]any{"success": false, "code": "egress_declined"}},
		"an untagged frame": {"hosted", "", "",
			`{"op":"send","chat_id":"c1","content":"hi",` + seen + `}`,
			map[string]any{"success": true}},
		"a platform without hello": {"hosted", "slack", "",
			`{"op":"send","chat_id":"c1","content":"hi",` + seen + `}`,
			map[string]any{"success": false, "error": "platform not fronted"}},
		"another platform's bot": {"hosted", "discord", "bot-slack",
			`{"op":"send","chat_id":"c1","content":"hi",` + seen + `}`,
			map[string]any{"success": false, "code": "bot_id_unknown"}},
		"edit": {"hosted", "discord", "bot-discord",
			`{"op":"edit","chat_id":"c1","message_id":"m-7","content":"hi",` + seen + `}`,
			map[string]any{"success": true, "message_id": "m-7"}},
		"typing": {"hosted", "discord", "bot-discord",
			`{"op":"typing","chat_id":"c1",` + seen + `}`,
			map[string]any{"success": true, "message_id": nil}},
		"follow_up has no chat": {"hosted", "discord", "bot-discord",
			`{"op":"follow_up","session_key":"k","kind":"discord.interaction_token","content":"hi"}`,
			map[string]any{"success": true, "message_id": "m-1"}},
		"get_chat_info": {"hosted", "", "",
			`{"op":"get_chat_info","chat_id":"c1"}`,
			map[string]any{"success": true, "chat_info": map[string]any{"name": "c1", "type": "group"}}},
		"get_chat_info of a stranger": {"hosted", "", "",
			`{"op":"get_chat_info","chat_id":"c9"}`,
			map[string]any{"success": false, "code": "egress_declined"}},
		"thread_create": {"hosted", "discord", "bot-discord",
			`{"op":"thread_create","chat_id":"c1","thread_name":"t",` + seen + `}`,
			map[string]any{"success": true, "thread_id": "m-1"}},
		"missing content": {"hosted", "discord", "bot-discord",
			`{"op":"send","chat_id":"c1",` + seen + `}`,
			map[string]any{"success": false, "error": "missing content"}},
		"missing chat": {"hosted", "discord", "bot-discord",
			`{"op":"send","chat_id":"","content":"hi",` + seen + `}`,
			map[string]any{"success": false, "error": "missing chat_id"}},
		"no op": {"hosted", "discord", "bot-discord",
			`{"chat_id":"c1"}`,
			map[string]any{"success": false, "error": "unsupported op: "}},
		"no action": {"hosted", "discord", "bot-discord",
			`null`,
			map[string]any{"success": false, "error": "unsupported op: "}},
		"an op not offered": {"hosted", "discord", "bot-discord",
			`{"op":"draft","chat_id":"c1"}`,
			map[string]any{"success": false, "error": "unsupported op: draft"}},

		"whatrouter, its platform": {"whatrouter", "whatsapp", "bot-discord",
			`{"op":"send","chat_id":"c1","content":"hi"}`,
			map[string]any{"success": false, "code": "bot_id_unknown"}},
		"whatrouter, known chat": {"whatrouter", "whatsapp", "",
			`{"op":"send","chat_id":"c1","content":"hi"}`,
			map[string]any{"success": true, "message_id": "m-1"}},
		"whatrouter, another tenant's chat": {"whatrouter", "whatsapp", "",
			`{"op":"send","chat_id":"c9","content":"hi"}`,
			map[string]any{"success": false, "error": "chat not routed to this profile"}},
		"whatrouter, another platform": {"whatrouter", "discord", "",
			`{"op":"send","chat_id":"c1","content":"hi"}`,
			map[string]any{"success": false, "error": "platform not fronted"}},
		"whatrouter, unknown op": {"whatrouter", "whatsapp", "",
			`{"op":"follow_up","session_key":"k","kind":"x","content":"hi"}`,
			map[string]any{"success": false, "error": "unsupported op: follow_up"}},
		"agentsync, legacy set": {"agentsync", "discord", "",
			`{"op":"edit","chat_id":"c9","message_id":"m-1","content":"hi"}`,
			map[string]any{"success": true}},
		"rustcell": {"rustcell", "discord", "",
			`{"op":"send","chat_id":"c1","content":"hi"}`,
			map[string]any{"success": true}},
		"rustcell, op": {"rustcell", "discord", "",
			`{"op":"delete","chat_id":"c1","message_id":"m-1"}`,
			map[string]any{"success": false, "retryable": nil}},
		"Slack sidecar, op": {"slacksidecar", "slack", "",
			`{"op":"delete","chat_id":"c1","message_id":"m-1"}`,
			map[string]any{"success": false, "retryable": false}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: preset(t, tt.preset)})
				p := r.connect()
				r.c.Deliver(id, event("c1", "m1"))
				p.expect("inbound")
				result := p.do(tt.platform, tt.bot, tt.action)
				for member, want := range tt.want {
					is.Equal(result[member], want)
				}
			})
		})
	}
}

func TestAPlatformWithoutBotIDIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // section 4
		is := is.New(t)
		r := start(t, devconnector.Config{})
		p := r.dial(freshToken())
		p.send(`{"type":"hello","platform":"discord","botId":""}`)
		p.expect("descriptor")
		r.c.Deliver(id, event("c1", "m1"))
		p.expect("inbound")
		result := p.do("discord", "", `{"op":"send","chat_id":"c1","content":"hi",`+seen+`}`)
		is.Equal(result["code"], "bot_id_missing")
	})
}

func TestAGenericGatewayActsOnEveryPlatform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		p := r.dial(freshToken())
		p.send(`{"type":"hello","platform":"relay","botId":""}`)
		p.expect("descriptor")
		r.c.Deliver(id, event("c1", "m1"))
		p.expect("inbound")
		result := p.do("discord", "", `{"op":"send","chat_id":"c1","content":"hi",`+seen+`}`)
		is.Equal(result["success"], true)
	})
}

func TestAThreadMadeCanBeWrittenTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		p := r.connect()
		r.c.Deliver(id, event("c1", "m1"))
		p.expect("inbound")
		made := p.do("discord", "bot-discord", `{"op":"thread_create","chat_id":"c1","thread_name":"t",`+seen+`}`)
		result := p.do("discord", "bot-discord",
			fmt.Sprintf(`{"op":"send","chat_id":%q,"content":"hi",%s}`, made["thread_id"], seen))
		is.Equal(result["success"], true)
	})
}

func TestActionsAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		p := r.connect()
		r.c.Deliver(id, event("c1", "m1"))
		p.expect("inbound")
		request := fmt.Sprintf("%032x", 7)
		line := outbound(request, "discord", "bot-discord",
			`{"op":"send","chat_id":"c1","content":"hi","reply_to":"m1",`+seen+`}`)
		p.send(line)
		is.Equal(p.expect("outbound_result")["requestId"], request)
		p.send(line)
		p.expect("outbound_result")

		got := r.c.Outbounds()
		is.Equal(len(got), 2)
		is.Equal(got[0].RequestID, request)
		is.Equal(got[0].Platform, "discord")
		is.Equal(got[0].BotID, "bot-discord")
		is.Equal(got[0].Op, "send")
		is.Equal(got[0].ChatID, "c1")
		is.Equal(got[0].Content, "hi")
		is.Equal(got[0].Action["reply_to"], "m1")
		is.Equal(got[0].Metadata, map[string]any{"scope_id": "guild-1", "user_id": "user-1"})
		is.Equal(got[0].Result.MessageID, "m-1")
		is.True(got[0].Answered)
		is.True(!got[0].Repeated)
		is.True(got[1].Repeated) // the same requestId again
		is.Equal(len(r.c.State().Breaches), 0)

		p.send(outbound("short", "", "", `{"op":"typing","chat_id":"c1",`+seen+`}`))
		p.expect("outbound_result")
		is.Equal(len(r.c.State().Breaches), 1)
	})
}

func TestSerialQueueTakesOneActionAtATime(t *testing.T) {
	for name, want := range map[string]time.Duration{"whatrouter": 30 * time.Second, "hosted": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				p := preset(t, name)
				p.OutboundDelay, p.Routing = 10*time.Second, devconnector.RouteAny
				r := start(t, devconnector.Config{Preset: p})
				socket := r.connect()
				began := time.Now()
				for n := range 3 {
					socket.send(outbound(fmt.Sprintf("%032x", n), "", "", `{"op":"send","chat_id":"c1","content":"hi"}`))
				}
				for range 3 {
					socket.expect("outbound_result")
				}
				is.Equal(time.Since(began), want)
			})
		})
	}
}

func TestInterrupts(t *testing.T) {
	for name, want := range map[string]int{"hosted": 1, "whatrouter": 0, "agentsync": 0, "rustcell": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{Preset: preset(t, name)})
				is.Equal(r.c.Interrupt("k", "c"), 0) // nobody is there
				p := r.connect()
				is.Equal(r.c.Interrupt("k", "c"), want)
				if want == 1 {
					frame := p.expect("interrupt_inbound")
					is.Equal(frame["session_key"], "k")
					is.Equal(frame["chat_id"], "c")
				}
				is.True(p.quiet())
			})
		})
	}
}
