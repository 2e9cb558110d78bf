package conform

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

// GatewayCatalogue returns the checks of gateways, in the order in which they run. The last one ends the gateway.
func GatewayCatalogue() []Check {
	return slices.Concat(gatewayCoreChecks, gatewayOutcomeChecks, gatewaySleepChecks, gatewayMediaChecks, gatewayPromptChecks, gatewayIdentityChecks)
}

var gatewayCoreChecks = []Check{
	{
		ID: gatewayGate, Suite: Core, Section: 11, Level: Must,
		Sentence: "it dials, and answers a message by a send to its chat",
		Quote:    "| `send` | yes | `chat_id`, `content`, `reply_to` (null when none), `metadata` |",
		gateway:  func(g *subject) error { _, _, err := g.exchange(); return err },
	},
	{
		ID: "gateway-hello", Suite: Core, Section: 4, Level: Must,
		Sentence: "hello is the first frame of each socket, for the platform that it fronts",
		Quote:    "Send one `hello` per fronted identity, in configured order, without waiting in between.",
		gateway:  checkGatewayHello,
	},
	{
		ID: "gateway-frames", Suite: Core, Section: 5, Level: Must,
		Sentence: "its frames are those of the contract: known types, requestIds of 32 hex digits, acks with a string",
		Quote:    "| `outbound` | yes | `requestId` (32 hex), `action`, `platform`?, `botId`? |",
		gateway: func(g *subject) error {
			if _, _, err := g.exchange(); err != nil {
				return err
			}
			if breaches := g.c.State().Breaches; len(breaches) > 0 {
				return errors.New(strings.Join(breaches, "; "))
			}
			return nil
		},
	},
	{
		ID: "gateway-platform", Suite: Core, Section: 10, Level: Must,
		Sentence: "an answer's frame is tagged with the chat's platform",
		Quote:    "The chat's platform is not metadata: it goes on the frame",
		gateway: func(g *subject) error {
			_, out, err := g.exchange()
			if err == nil && out.Platform != g.cfg.Platforms[0] {
				err = fmt.Errorf("platform %q", out.Platform)
			}
			return err
		},
	},
	{
		ID: "gateway-routing", Suite: Core, Section: 10, Level: Must,
		Sentence: "an answer's metadata has the chat's scope and the author",
		Quote:    "On every outbound action that names a chat, `metadata` gets `scope_id`, `user_id` and `profile` where they are known",
		gateway:  checkGatewayRouting,
	},
	{
		ID: "gateway-reply-to", Suite: Core, Section: 20, Level: Should,
		Sentence: "an answer is a reply to its message",
		Quote:    "`reply_to` of an answer = the message_id of its message",
		gateway:  checkGatewayReplyTo,
	},
	{
		ID: "gateway-garbage", Suite: Core, Section: 3, Level: Must,
		Sentence: "bad lines and unknown frames lose no message that comes behind them",
		Quote:    "A line of bad JSON is skipped with a warning. A frame of an unknown `type` is ignored.",
		gateway: func(g *subject) error {
			if err := g.ready(); err != nil {
				return err
			}
			g.c.SendGarbage()
			_, _, err := g.exchange()
			return err
		},
	},
	{
		ID: "gateway-large", Suite: Core, Section: 3, Level: Must,
		Sentence: "a message of 900,000 bytes is taken",
		Quote:    "the largest message is 1 MiB",
		gateway: func(g *subject) error {
			m, err := g.buffered(map[string]any{"conform": strings.Repeat("x", 900_000)})
			if err != nil {
				return err
			}
			return g.acked(m.buffer)
		},
	},
	{
		ID: "gateway-several", Suite: Core, Section: 4, Level: Must,
		Sentence: "it says one hello for each platform that it fronts, in the order in which they are configured",
		Quote:    "Send one `hello` per fronted identity, in configured order",
		needs:    needs{fronts: 2},
		gateway:  checkGatewaySeveral,
	},
	{
		ID: "gateway-bot", Suite: Core, Section: 5, Level: Must,
		Sentence: "the bot id of a frame is the one of its hello for that platform, or is left out",
		Quote:    "it is never another platform's id",
		gateway:  checkGatewayBot,
	},
	{
		ID: "gateway-requests", Suite: Core, Section: 5, Level: Must,
		Sentence: "no two of its frames have the same requestId",
		Quote:    "ids that are unknown or already answered are ignored",
		gateway: func(g *subject) error {
			for range 2 {
				if _, _, err := g.exchange(); err != nil {
					return err
				}
			}
			for _, out := range g.c.State().Outbounds {
				if out.Repeated {
					return fmt.Errorf("%s came again", out.RequestID)
				}
			}
			return nil
		},
	},
	{
		ID: "gateway-cut", Suite: Core, Section: 3, Level: Must,
		Sentence: "a frame that comes in two messages, the first of which also has a blank line and another frame, is taken",
		Quote:    "So one message may hold several frames, and one frame may come in several messages.",
		gateway: func(g *subject) error {
			if err := g.ready(); err != nil {
				return err
			}
			g.c.Chop(1)
			defer g.c.Chop(0)
			_, _, err := g.exchange()
			return err
		},
	},
	{
		ID: "gateway-sparse", Suite: Core, Section: 6, Level: Must,
		Sentence: "an event whose source has nothing but null beside platform, chat and author is answered",
		Quote:    "\"always\" means that the connector always sends it, perhaps as null",
		gateway: func(g *subject) error {
			if err := g.ready(); err != nil {
				return err
			}
			chat := g.newChat()
			m := g.writeIn(chat, map[string]any{"message_type": "conform_no_such_type", "source": map[string]any{
				"platform": g.cfg.Platforms[0], "chat_id": chat, "chat_type": "dm", "chat_name": nil, "user_id": author, "user_name": nil,
				"thread_id": nil, "chat_topic": nil,
			}})
			_, err := g.answer(m)
			return err
		},
	},
	{
		ID: "gateway-descriptor", Suite: Core, Section: 7, Level: Must,
		Sentence: "after a close 1001 it dials again, and goes on with a descriptor whose optional fields are missing, and which has unknown ones",
		Quote:    "Unknown keys are ignored.",
		gateway:  checkGatewayDescriptor,
	},
	{
		ID: "gateway-ops", Suite: Core, Section: 7, Level: Must,
		Sentence: "it sends no op that its descriptor does not offer",
		Quote:    "A list that is not empty is the whole truth",
		gateway:  checkGatewayOps,
	},
	{
		ID: "gateway-split", Suite: Core, Section: 11, Level: Should,
		Sentence: "an answer that is longer than the descriptor allows comes in parts that are not",
		Quote:    "a gateway that splits by limit and unit is safe with both",
		gateway:  checkGatewaySplit,
	},
}

