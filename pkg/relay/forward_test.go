package relay_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestForward(t *testing.T) {
	type forward struct {
		Note    string
		Forward json.RawMessage
		Decoded struct {
			Platform, Method, Path, Profile loose
			BotID                           loose `json:"bot_id"`
			Headers                         [][2]string
			BodyLength                      int `json:"body_length"`
		}
		Event *struct {
			Text           loose
			MessageType    loose `json:"message_type"`
			MessageID      loose `json:"message_id"`
			Source         fields
			PromptResponse fields `json:"prompt_response"`
			IsCommand      bool   `json:"is_command"`
			DedupeKey      loose  `json:"dedupe_key"`
			routing
		} // nil if it is dropped
	}
	differences := map[string]string{
		"ping (never forwarded in practice): empty text": "no quirk, but nobody has said anything",
		"modal submit: empty text in these lineages (one other lineage renders custom_id=value lines)": "no quirk, " +
			"but the lineages differ, and an agent that asked for input by a modal has no use for an empty text",
	}
	note := func(c forward) string { return c.Note }
	eachVector(t, vectors[forward](t, "passthrough"), note, differences, func(c forward) string {
		var f relay.Forward
		if err := json.Unmarshal(c.Forward, &f); err != nil {
			return err.Error()
		}
		fault := unlike("platform", loose(f.Platform), c.Decoded.Platform) +
			unlike("bot", loose(f.BotID), c.Decoded.BotID) +
			unlike("method", loose(f.Method), c.Decoded.Method) + unlike("path", loose(f.Path), c.Decoded.Path) +
			unlike("profile", loose(f.Profile), c.Decoded.Profile) + unlike("headers", f.Headers, c.Decoded.Headers) +
			unlike("body length", len(f.Body), c.Decoded.BodyLength)
		e, err := f.Interaction()
		if c.Event == nil || err != nil {
			return fault + unlike("dropped", err != nil, c.Event == nil)
		}
		got := normalize(e)
		if e.Metadata != nil { // the lines of the lineage that has them, and the pairs
			fault += unlike("modal", *e.Metadata, relay.Metadata{CustomID: "modal1", Fields: []relay.Field{{CustomID: "f", Value: "v"}}})
		}
		return fault + unlike("text", got.Text, c.Event.Text) + unlike("type", got.MessageType, c.Event.MessageType) +
			unlike("message id", got.MessageID, c.Event.MessageID) + unlike("source", got.Source, c.Event.Source) +
			unlike("prompt response", got.PromptResponse, c.Event.PromptResponse) +
			unlike("command", e.MessageType == "command", c.Event.IsCommand) + c.Event.routing.unlike(e)
	})
}

// interaction is a forward with that body.
func interaction(body string) relay.Forward {
	return relay.Forward{Platform: "discord", Body: []byte(body)}
}

func TestInteractionText(t *testing.T) {
	deep := strings.Repeat(`{"type":1,"name":"s","options":[`, 2000) + strings.Repeat(`]}`, 2000)
	tests := map[string]struct{ body, want string }{
		"modal": {
			`{"type":5,"data":{"custom_id":"modal1","components":[{"type":1,"components":[{"type":4,"custom_id":"f","value":"v"}]}]}}`,
			"f=v",
		},
		"modal with labels and choices": {
			`{"type":5,"data":{"components":[{"type":18,"component":{"custom_id":"a","value":"x=1"}},` +
				`{"type":18,"component":{"custom_id":"b","values":["1",2]}},{"custom_id":"c","value":""},7,{"component":8}]}}`,
			"a=x=1\nb=1,2\nc=",
		},
		"modal without fields": {`{"type":5,"data":{"custom_id":"m"}}`, ""},
		"data of another type": {`{"type":5,"data":[]}`, ""},
		"options of odd types": {
			`{"type":2,"data":{"name":"x","options":[7,{"value":[1]},{"value":true},{"value":null},{"type":1}]}}`, "/x True",
		},
		"name of slashes":        {`{"type":2,"data":{"name":"//"}}`, ""},
		"nested beyond all need": {`{"type":2,"data":{"name":"x","options":[` + deep + `]}}`, "/x" + strings.Repeat(" s", 9)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			e, err := interaction(tt.body).Interaction()
			is.NoErr(err)
			is.Equal(e.Text, tt.want)
		})
	}
}

