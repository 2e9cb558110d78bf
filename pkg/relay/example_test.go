package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// dialExample dials the examples' connector.
func dialExample(url string) *relay.Conn {
	conn, err := relay.Dial(context.Background(), relay.Config{URL: url, Fronts: []relay.Front{{Platform: "discord", BotID: "42"}}})
	if err != nil {
		panic(err)
	}
	return conn
}

// KindOf says what a failed dial, or the end of a socket, means.
func ExampleDial() {
	url, stop := startConnector()
	defer stop()
	_, err := relay.Dial(context.Background(), relay.Config{
		URL:    url,
		Token:  relay.NewSecret("wrong"),
		Fronts: []relay.Front{{Platform: "discord"}},
	})
	fmt.Println(err)
	kind, _ := relay.KindOf(err)
	fmt.Println(kind, kind == relay.CloseRefused)

	_, err = relay.Dial(context.Background(), relay.Config{URL: "https://connector.example/relay"})
	fmt.Println(err)
	// Output:
	// relay: connector answered the upgrade with HTTP status 401
	// refused true
	// relay: URL has scheme "https"; want ws or wss
	// relay: no Fronts; want at least one
}

// A refusal is an error that says why; everything else that Do returns says whether the action may be sent again.
func ExampleConn_Do() {
	ctx := context.Background()
	url, stop := startConnector()
	defer stop()
	conn := dialExample(url)
	defer conn.Close(ctx)
	for _, chat := range []string{"7", "closed"} {
		result, err := conn.Do(ctx, relay.Outbound{
			Platform: "discord",
			Action:   relay.Action{"op": "send", "chat_id": chat, "content": "hi"},
		})
		var refused *relay.OpError
		switch {
		case err == nil:
			fmt.Println("sent as message", result.MessageID)
		case result.Declined():
			fmt.Println("send nothing to this chat:", err)
		case errors.As(err, &refused):
			fmt.Println("try something else:", err)
		case errors.Is(err, relay.ErrOutcomeUnknown):
			fmt.Println("it may have arrived:", err)
		default:
			fmt.Println("not sent, try it on the next socket:", err)
		}
	}
	// Output:
	// sent as message 900
	// send nothing to this chat: relay: connector refused the action: "egress_declined": "egress declined: not your chat"
}

// Nothing answers an interrupt.
func ExampleConn_Interrupt() {
	url, stop := startConnector()
	conn := dialExample(url)
	fmt.Println(conn.Interrupt("agent:main:discord:dm:7", "the user said /stop"))
	conn.Close(context.Background())
	fmt.Println(stop()[1])
	// Output:
	// <nil>
	// {"type":"interrupt","session_key":"agent:main:discord:dm:7","reason":"the user said /stop"}
}

// A connector may say anything. What cannot be used is counted; if it was buffered, it is handed out to be acked.
func ExampleConn_Stats() {
	url, stop := startConnector(`{"type":"news"}`, `{"type":"inbound","bufferId":"b-1"}`)
	defer stop()
	conn := dialExample(url)
	defer conn.Close(context.Background())
	d, _ := conn.Receive(context.Background())
	fmt.Println(d.Kind == relay.KindUnusable, d.BufferID, d.Fault)
	fmt.Printf("%+v\n", conn.Stats())
	// Output:
	// true b-1 unusable event
	// {Frames:3 Malformed:1 UnknownTypes:1 Unclaimed:0 Dropped:0 Lost:0}
}

func ExampleBaseURL() {
	u := relay.NewBaseURL(" https://connector.example/base/ ")
	fmt.Println(u.RelayURL())
	fmt.Println(u.Provision())
	fmt.Println(u.Media())
	// Output:
	// wss://connector.example/base/relay
	// https://connector.example/base/relay/provision
	// https://connector.example/base/relay/media
}

func ExampleUpgradeToken() {
	now := time.Unix(1700000000, 0)
	token := relay.UpgradeToken("gw-host1", relay.NewSecret("s3cret"), now, 5*time.Minute)
	fmt.Println(token)
	fmt.Println(token.Reveal())
	// Output:
	// [redacted]
	// Z3ctaG9zdDE6MTcwMDAwMDMwMDo0OGMzODlmMzQxMzYyYWZmODQ2YjY2ZGY5OGNjMzY4NmU5N2Y3YzMzYmRmNzI3N2E0N2FhZmFiNWQyMTdiYzRl
}

// A Secret can be logged, printed and marshalled: it does not show.
func ExampleSecret() {
	s := relay.NewSecret("s3cret")
	raw, _ := json.Marshal(map[string]relay.Secret{"secret": s})
	fmt.Println(s, string(raw), s.Reveal())
	fmt.Println(s == relay.NewSecret("s3cret"), relay.NewSecret(" ").Usable())
	// Output:
	// [redacted] {"secret":"[redacted]"} s3cret
	// true false
}

func ExampleDecodeEvent() {
	e, err := relay.DecodeEvent([]byte(`{
		"text": "what is this?",
		"message_type": "image",
		"media_urls": ["https://cdn.example/a.png"],
		"media": [{"url": "https://cdn.example/a.png", "mime": "image/png"}],
		"context": [{"text": "look at this\ncat", "source": {"user_name": "Ada"}}],
		"source": {"platform": "Discord", "chat_id": 7, "user_display_name": "Grace"}
	}`))
	if err != nil {
		panic(err)
	}
	fmt.Println(e.MessageType, e.MediaTypes())
	fmt.Println(e.ContextText())
	fmt.Println(e.Source.Platform, e.Source.ChatID, e.Source.ChatType, e.Source.UserName)
	fmt.Println(e.SessionKey())
	// Output:
	// text [image/png]
	// [Recent channel messages]
	// Ada: look at this cat
	// discord 7 dm Grace
	// agent:main:discord:dm:7
}

