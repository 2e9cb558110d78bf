package relay_test

import (
	"encoding/json"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestSessionKey(t *testing.T) {
	type key struct {
		Note    string
		Source  json.RawMessage
		Options struct {
			GroupSessionsPerUser  *bool `json:"group_sessions_per_user"`
			ThreadSessionsPerUser bool  `json:"thread_sessions_per_user"`
			Profile               string
		}
		Key loose
	}
	differences := map[string]string{
		"an identifier with a character outside the JID alphabet makes the reference raise; " +
			"an implementation should not": "we key on it as it is",
		"quirk: numeric zero counts as absent": "an id of 0 is an id",
		"explicit null chat_type is not a dm; the reference prints its null literal in the slot (quirk)": "our slot is " +
			"empty, as for an empty chat_type",
	}
	note := func(c key) string { return c.Note }
	eachVector(t, vectors[key](t, "session_keys"), note, differences, func(c key) string {
		var src relay.Source
		if err := json.Unmarshal(c.Source, &src); err != nil {
			return err.Error()
		}
		got := relay.SessionKey(src, relay.SessionOptions{
			SharedGroups:          c.Options.GroupSessionsPerUser != nil && !*c.Options.GroupSessionsPerUser,
			ThreadSessionsPerUser: c.Options.ThreadSessionsPerUser,
			Profile:               c.Options.Profile,
		})
		return unlike("key", got, string(c.Key))
	})
}

func TestSessionKeyWhereTheReferenceIsOdd(t *testing.T) {
	tests := map[string]struct{ source, want string }{
		"not a JID": {`{"platform":"whatsapp","chat_id":"foo bar"}`, "agent:main:whatsapp:dm:foo bar"},
		"chat 0":    {`{"platform":"telegram","chat_id":0,"user_id":7}`, "agent:main:telegram:dm:0"},
		"null type": {`{"platform":"telegram","chat_id":"42","chat_type":null,"user_id":7}`, "agent:main:telegram::42:7"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			var src relay.Source
			is.NoErr(json.Unmarshal([]byte(tt.source), &src))
			is.Equal(relay.SessionKey(src, relay.SessionOptions{}), tt.want)
		})
	}
}

func TestThreadedSourceStartsAThreadOnSlackOnly(t *testing.T) {
	tests := map[string]struct {
		event relay.Event
		want  string
	}{
		"top level":   {relay.Event{MessageID: "1.2", Source: relay.Source{Platform: "slack"}}, "1.2"},
		"source's id": {relay.Event{Source: relay.Source{Platform: "slack", MessageID: "1.3"}}, "1.3"},
		"in a thread": {relay.Event{MessageID: "1.2", Source: relay.Source{Platform: "slack", ThreadID: "1.1"}}, "1.1"},
		"elsewhere":   {relay.Event{MessageID: "m1", Source: relay.Source{Platform: "discord"}}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is.New(t).Equal(tt.event.ThreadedSource().ThreadID, tt.want)
		})
	}
}

func TestKeyProfileIsWhatTheKeyWasMadeFor(t *testing.T) {
	is := is.New(t)
	for given, want := range map[string]string{"": "", "default": "", "main": "main", "coder": "coder"} {
		key := relay.SessionKey(relay.Source{Platform: "discord", ChatID: "c1", ChatType: "dm"}, relay.SessionOptions{Profile: given})
		is.Equal(relay.KeyProfile(key), want)
	}
	is.Equal(relay.KeyProfile("a:b"), "")
	is.Equal(relay.KeyProfile("agent"), "")
}

func FuzzSessionKey(f *testing.F) { // it never fails, and an event's own key does not depend on its text
	for _, c := range vectors[struct{ Source json.RawMessage }](f, "session_keys") {
		f.Add([]byte(c.Source), "m1", "coder")
	}
	f.Fuzz(func(t *testing.T, source []byte, id, profile string) {
		var src relay.Source
		if json.Unmarshal(source, &src) != nil {
			t.Skip()
		}
		key := relay.SessionKey(src, relay.SessionOptions{})
		is := is.New(t)
		is.True(len(key) >= len("agent:main:"))
		is.Equal(relay.Event{Text: id, Source: src}.SessionKey(), key)
		relay.SessionKey(relay.Event{MessageID: id, Source: src}.ThreadedSource(), relay.SessionOptions{Profile: profile})
	})
}
