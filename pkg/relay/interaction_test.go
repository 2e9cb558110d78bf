package relay_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestInteractionTellsWhatWasChosen(t *testing.T) {
	const people = `"resolved":{"users":{"5":{"id":"5","username":"ada","global_name":"Ada L"},"6":{"username":"ben"}},` +
		`"members":{"5":{"nick":"Countess"}},"roles":{"8":{"name":"Mods"}},"channels":{"9":{"name":"general"}}}`
	const file = `{"id":"1","filename":"a.png","content_type":"image/png","size":7,"url":"https://cdn.example/a.png"}`
	tests := map[string]struct {
		body, text, kind string
		metadata         *relay.Metadata
		media            []relay.Media
	}{
		"menu": {
			`{"type":3,"data":{"component_type":3,"custom_id":"class","values":["mage","rogue"]}}`, "class", "text",
			&relay.Metadata{CustomID: "class", Fields: []relay.Field{
				{CustomID: "class", Value: "mage,rogue", Values: []string{"mage", "rogue"}},
			}}, nil,
		},
		"menu, nothing chosen": {
			`{"type":3,"data":{"custom_id":"class","values":[]}}`, "class", "text",
			&relay.Metadata{CustomID: "class", Fields: []relay.Field{{CustomID: "class"}}}, nil,
		},
		"menu of users, roles and channels": {
			`{"type":3,"data":{"component_type":7,"custom_id":"who","values":["5","6","8","9","404"],` + people + `}}`, "who", "text",
			&relay.Metadata{CustomID: "who", Fields: []relay.Field{{
				CustomID: "who", Value: "5,6,8,9,404", Values: []string{"5", "6", "8", "9", "404"},
				Resolved: []relay.Entity{{"user", "5", "Countess"}, {"user", "6", "ben"}, {"role", "8", "Mods"}, {"channel", "9", "general"}},
			}}}, nil,
		},
		"button": {`{"type":3,"data":{"component_type":2,"custom_id":"ok"}}`, "ok", "text", nil, nil},
		"user menu": {
			`{"type":2,"data":{"name":"Warn user","type":2,"target_id":"6",` + people + `}}`, "/Warn user", "command",
			&relay.Metadata{Target: &relay.Entity{Kind: "user", ID: "6", Text: "ben"}}, nil,
		},
		"message menu": {
			`{"type":2,"data":{"name":"Explain","type":3,"target_id":"70","resolved":{"messages":{"70":{"content":"E=mc²","attachments":[` +
				file + `]}}}}}`, "/Explain", "command",
			&relay.Metadata{Target: &relay.Entity{Kind: "message", ID: "70", Text: "E=mc²"}},
			[]relay.Media{{URL: "https://cdn.example/a.png", Kind: "image", MIME: "image/png", Size: 7, Filename: "a.png"}},
		},
		"message menu, embeds": {
			`{"type":2,"data":{"name":"Explain","type":3,"target_id":"70","resolved":{"messages":{"70":{"content":"",` +
				`"embeds":[{"title":"Build 7"},{"description":"is red"}]}}}}}`, "/Explain", "command",
			&relay.Metadata{Target: &relay.Entity{Kind: "message", ID: "70", Text: "Build 7\nis red"}}, nil,
		},
		"message menu, forwarded": {
			`{"type":2,"data":{"name":"Explain","type":3,"target_id":"70","resolved":{"messages":{"70":{"content":"",` +
				`"message_snapshots":[{"message":{"content":"E=mc²","embeds":[{"title":"no"}],"attachments":[` +
				strings.Replace(file, "image/png", "Image/PNG", 1) + `]}}]}}}}}`, "/Explain", "command",
			&relay.Metadata{Target: &relay.Entity{Kind: "message", ID: "70", Text: "E=mc²"}},
			[]relay.Media{{URL: "https://cdn.example/a.png", Kind: "image", MIME: "Image/PNG", Size: 7, Filename: "a.png"}},
		},
		"byte order mark": {"\ufeff" + `{"type":3,"data":{"custom_id":"ok"}}`, "ok", "text", nil, nil},
		"target that is not resolved": {
			`{"type":2,"data":{"name":"Explain","type":3,"target_id":70}}`, "/Explain", "command",
			&relay.Metadata{Target: &relay.Entity{Kind: "message", ID: "70"}}, nil,
		},
		"options of a sub-command": {
			`{"type":2,"data":{"name":"mod","type":1,"options":[{"type":1,"name":"ban","options":[{"type":6,"name":"user","value":"5"},` +
				`{"type":3,"name":"why","value":"6"}]}],` + people + `}}`, "/mod ban 5 6", "command",
			&relay.Metadata{Fields: []relay.Field{
				{CustomID: "user", Value: "5", Resolved: []relay.Entity{{"user", "5", "Countess"}}},
			}}, nil,
		},
		"file option": {
			`{"type":2,"data":{"name":"sum","options":[{"type":11,"name":"file","value":"1"}],"resolved":{"attachments":{"1":` + file + `}}}}`,
			"/sum 1", "command", nil,
			[]relay.Media{{URL: "https://cdn.example/a.png", Kind: "image", MIME: "image/png", Size: 7, Filename: "a.png"}},
		},
		"files in a form": {
			`{"type":5,"data":{"custom_id":"f","components":[{"type":18,"component":{"type":19,"custom_id":"up","values":["1","2"]}}],` +
				`"resolved":{"attachments":{"1":` + file + `,"2":{"url":"https://cdn.example/b","size":-1},"3":{"url":"not asked for"}}}}}`,
			"up=1,2", "text",
			&relay.Metadata{CustomID: "f", Fields: []relay.Field{{CustomID: "up", Value: "1,2", Values: []string{"1", "2"}}}},
			[]relay.Media{
				{URL: "https://cdn.example/a.png", Kind: "image", MIME: "image/png", Size: 7, Filename: "a.png"},
				{URL: "https://cdn.example/b", Kind: "document"},
			},
		},
		"checkboxes": {
			`{"type":5,"data":{"custom_id":"f","components":[{"type":18,"component":{"type":23,"custom_id":"a","value":true}},` +
				`{"type":18,"component":{"type":23,"custom_id":"b","value":false}},{"type":18,"component":{"type":21,"custom_id":"c","value":null}}]}}`,
			"a=True\nb=False\nc=", "text",
			&relay.Metadata{CustomID: "f", Fields: []relay.Field{
				{CustomID: "a", Value: "True"}, {CustomID: "b", Value: "False"}, {CustomID: "c"},
			}}, nil,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			e, err := interaction(tt.body).Interaction()
			is.NoErr(err)
			is.Equal(e.Text, tt.text)
			is.Equal(e.MessageType, tt.kind)
			is.Equal(e.Metadata, tt.metadata)
			is.Equal(e.Media, tt.media)
			is.Equal(len(e.MediaURLs), len(tt.media))
			wire, err := json.Marshal(e)
			is.NoErr(err)
			again, err := relay.DecodeEvent(wire) // as the journal keeps it
			is.NoErr(err)
			is.Equal(again, e)
		})
	}
}