// Events with equal keys belong to one conversation.
func ExampleSessionKey() {
	src := relay.Source{Platform: "telegram", ChatType: "group", ChatID: "-100", UserID: "3"}
	fmt.Println(relay.SessionKey(src, relay.SessionOptions{}))
	fmt.Println(relay.SessionKey(src, relay.SessionOptions{SharedGroups: true}))
	fmt.Println(relay.KeyProfile(relay.SessionKey(src, relay.SessionOptions{Profile: "work"})))
	// Output:
	// agent:main:telegram:group:-100:3
	// agent:main:telegram:group:-100
	// work
}

// What a reply needs to find its way.
func ExampleSource_Routing() {
	src := relay.Source{Platform: "slack", ChatID: "C1", UserID: "U1", ScopeID: "T1"}
	platform, metadata := src.Routing()
	fmt.Println(platform, metadata)
	// Output: slack map[scope_id:T1 user_id:U1]
}

// What is worth keeping of a delivery, as JSON.
func ExampleDelivery() {
	e, _ := relay.DecodeEvent([]byte(`{"text":"hi","source":{"chat_id":"7"}}`))
	d := relay.Delivery{Kind: relay.KindInbound, Event: e, BufferID: "b-1", ReceivedAt: time.Unix(1700000000, 0).UTC()}
	raw, _ := json.Marshal(d)
	var back relay.Delivery
	err := json.Unmarshal(raw, &back)
	fmt.Println(back.Event.Text, back.BufferID, back.ReceivedAt, err)
	// Output: hi b-1 2023-11-14 22:13:20 +0000 UTC <nil>
}

// The limit and the unit are the platform's own.
func ExampleDescriptor_Split() {
	d := relay.Descriptor{MaxMessageLength: 40, LenUnit: relay.UnitUTF16}
	for _, part := range d.Split("The quick brown fox jumps over the lazy dog and runs away.") {
		fmt.Printf("%q %d\n", part, d.Len(part))
	}
	// Output:
	// "The quick brown fox jumps (1/3)" 31
	// "over the lazy dog and (2/3)" 27
	// "runs away. (3/3)" 16
}

// A list of ops is authoritative; without one the legacy ops are taken.
func ExampleDescriptor_Supports() {
	var named, legacy relay.Descriptor
	json.Unmarshal([]byte(`{"platform":"discord","supported_ops":["send"],"markdown_dialect":"markdown"}`), &named)
	json.Unmarshal([]byte(`{}`), &legacy)
	fmt.Println(named.Supports("send"), named.Supports("edit"), named.CodeBlocks())
	fmt.Println(legacy.Supports("send"), legacy.Supports("edit"), legacy.CodeBlocks(), legacy.MaxMessageLength)
	// Output:
	// true false true
	// true true false 4096
}

// A slash command on Discord comes as a raw request.
func ExampleForward_Interaction() {
	f := relay.Forward{Platform: "discord", Body: []byte(`{"id":"99","type":2,"channel_id":"7",
		"user":{"id":"3","username":"ada"},
		"data":{"name":"remind","options":[{"name":"when","type":3,"value":"tomorrow"}]}}`)}
	e, err := f.Interaction()
	if err != nil {
		panic(err)
	}
	fmt.Println(e.MessageType, e.Text, e.Source.UserName)
	// Output: command /remind tomorrow ada
}

func ExampleParsePromptToken() {
	fmt.Println(relay.PromptToken{PromptID: "p1", OptionID: "yes"})
	token, ok := relay.ParsePromptToken("hp1:p1:yes")
	fmt.Println(token.PromptID, token.OptionID, ok)
	_, ok = relay.ParsePromptToken("some other button")
	fmt.Println(ok)
	// Output:
	// hp1:p1:yes
	// p1 yes true
	// false
}

// Frames may be cut in any way.
func ExampleDecoder() {
	var d relay.Decoder
	for _, chunk := range []string{`{"type":"inbo`, `und","bufferId":"b-1","event":{"text":"hi"}}` + "\nnonsense\n"} {
		for _, f := range d.Feed([]byte(chunk)) {
			switch {
			case f.Fault != "":
				fmt.Println("skip it:", f.Fault)
			case f.Type == relay.TypeInbound:
				fmt.Println(f.BufferID, f.Event.Text)
			}
		}
	}
	// Output:
	// b-1 hi
	// skip it: broken JSON
}

// The end of a socket says what to do next.
func ExampleCloseError_Kind() {
	for _, end := range []relay.CloseError{{Code: 4401, Reason: "expired"}, {Code: 4403, Reason: "revoked"}, {Code: 1001}, {Code: 1006}} {
		fmt.Println(end.Code, end.Kind())
	}
	// Output:
	// 4401 expired
	// 4403 refused
	// 1001 going away
	// 1006 broken
}

// Action is a map, so an op of a later version needs nothing new here.
func ExampleAction() {
	a := relay.Action{"op": "react", "chat_id": "7", "message_id": "1", "emoji": "👀"}
	raw, _ := json.Marshal(a)
	fmt.Println(a.Op(), strings.Contains(string(raw), `"emoji":"👀"`))
	// Output: react true
}
