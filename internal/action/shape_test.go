package action

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestAFileHas25MebibytesAtMost(t *testing.T) {
	is := is.New(t)
	file := base64.StdEncoding.EncodeToString(make([]byte, 25<<20+1))
	_, err := takeFile(relay.Action{"data": file, "mime": "image/png"})
	is.True(err != nil)
	is.Equal(err.Error(), "data: has 26214401 bytes, a file may have 26214400")
	_, err = takeFile(relay.Action{"data": file[4:], "mime": "image/png"})
	is.NoErr(err)
}

// describe offers everything.
func describe(platform string) relay.Descriptor {
	return relay.Descriptor{
		Platform: platform, MaxMessageLength: 100, LenUnit: "utf16", MarkdownDialect: "discord",
		SupportedOps: []string{"send", "edit", "typing", "follow_up", "get_chat_info", "send_media", "prompt", "react",
			"thread_create", "thread_rename", "delete"},
	}
}

// shaper is for a turn in a thread of Discord, from which a chat on Slack is known.
func shaper() Shaper {
	source := relay.Source{Platform: "discord", ChatID: "c1", ThreadID: "t1", UserID: "u1", ScopeID: "g1"}
	return Shaper{
		Event: &relay.Event{MessageID: "m1", Source: source}, Session: "s", Marker: "abc123",
		Source: source, Descriptor: describe(source.Platform), Describe: describe,
		Find: func(chat string) (relay.Source, bool) {
			return relay.Source{Platform: "slack", ChatID: "s1", ScopeID: "w1"}, chat == "s1"
		},
	}
}

