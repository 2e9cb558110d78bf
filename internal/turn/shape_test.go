package turn

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestAFileHas25MebibytesAtMost(t *testing.T) {
	is := is.New(t)
	file := base64.StdEncoding.EncodeToString(make([]byte, 25<<20+1))
	err := inline(relay.Action{"data": file, "mime": "image/png"})
	is.True(err != nil)
	is.Equal(err.Error(), "data: has 26214401 bytes, a file may have 26214400")
	is.NoErr(inline(relay.Action{"data": file[4:], "mime": "image/png"}))
}

// describe offers everything.
func describe(platform string) relay.Descriptor {
	return relay.Descriptor{
		Platform: platform, MaxMessageLength: 100, LenUnit: "utf16", MarkdownDialect: "discord",
		SupportedOps: []string{"send", "edit", "typing", "follow_up", "get_chat_info", "send_media", "prompt", "react",
			"thread_create", "thread_rename", "delete"},
	}
}

func FuzzActions(f *testing.F) { // whatever an agent says is on its way, in bounds, or an error that names a field
	f.Add([]byte(`{"op":"send","content":"` + strings.Repeat("word ```go ", 20) + `","metadata":{"_x":1,"y":[]}}`))
	f.Add([]byte(`{"op":"edit","content":"` + strings.Repeat("x", 200) + `","message_id":null}`))
	f.Add([]byte(`{"op":"prompt","content":"?","prompt_kind":"choice","options":[{"id":"a","label":"A"},null],"timeout_s":1e99}`))
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
		source := relay.Source{Platform: "discord", ChatID: "c1", ThreadID: "t1", UserID: "u1", ScopeID: "g1"}
		known := routes{chats: map[string]relay.Source{"s1": {Platform: "slack", ChatID: "s1", ScopeID: "w1"}}}
		s := shaper{
			event: &relay.Event{MessageID: "m1", Source: source}, session: "s", marker: marker("i"),
			source: known.note(source), descriptor: describe(source.Platform), find: known.find, describe: describe,
		}
		parts, err := s.one(3, a)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "agent: actions[3].") || len(parts) > 0 {
				t.Fatalf("%v beside %v", err, parts)
			}
			return
		}
		for _, p := range parts {
			content, _ := p["content"].(string)
			if p.Op() != "typing" && s.descriptor.Len(content) > 100 {
				t.Fatalf("%d units of %d", s.descriptor.Len(content), 100)
			}
			if _, err := json.Marshal(p); err != nil {
				t.Fatal(err)
			}
			tag(source, p)
		}
	})
}