func TestAModalsPairsOutliveItsLines(t *testing.T) { // a field of several lines looks like several fields in the text
	is := is.New(t)
	e, err := interaction(`{"type":5,"data":{"custom_id":"report","components":[` +
		`{"type":1,"components":[{"type":4,"custom_id":"what","value":"it broke\nwho=me"}]},` +
		`{"type":18,"component":{"type":3,"custom_id":"where","values":["a,b","c"]}},` +
		`{"type":18,"component":{"type":4,"custom_id":"who","value":""}}]}}`).Interaction()
	is.NoErr(err)
	is.Equal(e.Text, "what=it broke\nwho=me\nwhere=a,b,c\nwho=")
	want := &relay.Metadata{CustomID: "report", Fields: []relay.Field{
		{CustomID: "what", Value: "it broke\nwho=me"},
		{CustomID: "where", Value: "a,b,c", Values: []string{"a,b", "c"}},
		{CustomID: "who"},
	}}
	is.Equal(e.Metadata, want)
	wire, err := json.Marshal(e)
	is.NoErr(err)
	again, err := relay.DecodeEvent(wire) // as the journal keeps it
	is.NoErr(err)
	is.Equal(again, e)
}

func TestInteractionErrorsKeepTheBodyToThemselves(t *testing.T) {
	is := is.New(t)
	_, err := interaction(`"canary"`).Interaction()
	is.True(err != nil)
	is.True(!strings.Contains(err.Error(), "canary"))
	is.Equal(err.Error(), "relay: interaction of 8 bytes is not a JSON object; ack it and set it aside")
	_, err = relay.Forward{Platform: "twilio\n"}.Interaction()
	is.Equal(err.Error(), `relay: no handler for a forward from "twilio\n"; ack it and set it aside`)
}

func TestForwardBodyIsDecodedLeniently(t *testing.T) {
	tests := map[string]struct{ base64, want string }{
		"plain":              {"aGk=", "hi"},
		"over several lines": {"a\r\nGk\n=\n", "hi"},
		"after the padding":  {"aGk=aGk=", "hi"},
		"URL alphabet":       {"-_8=", ""},
		"two of padding":     {"aA==QUJD", "h"},
		"padding too early":  {"a=Gk=", "hi"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			raw, err := json.Marshal(map[string]string{"bodyB64": tt.base64})
			is.NoErr(err)
			var f relay.Forward
			is.NoErr(f.UnmarshalJSON(raw))
			is.Equal(string(f.Body), tt.want)
		})
	}
	is.New(t).True(new(relay.Forward).UnmarshalJSON([]byte(`[]`)) != nil)
}

func FuzzForward(f *testing.F) { // what a forward marshals to decodes as an equal one, and its body never panics
	for _, c := range vectors[struct{ Forward json.RawMessage }](f, "passthrough") {
		f.Add([]byte(c.Forward))
	}
	f.Add([]byte(`{"platform":7,"headers":[[1,null],["a","b","c"],{}],"bodyB64":"/+-_="}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var forward, again relay.Forward
		if forward.UnmarshalJSON(raw) != nil {
			t.Skip()
		}
		is := is.New(t)
		wire, err := json.Marshal(forward)
		is.NoErr(err)
		is.NoErr(json.Unmarshal(wire, &again))
		is.Equal(again, forward)
		forward.Interaction()
	})
}

func FuzzInteraction(f *testing.F) { // an interaction's event survives the wire, and its key does not depend on its text
	for _, c := range vectors[struct {
		Body json.RawMessage `json:"body_json"`
	}](f, "passthrough") {
		f.Add([]byte(c.Body))
	}
	f.Add([]byte(`{"type":5,"data":{"components":[{"component":{"custom_id":"a","value":"b"}},{"values":["c",1,null]}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := interaction(string(body)).Interaction()
		if err != nil {
			t.Skip()
		}
		is := is.New(t)
		wire, err := json.Marshal(e)
		is.NoErr(err)
		again, err := relay.DecodeEvent(wire)
		is.NoErr(err)
		is.Equal(again, e)
		is.Equal(again.SessionKey(), e.SessionKey())
	})
}