func TestInteractionsThatAreNoMessages(t *testing.T) {
	for _, kind := range []string{"1", "4"} {
		e, err := interaction(`{"type":` + kind + `,"data":{"name":"play","options":[{"value":"mi","focused":true}]}}`).Interaction()
		is := is.New(t)
		is.True(errors.Is(err, relay.ErrNoMessage))
		is.True(e == nil)
	}
}

func TestGroupDMIsNotADM(t *testing.T) { // its members are no one session
	tests := map[string]struct{ where, want string }{
		"DM":                            {`"context":1,"channel":{"type":1}`, "dm"},
		"DM of two users":               {`"context":2,"channel":{"type":1}`, "dm"},
		"group DM":                      {`"context":2,"channel":{"type":3}`, "group"},
		"group DM, no channel":          {`"context":2`, "group"},
		"nothing said":                  {`"version":1`, "dm"},
		"channel of a guild":            {`"guild_id":"g","channel":{"type":0}`, "group"},
		"thread of a guild":             {`"guild_id":"g","channel":{"type":11}`, "thread"},
		"guild, from a user's own apps": {`"guild_id":"g","context":0`, "group"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			e, err := interaction(`{"type":2,"data":{"name":"x"},` + tt.where + `}`).Interaction()
			is.NoErr(err)
			is.Equal(e.Source.ChatType, tt.want)
		})
	}
}

func TestInteractionWithTooManyIDsIsCheap(t *testing.T) {
	is := is.New(t)
	var ids, users []string
	for i := range 2_000 {
		ids = append(ids, fmt.Sprintf(`"%d"`, i))
		users = append(users, fmt.Sprintf(`"%d":{"username":"u"}`, i))
	}
	e, err := interaction(`{"type":3,"data":{"custom_id":"x","values":[` + strings.Join(ids, ",") + `],"resolved":{"users":{` +
		strings.Join(users, ",") + `}}}}`).Interaction()
	is.NoErr(err)
	is.Equal(len(e.Metadata.Fields[0].Values), 2_000)
	is.True(len(e.Metadata.Fields[0].Resolved) <= 200)
}

func TestAnInteractionsListsAreBounded(t *testing.T) {
	list := func(element string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(element+",", 5000), ",") + "]"
	}
	for name, tt := range map[string]struct {
		data                  string
		media, fields, values int
	}{
		"a form":   {`"type":5,"data":{"components":` + list(`{"type":4,"custom_id":"a","value":"b"}`) + `}`, 0, 2000, 0},
		"a choice": {`"type":3,"data":{"custom_id":"c","values":` + list(`"v"`) + `}`, 0, 1, 2000},
		"files": {`"type":2,"data":{"type":3,"name":"n","target_id":"9","resolved":{"messages":{"9":{"attachments":` +
			list(`{"url":"https://x.example/y"}`) + `}}}}`, relay.MostMedia, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			e, err := interaction(`{"id":"1","channel_id":"c",` + tt.data + `}`).Interaction()
			is.NoErr(err)
			is.Equal(len(e.MediaURLs), tt.media)
			is.Equal(len(e.Media), tt.media)
			if tt.fields > 0 {
				is.Equal(len(e.Metadata.Fields), tt.fields)
				is.Equal(len(e.Metadata.Fields[0].Values), tt.values)
			}
		})
	}
}