func checkGatewayHello(g *subject) error {
	state := g.c.State()
	first := map[int]string{}
	for _, o := range state.Observations {
		kind := o.What
		if slices.Contains([]string{devconnector.ObsHello, devconnector.ObsOutbound, devconnector.ObsInboundAck, devconnector.ObsGoingIdle,
			devconnector.ObsInterrupt, devconnector.ObsBreach}, kind) && first[o.Socket] == "" {
			first[o.Socket] = kind
		}
	}
	for socket, kind := range first {
		if kind != devconnector.ObsHello {
			return fmt.Errorf("socket %d began with %s", socket, kind)
		}
	}
	if !slices.ContainsFunc(state.Hellos, func(h devconnector.Hello) bool { return h.Platform == g.cfg.Platforms[0] }) {
		return fmt.Errorf("no hello for %s", g.cfg.Platforms[0])
	}
	return nil
}

func checkGatewayRouting(g *subject) error {
	_, out, err := g.exchange()
	if err != nil {
		return err
	}
	if out.Metadata["scope_id"] != "conform-scope" || out.Metadata["user_id"] != author {
		return fmt.Errorf("scope_id %v, user_id %v", out.Metadata["scope_id"], out.Metadata["user_id"])
	}
	return nil
}

func checkGatewayReplyTo(g *subject) error {
	m, out, err := g.exchange()
	if err == nil && out.Action["reply_to"] != m.id {
		err = fmt.Errorf("reply_to %v", out.Action["reply_to"])
	}
	return err
}

