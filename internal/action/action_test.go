package action_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// These are entries of journals as every version so far has written them: a version before this one reads what this one
// writes, and the other way round.
func TestTheJournalHasActionsAsItAlwaysHad(t *testing.T) {
	metadata := map[string]any{"scope_id": "g1", "user_id": "u1"}
	tests := map[string]struct {
		journal string
		want    action.Outgoing
	}{
		"a send": {
			`{"chat_id":"c1","content":"a \u003cb\u003e \u0026 ü","metadata":{"scope_id":"g1","user_id":"u1"},"op":"send","reply_to":null}`,
			action.Outgoing{Action: relay.Action{
				"op": "send", "chat_id": "c1", "content": "a <b> & ü", "reply_to": nil, "metadata": metadata,
			}},
		},
		"a send to a chat of another platform": {
			`{"_platform":"sms","chat_id":"s1","content":"hi","metadata":{"user_id":"u7"},"op":"send","reply_to":null}`,
			action.Outgoing{Platform: "sms", Action: relay.Action{
				"op": "send", "chat_id": "s1", "content": "hi", "reply_to": nil, "metadata": map[string]any{"user_id": "u7"},
			}},
		},
		"a prompt": {
			`{"_platform":"sms","chat_id":"s1","content":"Sure?","metadata":{},"op":"prompt","options":[{"id":"a","label":"A"}],` +
				`"prompt_id":"abc123.0a1b2c3d","prompt_kind":"choice","ref":"1.4","reply_to":null,"timeout_s":7200}`,
			action.Outgoing{Platform: "sms", Ref: "1.4", Action: relay.Action{
				"op": "prompt", "chat_id": "s1", "content": "Sure?", "metadata": map[string]any{}, "prompt_id": "abc123.0a1b2c3d",
				"prompt_kind": "choice", "options": []any{map[string]any{"id": "a", "label": "A"}}, "reply_to": nil,
				"timeout_s": 7200.0,
			}},
		},
		"a further part of the message that action 0 has sent": {
			`{"chat_id":"c1","content":"b (2/2)","metadata":{},"op":"send","ref":"#0","reply_to":null}`,
			action.Outgoing{Of: "#0", Action: relay.Action{
				"op": "send", "chat_id": "c1", "content": "b (2/2)", "reply_to": nil, "metadata": map[string]any{},
			}},
		},
		"an edit of a message by its id": {
			`{"chat_id":"c1","content":"b","message_id":"m7","metadata":{},"op":"edit","ref":"=m7"}`,
			action.Outgoing{Of: "=m7", Action: relay.Action{
				"op": "edit", "chat_id": "c1", "message_id": "m7", "content": "b", "metadata": map[string]any{},
			}},
		},
		"an uploaded file": {
			`{"chat_id":"c1","content":"","filename":"a.png","media_kind":"image","metadata":{},"op":"send_media","reply_to":null,` +
				`"source_url":"https://connector.example/relay/media/f1"}`,
			action.Outgoing{Action: relay.Action{
				"op": "send_media", "chat_id": "c1", "media_kind": "image", "content": "", "filename": "a.png",
				"source_url": "https://connector.example/relay/media/f1", "reply_to": nil, "metadata": map[string]any{},
			}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			var got action.Outgoing
			is.NoErr(json.Unmarshal([]byte(tt.journal), &got))
			is.Equal(got, tt.want)
			raws, err := action.Encode([]action.Outgoing{tt.want})
			is.NoErr(err)
			is.Equal(string(raws[0]), tt.journal)
			raw, err := json.Marshal(tt.want)
			is.NoErr(err)
			is.Equal(string(raw), tt.journal)
		})
	}
}

func TestTheFrameNamesThePlatformOfItsChat(t *testing.T) {
	tests := map[string]struct {
		o    action.Outgoing
		turn string
		want string
	}{
		"the turn's chat":             {action.Outgoing{Action: relay.Action{"op": "send"}}, "discord", "discord"},
		"another chat":                {action.Outgoing{Platform: "sms", Action: relay.Action{"op": "send"}}, "discord", "sms"},
		"a platform that is unknown":  {action.Outgoing{Action: relay.Action{"op": "send"}}, "relay", ""},
		"a question about a chat":     {action.Outgoing{Action: relay.Action{"op": "get_chat_info"}}, "discord", ""},
		"a follow_up":                 {action.Outgoing{Action: relay.Action{"op": "follow_up", "kind": "discord.token"}}, "discord", "discord"},
		"another platform's followup": {action.Outgoing{Action: relay.Action{"op": "follow_up", "kind": "telegram.x"}}, "discord", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is.New(t).Equal(tt.o.FramePlatform(tt.turn), tt.want)
		})
	}
}

func FuzzJournal(f *testing.F) { // what can be read of an entry is written as something that reads the same
	f.Add([]byte(`{"_platform":"sms","chat_id":"s1","content":"hi","metadata":{"user_id":"u7"},"op":"send","reply_to":null}`))
	f.Add([]byte(`{"op":"prompt","prompt_id":"a.b","ref":"<r>","options":[{"id":"a"}],"timeout_s":1e300}`))
	f.Add([]byte(`{"op":"send","ref":7,"_platform":null}`))
	f.Add([]byte(`{"op":{},"chat_id":[],"_platform":"","ref":"","ref":"twice"}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`[{"op":"send"}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var first, second action.Outgoing
		if json.Unmarshal(raw, &first) != nil {
			return
		}
		again, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(again, &second); err != nil || !reflect.DeepEqual(first, second) {
			t.Fatalf("%#v comes back as %#v: %v", first, second, err)
		}
		first.Op()
		first.Chat()
		first.FramePlatform("discord")
	})
}
