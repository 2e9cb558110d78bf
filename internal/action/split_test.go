package action

import (
	"fmt"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func numbered(word string, n int) string {
	var words []string
	for i := range n {
		words = append(words, fmt.Sprint(word, i))
	}
	return strings.Join(words, " ")
}

// words are those of all parts, without counters and fences.
func words(parts []Outgoing) (list []string) {
	for _, p := range parts {
		text := p.text("content")
		for n := range parts {
			for k := range parts {
				text = strings.TrimSuffix(text, fmt.Sprintf(" (%d/%d)", k+1, n+1))
			}
		}
		for _, word := range strings.Fields(text) {
			if !strings.HasPrefix(word, "```") {
				list = append(list, word)
			}
		}
	}
	return list
}

func TestACaptionThatIsTooLongIsSentAsText(t *testing.T) {
	long := numbered("w", 80)
	for name, tt := range map[string]struct{ caption, short string }{
		"one paragraph":      {long, ""},
		"a title":            {"The title\n" + long, "The title"},
		"a block of code":    {"```\n" + long + "\n```", ""},
		"a long first line":  {long + "\nend", ""},
		"blanks around":      {"\n\n Title \n\n" + long + "\n", "Title"},
		"a word of its size": {strings.Repeat("x", 150), ""},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			s := shaper()
			parts, err := s.Shape(0, relay.Action{
				"op": "send_media", "media_kind": "image", "source_url": "https://x.example/a.png", "content": tt.caption,
				"reply_to": "m7", "chat_id": "s1",
			})
			is.NoErr(err)
			is.Equal(parts[0].Op(), "send_media")
			is.Equal(parts[0].text("content"), tt.short)
			is.Equal(parts[0].Action["reply_to"], "m7")
			for _, p := range parts[1:] {
				is.Equal(p.Op(), "send")
				is.Equal(p.Platform, "slack")
				is.Equal(p.Chat(), "s1")
				is.Equal(p.Action["reply_to"], nil)
				is.Equal(p.Action["metadata"], parts[0].Action["metadata"])
				is.True(s.Descriptor.Len(p.text("content")) <= 100)
			}
			if name != "a word of its size" {
				is.Equal(words(parts), words([]Outgoing{{Action: relay.Action{"content": tt.caption}}}))
			}
		})
	}
}

func TestAQuestionThatIsTooLongIsSentAheadOfItsButtons(t *testing.T) {
	long := numbered("w", 80)
	for name, tt := range map[string]struct{ content, last string }{
		"a last line":       {long + "\nDeploy it?", "Deploy it?"},
		"a last sentence":   {long + ". Deploy it?", "Deploy it?"},
		"one sentence":      {long, numbered("w", 80)[len(long)-99:]},
		"a block of code":   {"Run this?\n```\n" + long + "\n```", ""},
		"one word":          {strings.Repeat("x", 250), ""},
		"a long last line":  {"Deploy?\n" + long, numbered("w", 80)[len(long)-99:]},
		"nothing but lines": {strings.Repeat("line\n", 50), "line"},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			s := shaper()
			parts, err := s.Shape(0, relay.Action{
				"op": "prompt", "prompt_kind": "choice", "content": tt.content, "reply_to": "m7", "ref": "r",
				"options": []map[string]string{{"id": "a", "label": "A"}},
			})
			is.NoErr(err)
			n := len(parts)
			is.True(n > 1)
			is.Equal(parts[n-1].Op(), "prompt")
			is.Equal(parts[n-1].Ref, "r")
			is.Equal(parts[0].Action["reply_to"], "m7")
			for i, p := range parts {
				is.True(strings.TrimSpace(p.text("content")) != "")
				is.True(s.Descriptor.Len(p.text("content")) <= 100)
				if i > 0 {
					is.Equal(p.Action["reply_to"], nil)
				}
			}
			if tt.last != "" {
				is.Equal(parts[n-1].text("content"), strings.TrimSpace(tt.last))
			}
			if name != "one word" {
				is.Equal(words(parts), words([]Outgoing{{Action: relay.Action{"content": tt.content}}}))
			}
		})
	}
}

func TestThirtyPartsOfATextAreSent(t *testing.T) {
	for name, text := range map[string]string{
		"words": numbered("w", 3000),
		"code":  "```go\n" + numbered("line\n", 3000) + "\n```",
		"emoji": strings.Repeat("🎩", 3000),
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			s := shaper()
			parts, err := s.Shape(0, relay.Action{"op": "send", "content": text})
			is.NoErr(err)
			is.Equal(len(parts), 30)
			var left int
			last := parts[29].text("content")
			at := strings.LastIndex(last, "\n") + 1
			_, err = fmt.Sscanf(last[at:], "[%d more characters are left out]", &left)
			is.NoErr(err)
			kept := 0
			for _, p := range parts {
				is.True(s.Descriptor.Len(p.text("content")) <= 100)
				is.Equal(strings.Count(p.text("content"), "```")%2, 0)
				kept += s.Descriptor.Len(p.text("content"))
			}
			total := s.Descriptor.Len(text)
			is.True(left > total-kept-60 && left < total-kept+30*20) // but for counters, fences and blanks at cuts
		})
	}
}