func checkGatewaySeveral(g *subject) error {
	if _, _, err := g.exchange(); err != nil {
		return err
	}
	said := map[int][]string{}
	for _, hello := range g.c.State().Hellos {
		said[hello.Socket] = append(said[hello.Socket], hello.Platform)
	}
	for socket, platforms := range said {
		if !slices.Equal(platforms, g.cfg.Platforms) {
			return fmt.Errorf("socket %d said hello for %s", socket, strings.Join(platforms, ", "))
		}
	}
	return nil
}

func checkGatewayBot(g *subject) error {
	if _, _, err := g.exchange(); err != nil {
		return err
	}
	state := g.c.State()
	bots := map[string]string{}
	for _, hello := range state.Hellos {
		bots[hello.Platform] = hello.BotID
	}
	for _, out := range state.Outbounds {
		if bot, said := bots[out.Platform]; out.BotID != "" && (!said || out.BotID != bot) {
			return fmt.Errorf("a frame for %q has the bot id %q; its hello had %q", out.Platform, out.BotID, bot)
		}
	}
	return nil
}

func checkGatewayDescriptor(g *subject) error {
	if err := g.ready(); err != nil {
		return err
	}
	before := g.c.Behaviour().Descriptor
	odd := map[string]any{"emoji": nil, "platform_hint": nil, "conform": map[string]any{"a": []any{1, nil}}}
	maps.Copy(odd, before)
	g.c.Describe(odd)
	defer g.c.Describe(before)
	if g.c.State().Instance(g.cfg.Gateway).Connected {
		if err := g.c.Kick(g.cfg.Gateway, 1001, "going away"); err != nil {
			return err
		}
	}
	_, _, err := g.exchange()
	return err
}

func checkGatewayOps(g *subject) error {
	if _, _, err := g.exchange(); err != nil {
		return err
	}
	for _, out := range g.c.State().Outbounds {
		if strings.HasPrefix(out.Result.Error, "unsupported op") && out.Op != "" {
			return fmt.Errorf("%s is not offered", out.Op)
		}
	}
	return nil
}

// units is how long a text is, as a descriptor counts.
func units(text string, unit any) int {
	if unit == "utf16" {
		return len(utf16.Encode([]rune(text)))
	}
	return len([]rune(text))
}

func checkGatewaySplit(g *subject) error {
	if err := g.ready(); err != nil {
		return err
	}
	d := g.c.Descriptor(g.cfg.Platforms[0])
	limit, _ := d["max_message_length"].(int)
	text := strings.TrimSpace(strings.Repeat("conform ", limit/8+100))
	m := g.write(map[string]any{"text": text})
	length, longest := 0, 0
	whole := g.until(g.cfg.Redial, func(s devconnector.State) bool {
		length, longest = 0, 0
		for _, out := range sends(s, m) {
			length += units(out.Content, d["len_unit"])
			longest = max(longest, units(out.Content, d["len_unit"]))
		}
		return length >= len(text)*9/10
	})
	switch {
	case longest > limit:
		return fmt.Errorf("a part has %d of at most %d", longest, limit)
	case !whole && length > 0:
		return &skipped{"its answers do not have the text that they answer, as an echo's do"}
	case !whole:
		return fmt.Errorf("no send within %v", g.cfg.Redial)
	}
	return nil
}
