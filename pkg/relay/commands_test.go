package relay_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// command is a manifest of one command with these options.
func command(options string) string {
	return `[{"name":"deploy","description":"Deploys.","options":` + options + `}]`
}

// option is one with these members besides its name and description.
func option(members string) string {
	return command(`[{"name":"where","description":"Where to.",` + members + `}]`)
}

func list(n int, element string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = strings.ReplaceAll(element, "#", fmt.Sprint(i))
	}
	return "[" + strings.Join(all, ",") + "]"
}

var goodManifests = []string{
	`[]`,
	`[{"name":"new","description":"Starts anew."}]`,
	`[{"name":"reload-mcp_2","description":"` + strings.Repeat("ä", 100) + `","options":[]}]`,
	option(`"type":3,"required":false,"choices":[{"name":"Europe","value":"eu"},{"name":"America","value":"us"}]`),
	option(`"type":4,"min_value":-3,"max_value":7,"choices":[{"name":"one","value":1}]`),
	option(`"type":10,"autocomplete":true,"min_value":0.5`),
	option(`"type":3,"min_length":0,"max_length":6000,"name_localizations":{"de":"wo"}`),
	option(`"type":7,"channel_types":[0,5]`),
	command(`[{"type":1,"name":"up","description":"Up.","options":[{"type":3,"name":"größe","description":"Size.","required":true}]}]`),
	command(`[{"type":2,"name":"all","description":"All.","options":[{"type":1,"name":"up","description":"Up."}]}]`),
	list(100, `{"name":"c#","description":"d"}`),
	command(list(25, `{"type":6,"name":"o#","description":"d"}`)),
}

func TestCommandsAreTakenAsDiscordTakesThem(t *testing.T) {
	is := is.New(t)
	for _, raw := range goodManifests {
		_, err := relay.ParseCommands([]byte(raw))
		is.NoErr(err)
	}
}

// Discord takes 8,000 characters in all.
func TestACommandHasEightThousandCharactersAtMost(t *testing.T) {
	is := is.New(t)
	manifest := func(more int) string { // 14 of the command, 3 of each option, 160 of each choice but the last
		var choices [2][]string
		for i := range 50 {
			size := 160
			if i == 49 {
				size = 8000 - 14 - 6 - 49*160 + more
			}
			name := fmt.Sprintf("%02d%s", i, strings.Repeat("x", size/2-2))
			choices[i%2] = append(choices[i%2], fmt.Sprintf(`{"name":"%s","value":"%s"}`, name, strings.Repeat("v", size-size/2)))
		}
		return command(fmt.Sprintf(`[{"type":3,"name":"o0","description":"d","choices":[%s]},{"type":3,"name":"o1","description":"d","choices":[%s]}]`,
			strings.Join(choices[0], ","), strings.Join(choices[1], ",")))
	}
	_, err := relay.ParseCommands([]byte(manifest(0)))
	is.NoErr(err)
	_, err = relay.ParseCommands([]byte(manifest(1)))
	is.True(err != nil && strings.Contains(err.Error(), "have 8001 characters in all; Discord takes 8000"))
}