func FuzzActions(f *testing.F) { // whatever an agent says is on its way, in bounds, or an error that names a field
	f.Add([]byte(`{"op":"send","content":"` + strings.Repeat("word ```go ", 20) + `","metadata":{"_x":1,"y":[]}}`))
	f.Add([]byte(`{"op":"edit","content":"` + strings.Repeat("x", 200) + `","message_id":null}`))
	f.Add([]byte(`{"op":"prompt","content":"?","prompt_kind":"choice","options":[{"id":"a","label":"A"},null],"timeout_s":1e99}`))
	f.Add([]byte(`{"op":"prompt","content":"?","prompt_kind":"choice","options":[{"id":"a","label":"A"}],"ref":"<r>","chat_id":"s1"}`))
	f.Add([]byte(`{"op":"send_media","media_kind":"image","source_url":"https://x.example","content":7}`))
	f.Add([]byte(`{"op":"send_media","media_kind":"document","data":"aGk=","mime":"text/plain; charset=x","filename":"a"}`))
	f.Add([]byte(`{"op":"thread_rename","thread_name":"  ","message_id":"t"}`))
	f.Add([]byte(`{"op":"react","emoji":"x","chat_id":"s1","_platform":7}`))
	f.Add([]byte(`{"op":"follow_up","content":"a","kind":"telegram.x","chat_id":{}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := agent.DecodeLine(line)
		if err != nil {
			return
		}
		s := shaper()
		parts, err := s.Shape(3, a)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "agent: actions[3].") || len(parts) > 0 {
				t.Fatalf("%v beside %v", err, parts)
			}
			return
		}
		for _, p := range parts {
			content, _ := p.Action["content"].(string)
			if p.Op() != "typing" && s.Descriptor.Len(content) > 100 {
				t.Fatalf("%d units of %d", s.Descriptor.Len(content), 100)
			}
			for _, name := range []string{"_platform", "ref"} {
				if _, has := p.Action[name]; has {
					t.Fatalf("%s would go on the wire", name)
				}
			}
			p.FramePlatform("discord")
			s.TextInstead(p, "")
			if p.File != nil {
				if _, has := p.Action["data"]; has {
					t.Fatal("a file would go on the wire")
				}
				p = p.Uploaded("https://x.example/f")
			}
			raw, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			var again Outgoing
			if err := json.Unmarshal(raw, &again); err != nil || !reflect.DeepEqual(again, p) {
				t.Fatalf("%v is %v when it comes out of the journal: %v", p, again, err)
			}
		}
	})
}

// An action that is texts alone takes a shorter way than one that has to be made JSON first. Both lead to the same.
func TestAnActionIsReadTheSameWhateverGoTypesItIsMadeOf(t *testing.T) {
	type text string // JSON is made of it first
	for name, tt := range map[string]struct{ plain, other any }{
		"a text":            {"hi", text("hi")},
		"broken UTF-8":      {"a\xffb", text("a\xffb")},
		"markup and quotes": {`<a> & "b"` + "\u2028\x00", text(`<a> & "b"` + "\u2028\x00")},
		"an object":         {map[string]any{"a": nil, "b": []any{true, "x"}}, map[string]any{"a": nil, "b": []any{true, text("x")}}},
		"nothing":           {[]any(nil), []text(nil)},
		"no object":         {map[string]any(nil), map[string]text(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			plain, err := generic(relay.Action{"op": "send", "x": tt.plain, "_id": tt.plain})
			is.NoErr(err)
			other, err := generic(relay.Action{"op": text("send"), "x": tt.other, "_id": tt.other})
			is.NoErr(err)
			is.Equal(plain, other)
		})
	}
	is := is.New(t)
	endless := map[string]any{}
	endless["x"] = endless
	_, err := generic(relay.Action{"op": "send", "metadata": endless})
	is.True(err != nil)
	given := map[string]any{"user_id": "u1"}
	copy, err := generic(relay.Action{"metadata": given})
	is.NoErr(err)
	copy["metadata"].(map[string]any)["user_id"] = "u2"
	is.Equal(given["user_id"], "u1") // the agent's own stays as it was
}

func TestAPromptKeepsItsRefToItself(t *testing.T) {
	is := is.New(t)
	parts, err := shaper().Shape(0, relay.Action{
		"op": "prompt", "content": "Sure?", "prompt_kind": "choice", "ref": "r1",
		"options": []map[string]string{{"id": "a", "label": "A"}},
	})
	is.NoErr(err)
	is.Equal(len(parts), 1)
	is.Equal(parts[0].Ref, "r1")
	is.True(strings.HasPrefix(parts[0].Action["prompt_id"].(string), "abc123."))
	_, has := parts[0].Action["ref"]
	is.True(!has)
}

func TestAFileLeavesItsAction(t *testing.T) {
	is := is.New(t)
	parts, err := shaper().Shape(0, relay.Action{
		"op": "send_media", "media_kind": "image", "data": "aGVsbG8=", "mime": "image/PNG", "filename": "a.png",
	})
	is.NoErr(err)
	is.Equal(parts[0].File, &File{Data: []byte("hello"), MIME: "image/png", Name: "a.png"})
	_, err = json.Marshal(parts[0])
	is.True(err != nil) // a file is uploaded before its action is kept
	done := parts[0].Uploaded("https://x.example/f")
	is.Equal(done.File, nil)
	is.Equal(done.Action, relay.Action{
		"op": "send_media", "chat_id": "c1", "media_kind": "image", "source_url": "https://x.example/f", "filename": "a.png",
		"content": "", "reply_to": nil, "metadata": map[string]any{"scope_id": "g1", "user_id": "u1", "thread_id": "t1"},
	})
}

func TestATextInsteadOfAFileGoesToTheSameChat(t *testing.T) {
	is := is.New(t)
	s := shaper()
	s.Find = func(string) (relay.Source, bool) { return relay.Source{}, false } // as after a restart
	o := Outgoing{Platform: "slack", Action: relay.Action{
		"op": "send_media", "chat_id": "s1", "media_kind": "image", "content": "look", "reply_to": "m7",
		"metadata": map[string]any{"scope_id": "w1"},
	}}
	is.Equal(s.TextInstead(o, "https://x.example/f"), []Outgoing{{Platform: "slack", Action: relay.Action{
		"op": "send", "chat_id": "s1", "content": "look\nhttps://x.example/f", "reply_to": "m7",
		"metadata": map[string]any{"scope_id": "w1"},
	}}})
	o.Action["content"] = ""
	is.Equal(s.TextInstead(o, "")[0].Action["content"], "[image could not be sent]")
}
