package say_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/say"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestASayIsRead(t *testing.T) {
	hello := []relay.Action{{"op": "send", "content": "hello"}}
	tests := map[string]struct {
		raw  string
		want say.Say
	}{
		"actions": {
			`{"reason":"say","key":"k-1","chat":{"platform":"discord","chat_id":"1100"},"actions":[{"op":"send","content":"hello"}]}`,
			say.Say{Key: "k-1", Chat: say.Chat{Platform: "discord", ChatID: "1100"}, Actions: hello},
		},
		"a text": {
			`{"reason":"say","key":"k-1","chat":{"platform":"Telegram","chat_id":"7","thread_id":"8","chat_type":"group"},"text":"hello"}`,
			say.Say{Key: "k-1", Chat: say.Chat{Platform: "telegram", ChatID: "7", ThreadID: "8", ChatType: "group"}, Actions: hello},
		},
		"ids as numbers": {
			`{"reason":"say","key":"k","chat":{"platform":"telegram","chat_id":-100123456789012345},"actions":[{"op":"delete","message_id":12345678901234567890}]}`,
			say.Say{Key: "k", Chat: say.Chat{Platform: "telegram", ChatID: "-100123456789012345"},
				Actions: []relay.Action{{"op": "delete", "message_id": "12345678901234567890"}}},
		},
		"a question": {
			`{"reason":"say","key":"k","chat":{"platform":"slack","chat_id":"C1","scope_id":"T1"},"ask":{"text":"What is due?","user_id":"U1"}}`,
			say.Say{Key: "k", Chat: say.Chat{Platform: "slack", ChatID: "C1", ScopeID: "T1"}, Ask: &say.Ask{Text: "What is due?", UserID: "U1"}},
		},
		"a whole late answer": {
			`{"reason":"say","reply_to_delivery":"d1","text":"hello"}`,
			say.Say{Key: "d1/1", ReplyTo: "d1", N: 1, Last: true, Actions: hello},
		},
		"a part of one": {
			`{"reason":"say","reply_to_delivery":"d1","n":2,"key":"d1/2","text":"hello"}`,
			say.Say{Key: "d1/2", ReplyTo: "d1", N: 2, Actions: hello},
		},
		"the last part": {
			`{"reason":"say","reply_to_delivery":"d1","n":3,"last":true,"text":"hello"}`,
			say.Say{Key: "d1/3", ReplyTo: "d1", N: 3, Last: true, Actions: hello},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			got, err := say.Parse([]byte(tt.raw))
			is.NoErr(err)
			is.Equal(got, tt.want)
		})
	}
}

func TestWhatIsWrongWithASayIsNamed(t *testing.T) {
	chat := `"chat":{"platform":"discord","chat_id":"1"}`
	tests := map[string]struct{ raw, want string }{
		"no JSON":            {`hello`, "no JSON"},
		"a list":             {`[]`, "want a JSON object"},
		"another reason":     {`{"reason":"shout","key":"k",` + chat + `,"text":"t"}`, "reason: want"},
		"no key":             {`{"reason":"say",` + chat + `,"text":"t"}`, "key: want"},
		"a number as key":    {`{"reason":"say","key":7,` + chat + `,"text":"t"}`, "key: is of the wrong kind"},
		"a long key":         {`{"reason":"say","key":"` + strings.Repeat("k", 257) + `",` + chat + `,"text":"t"}`, "key: 257 bytes"},
		"a key of two lines": {`{"reason":"say","key":"a\nb",` + chat + `,"text":"t"}`, "key: want printable"},
		"no chat":            {`{"reason":"say","key":"k","text":"t"}`, "chat.platform: want"},
		"no chat's id":       {`{"reason":"say","key":"k","chat":{"platform":"discord"},"text":"t"}`, "chat.chat_id: want"},
		"a blank chat's id":  {`{"reason":"say","key":"k","chat":{"platform":"discord","chat_id":" "},"text":"t"}`, "chat.chat_id: want"},
		"a blank key":        {`{"reason":"say","key":" ","chat":{"platform":"discord","chat_id":"1"},"text":"t"}`, "key: want"},
		"an unknown platform": {
			`{"reason":"say","key":"k","chat":{"platform":"myspace","chat_id":"1"},"text":"t"}`, `chat.platform: "myspace" is no platform`},
		"a member of a chat that is none": {
			`{"reason":"say","key":"k","chat":{"platform":"discord","chat_id":"1","treadid":"2"},"text":"t"}`, "chat.treadid: there is no such member"},
		"a member that is none": {`{"reason":"say","key":"k",` + chat + `,"txt":"t"}`, "txt: there is no such member"},
		"nothing to say":        {`{"reason":"say","key":"k",` + chat + `}`, "actions, text, ask: want one"},
		"two things to say":     {`{"reason":"say","key":"k",` + chat + `,"text":"t","ask":{"text":"t"}}`, "actions, text, ask: want one"},
		"a blank text":          {`{"reason":"say","key":"k",` + chat + `,"text":" "}`, "text: is blank"},
		"no actions":            {`{"reason":"say","key":"k",` + chat + `,"actions":[]}`, "actions: want at least one"},
		"an action without op":  {`{"reason":"say","key":"k",` + chat + `,"actions":[{"op":"send"},{"content":"t"}]}`, "actions[1].op: want"},
		"a question without text": {
			`{"reason":"say","key":"k",` + chat + `,"ask":{"user_id":"1"}}`, "ask.text: want"},
		"a part of nothing":  {`{"reason":"say","key":"k",` + chat + `,"text":"t","n":2}`, "n, last: are for reply_to_delivery"},
		"a late one's chat":  {`{"reason":"say","reply_to_delivery":"d",` + chat + `,"text":"t"}`, "chat: is where"},
		"a late question":    {`{"reason":"say","reply_to_delivery":"d","ask":{"text":"t"}}`, "ask: no question"},
		"a late one's key":   {`{"reason":"say","reply_to_delivery":"d","key":"k","text":"t"}`, "key: of a late answer"},
		"a part number zero": {`{"reason":"say","reply_to_delivery":"d","n":0,"text":"t"}`, "n: want a part's number"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := say.Parse([]byte(tt.raw))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) { // it never panics, quotes no text, and what is right can be said
	f.Add([]byte(`{"reason":"say","key":"k","chat":{"platform":"discord","chat_id":1},"actions":[{"op":"send","content":"a"}]}`))
	f.Add([]byte(`{"reason":"say","reply_to_delivery":"d","n":2,"last":true,"text":"secret-text"}`))
	f.Add([]byte(`{"reason":"say","key":"k","chat":{"platform":"slack","chat_id":"C"},"ask":{"text":"\ud800","user_id":"u"}}`))
	f.Add([]byte(`{"reason":"say","key":"k","chat":null,"actions":[null,5],"text":{"secret-text":1}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		is := is.New(t)
		s, err := say.Parse(raw)
		if err != nil {
			return
		}
		is.True(s.Key != "" && len(s.Key) <= 270)
		is.True((len(s.Actions) > 0) != (s.Ask != nil))
		is.True((s.ReplyTo == "") == (s.N == 0))
		if s.ReplyTo == "" {
			is.True(relay.KnownPlatform(s.Chat.Platform) && s.Chat.ChatID != "")
		}
		for _, a := range s.Actions {
			is.True(a.Op() != "")
			_, err := json.Marshal(a)
			is.NoErr(err)
		}
	})
}