func TestWrongCommandsAreNamedByTheirField(t *testing.T) {
	tests := map[string]struct{ raw, want string }{
		"no JSON":               {`{`, "want a JSON list"},
		"an object":             {`{"commands":[]}`, "want a JSON list"},
		"null":                  {`null`, "want a JSON list"},
		"no object":             {`["new"]`, `[0]: want an object`},
		"too many":              {list(101, `{"name":"c#","description":"d"}`), "has 101 commands"},
		"no name":               {`[{"description":"d"}]`, "[0].name: want 1 to 32 of a-z"},
		"a name in capitals":    {`[{"name":"New","description":"d"}]`, "[0].name"},
		"a name with a slash":   {`[{"name":"/new","description":"d"}]`, "[0].name"},
		"a long name":           {`[{"name":"` + strings.Repeat("a", 33) + `","description":"d"}]`, "[0].name"},
		"a name twice":          {`[{"name":"a","description":"d"},{"name":"a","description":"d"}]`, `[1].name: "a" is there twice`},
		"a member twice":        {`[{"name":"a","name":"b","description":"d"}]`, "want a JSON list"},
		"no description":        {`[{"name":"a"}]`, "[0].description: has 0 characters"},
		"a long description":    {`[{"name":"a","description":"` + strings.Repeat("ä", 101) + `"}]`, "[0].description: has 101 characters"},
		"another member":        {`[{"name":"a","description":"d","type":1}]`, `[0]: has "type"`},
		"options no list":       {command(`{}`), "[0].options: want a list of at most 25"},
		"too many options":      {command(list(26, `{"type":3,"name":"o#","description":"d"}`)), "[0].options: want a list of at most 25"},
		"an option no object":   {command(`[3]`), "[0].options[0]: want an object"},
		"no type":               {option(`"required":true`), "[0].options[0].type: want a number from 1 to 11"},
		"type 12":               {option(`"type":12`), "[0].options[0].type"},
		"type 1.5":              {option(`"type":1.5`), "[0].options[0].type"},
		"type as text":          {option(`"type":"3"`), "[0].options[0].type"},
		"an option's name":      {command(`[{"type":3,"name":"a b","description":"d"}]`), "[0].options[0].name: want 1 to 32 letters"},
		"an option in capitals": {command(`[{"type":3,"name":"Ä","description":"d"}]`), "[0].options[0].name"},
		"an option twice":       {command(list(2, `{"type":3,"name":"o","description":"d"}`)), `[0].options[1].name: "o" is there twice`},
		"its description":       {command(`[{"type":3,"name":"o","description":" "}]`), "[0].options[0].description"},
		"required as text":      {option(`"type":3,"required":"yes"`), "[0].options[0].required: want true or false"},
		"required too late": {
			command(`[{"type":3,"name":"a","description":"d"},{"type":3,"name":"b","description":"d","required":true}]`),
			"[0].options[1].required: want what is required before",
		},
		"options of a text":      {option(`"type":3,"options":[]`), "[0].options[0].options: want none"},
		"choices no list":        {option(`"type":3,"choices":{}`), "[0].options[0].choices: want a list"},
		"too many choices":       {option(`"type":3,"choices":` + list(26, `{"name":"c#","value":"v"}`)), "[0].options[0].choices: want a list of at most 25"},
		"choices of a user":      {option(`"type":6,"choices":[]`), "[0].options[0]: want neither choices"},
		"choices and completion": {option(`"type":3,"autocomplete":true,"choices":[{"name":"a","value":"a"}]`), "[0].options[0].autocomplete: want false"},
		"a choice no object":     {option(`"type":3,"choices":["a"]`), "[0].options[0].choices[0]: want an object"},
		"a choice's name":        {option(`"type":3,"choices":[{"value":"a"}]`), "[0].options[0].choices[0].name"},
		"a choice's value":       {option(`"type":3,"choices":[{"name":"a","value":1}]`), "[0].options[0].choices[0].value: want a text"},
		"a choice's long value":  {option(`"type":3,"choices":[{"name":"a","value":"` + strings.Repeat("a", 101) + `"}]`), "choices[0].value"},
		"a number as text":       {option(`"type":4,"choices":[{"name":"a","value":"1"}]`), "[0].options[0].choices[0].value: want a whole number"},
		"a broken number":        {option(`"type":4,"choices":[{"name":"a","value":1.5}]`), "choices[0].value: want a whole number"},
		"no range of a text":     {option(`"type":3,"min_value":1`), "[0].options[0].min_value: want none with type 3"},
		"no length of a number":  {option(`"type":4,"max_length":1`), "[0].options[0].max_length: want none with type 4"},
		"a length too long":      {option(`"type":3,"max_length":6001`), "[0].options[0].max_length: want a number"},
		"a length of none":       {option(`"type":3,"max_length":0`), "[0].options[0].max_length"},
		"a turned range":         {option(`"type":4,"min_value":2,"max_value":1`), "[0].options[0].min_value: is more than max_value"},
		"channels of a text":     {option(`"type":3,"channel_types":[0]`), "[0].options[0].channel_types"},
		"channel types as texts": {option(`"type":7,"channel_types":["0"]`), "[0].options[0].channel_types"},
		"a sub-command and a text": {
			command(`[{"type":1,"name":"a","description":"d"},{"type":3,"name":"b","description":"d"}]`), "[0].options: want sub-commands and groups only",
		},
		"a required sub-command": {option(`"type":1,"required":true`), "[0].options[0]: want neither required"},
		"a group in a group": {
			option(`"type":2,"options":[{"type":2,"name":"a","description":"d"}]`), "[0].options[0].options[0].type: want 1",
		},
		"a text in a group": {
			option(`"type":2,"options":[{"type":3,"name":"a","description":"d"}]`), "[0].options[0].options[0].type: want 1",
		},
		"a sub-command in a sub-command": {
			option(`"type":1,"options":[{"type":1,"name":"a","description":"d"}]`), "[0].options[0].options[0].type: want no group",
		},
		"too much in all": {
			command(list(25, `{"type":3,"name":"o#","description":"`+strings.Repeat("d", 100)+`","choices":`+
				list(4, `{"name":"`+strings.Repeat("n", 50)+`","value":"`+strings.Repeat("v", 50)+`"}`)+`}`)),
			"[0]: names, descriptions and values have 12",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			_, err := relay.ParseCommands([]byte(tt.raw))
			is.True(err != nil)
			is.True(strings.Contains(err.Error(), tt.want)) // want tt.want in the text
			t.Log(err)
		})
	}
}

// Whatever is taken is a list of objects with a name that the contract allows, and says what was given.
func FuzzCommands(f *testing.F) {
	for _, raw := range goodManifests {
		f.Add([]byte(raw))
	}
	f.Add([]byte(option(`"type":2,"options":[{"type":1,"name":"a","description":"d","options":[{"type":3}]}]`)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		commands, err := relay.ParseCommands(raw)
		if err != nil {
			return
		}
		is := is.New(t)
		var given, sent any
		is.NoErr(json.Unmarshal(raw, &given))
		is.NoErr(json.Unmarshal([]byte(commands.String()), &sent))
		is.Equal(sent, given)
		again, err := relay.ParseCommands([]byte(commands.String()))
		is.NoErr(err)
		is.Equal(again, commands)
	})
}
