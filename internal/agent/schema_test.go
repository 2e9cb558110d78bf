package agent_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/dormouse-relay/dormouse/internal/agent"
)

const docs = "../../docs/agent"

// schema compiles one of docs/agent, or the part of it that pointer names. A strict one knows no further members.
func schema(t *testing.T, file, pointer string, strict bool) *jsonschema.Schema {
	t.Helper()
	is := is.New(t)
	raw, err := os.ReadFile(filepath.Join(docs, file))
	is.NoErr(err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	is.NoErr(err)
	if strict {
		closeObjects(doc)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	is.NoErr(c.AddResource(file, doc))
	s, err := c.Compile(file + pointer)
	is.NoErr(err)
	return s
}

func closeObjects(doc any) {
	switch doc := doc.(type) {
	case map[string]any:
		for _, child := range doc {
			closeObjects(child)
		}
		if _, ok := doc["properties"].(map[string]any); ok {
			doc["additionalProperties"] = false
		}
	case []any:
		for _, child := range doc {
			closeObjects(child)
		}
	}
}

func value(t *testing.T, raw []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// fill sets everything in v to something.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1_800_000_000, 0).UTC()))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Map:
		element := reflect.New(v.Type().Elem()).Elem()
		fill(element)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x"), element)
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(`{"name":"x"}`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8:
		v.SetUint(7)
	default:
		panic("a turn has a " + v.Kind().String())
	}
}

func TestTurnsAreAsTheirSchemaSays(t *testing.T) {
	is := is.New(t)
	var full agent.Turn
	fill(reflect.ValueOf(&full).Elem())
	full.Kind, full.Event.MessageType = agent.KindPassthrough, "text"
	full.Delivery.Sent[0].Outcome, full.Delivery.Sent[0].Class = "unknown", "unknown"
	full.Events = append(full.Events[:0], full.Event, full.Event)
	least := turn("hi")
	least.Kind, least.Descriptor.MaxMessageLength = agent.KindMessage, 4096
	for _, tn := range []agent.Turn{full, least} {
		raw, err := json.Marshal(tn)
		is.NoErr(err)
		is.NoErr(schema(t, "turn.schema.json", "", true).Validate(value(t, raw))) // and says nothing that the schema leaves out
	}
	raw, err := json.Marshal(full)
	is.NoErr(err)
	for _, member := range []string{"version", "kind", "event", "delivery"} {
		broken := value(t, raw).(map[string]any)
		broken[member] = []any{}
		is.True(schema(t, "turn.schema.json", "", false).Validate(broken) != nil)
	}
}

func TestAnswersAreAsTheirSchemaSays(t *testing.T) {
	is := is.New(t)
	whole, line := schema(t, "answer.schema.json", "", false), schema(t, "answer.schema.json", "#/$defs/line", false)
	for raw, want := range map[string]bool{
		`{}`: true, `null`: true, `{"text":""}`: true, `{"text":"a"}`: true, `{"actions":[]}`: true,
		`{"actions":[{"op":"send","content":"a"},{"op":"react","emoji":"+1"}]}`: true,
		`{"text":"a","debug":1}`:    true,
		`{"message":"a"}`:           false,
		`[]`:                        false,
		`{"text":7}`:                false,
		`{"text":"a","actions":[]}`: true,
		`{"text":" ","actions":[{"op":"typing"}]}`:               true,
		`{"text":"a","actions":[{"op":"typing"}]}`:               false,
		`{"actions":[{"content":"a"}]}`:                          false,
		`{"actions":["send"]}`:                                   false,
		`{"actions":[{"op":7}]}`:                                 false,
		`{"actions":{"op":"send","content":""}}`:                 false,
		`{"later":"2h"}`:                                         true,
		`{"later":"1h30m","actions":[]}`:                         true,
		`{"later":"soon"}`:                                       false,
		`{"later":7200}`:                                         false,
		`{"later":"2h","text":"a"}`:                              false,
		`{"later":"2h","actions":[{"op":"send","content":"a"}]}`: false,
	} {
		is.Equal(whole.Validate(value(t, []byte(raw))) == nil, want) // raw fits the schema if
		_, err := agent.Decode([]byte(raw))
		is.Equal(err == nil, want) // it is understood
	}
	for raw, want := range map[string]bool{
		`{"text":"a"}`: true, `{"op":"send","content":"a"}`: true, `{"op":"edit","content":"a"}`: true,
		`{"text":""}`: true, `{"op":"send","content":"a","chat_id":7}`: true, `{}`: true, `null`: true, `{"op":7}`: false, `[]`: false,
	} {
		is.Equal(line.Validate(value(t, []byte(raw))) == nil, want)
		_, err := agent.DecodeLine([]byte(raw))
		is.Equal(err == nil, want)
	}
}

func TestTheDocumentedExamplesFit(t *testing.T) {
	is := is.New(t)
	var page []byte
	for _, file := range []string{"README.md", "../../README.md"} {
		raw, err := os.ReadFile(filepath.Join(docs, file))
		is.NoErr(err)
		page = append(page, raw...)
	}
	checked := map[string]int{}
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(page, -1) {
		decoder := json.NewDecoder(bytes.NewReader(block[1]))
		for decoder.More() {
			var raw json.RawMessage
			is.NoErr(decoder.Decode(&raw))
			file, pointer := "answer.schema.json", "#/$defs/line"
			switch text := string(raw); {
			case strings.Contains(text, `"version"`):
				file, pointer = "turn.schema.json", ""
			case strings.Contains(text, `"reason"`):
				file, pointer = "say.schema.json", ""
			case strings.Contains(text, `"actions"`), strings.Contains(text, `"later"`):
				pointer = ""
			case strings.Contains(text, `"attempt"`):
				file, pointer = "turn.schema.json", "#/properties/delivery"
			case strings.Contains(text, `"fields"`):
				file, pointer = "turn.schema.json", "#/$defs/event/properties/metadata"
			case strings.Contains(text, `"size"`):
				file, pointer = "turn.schema.json", "#/$defs/attachment"
			case strings.Contains(text, `"outcome"`):
				file, pointer = "turn.schema.json", "#/properties/results"
			case strings.Contains(text, `"option_id"`):
				file, pointer = "turn.schema.json", "#/properties/prompt"
			}
			is.NoErr(schema(t, file, pointer, false).Validate(value(t, raw)))
			checked[file+pointer]++
		}
	}
	is.Equal(len(checked), 9)
}

// The ops of the schema are those that relay.Descriptor can offer and turns carry out; turn's tests have the same list.
func TestTheSchemaHasAllOps(t *testing.T) {
	is := is.New(t)
	line := schema(t, "answer.schema.json", "#/$defs/action", false)
	for _, raw := range []string{
		`{"op":"send","content":"a","reply_to":null}`, `{"op":"edit","content":"a","message_id":"m"}`, `{"op":"typing"}`,
		`{"op":"follow_up","content":"a"}`, `{"op":"get_chat_info"}`,
		`{"op":"send_media","media_kind":"image","source_url":"https://x.example/a"}`,
		`{"op":"send_media","media_kind":"image","data":"aGk=","mime":"image/png","filename":"a.png"}`,
		`{"op":"prompt","content":"?","prompt_kind":"choice","options":[{"id":"a","label":"A"}],"ref":"r","timeout_s":60}`,
		`{"op":"react","emoji":"+1","remove":true}`, `{"op":"thread_create"}`, `{"op":"thread_rename","thread_name":"n"}`,
		`{"op":"delete"}`, `{"op":"delete","chat_id":-1009876543210,"message_id":7}`,
	} {
		is.NoErr(line.Validate(value(t, []byte(raw))))
	}
	for _, raw := range []string{
		`{"op":"send"}`, `{"op":"draft","content":"a"}`, `{"op":"react"}`, `{"op":"send","content":"a","chat_id":1.5}`,
		`{"op":"send_media","media_kind":"image"}`, `{"op":"send_media","media_kind":"image","data":"aGk="}`,
		`{"op":"send_media","media_kind":"image","data":"aGk=","mime":"image/png","source_url":"https://x.example/a"}`,
		`{"op":"prompt","content":"?","prompt_kind":"choice","options":[{"id":"a b","label":"A"}]}`,
		`{"op":"prompt","prompt_id":"mine","content":"?","prompt_kind":"choice","options":[{"id":"a","label":"A"}]}`,
	} {
		is.True(line.Validate(value(t, []byte(raw))) != nil)
	}
}
