package say_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/matryer/is"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/dormouse-relay/dormouse/internal/say"
)

// docs/agent/say.schema.json takes what Parse takes, and nothing else.
func TestTheSchemaOfASayIsWhatParseTakes(t *testing.T) {
	is := is.New(t)
	raw, err := os.ReadFile("../../docs/agent/say.schema.json")
	is.NoErr(err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	is.NoErr(err)
	c := jsonschema.NewCompiler()
	is.NoErr(c.AddResource("say.schema.json", doc))
	schema, err := c.Compile("say.schema.json")
	is.NoErr(err)
	const chat = `"chat":{"platform":"discord","chat_id":"1"}`
	for _, payload := range []string{
		`{"reason":"say","key":"k",` + chat + `,"text":"t"}`,
		`{"reason":"say","key":"k",` + chat + `,"actions":[{"op":"send","content":"t"}]}`,
		`{"reason":"say","key":"k",` + chat + `,"ask":{"text":"t","user_id":7}}`,
		`{"reason":"say","key":"k","chat":{"platform":"slack","chat_id":7,"chat_type":"channel","scope_id":"T","thread_id":"1.2"},"text":"t"}`,
		`{"reason":"say","reply_to_delivery":"d","text":"t"}`,
		`{"reason":"say","reply_to_delivery":"d","key":"d/2","n":2,"last":true,"text":"t"}`,
		`{"reason":"shout","key":"k",` + chat + `,"text":"t"}`,
		`{"reason":"say",` + chat + `,"text":"t"}`,
		`{"reason":"say","key":" ",` + chat + `,"text":"t"}`,
		`{"reason":"say","key":"k","chat":{"platform":"discord","chat_id":" "},"text":"t"}`,
		`{"reason":"say","key":"k","text":"t"}`,
		`{"reason":"say","key":"k",` + chat + `}`,
		`{"reason":"say","key":"k",` + chat + `,"text":" "}`,
		`{"reason":"say","key":"k",` + chat + `,"text":"t","ask":{"text":"t"}}`,
		`{"reason":"say","key":"k",` + chat + `,"actions":[]}`,
		`{"reason":"say","key":"k",` + chat + `,"actions":[{"content":"t"}]}`,
		`{"reason":"say","key":"k",` + chat + `,"text":"t","n":1}`,
		`{"reason":"say","key":"k",` + chat + `,"txt":"t"}`,
		`{"reason":"say","key":"k","chat":{"platform":"discord"},"text":"t"}`,
		`{"reason":"say","reply_to_delivery":"d",` + chat + `,"text":"t"}`,
		`{"reason":"say","reply_to_delivery":"d","ask":{"text":"t"}}`,
		`{"reason":"say","reply_to_delivery":"d","n":0,"text":"t"}`,
		`{"reason":"say","reply_to_delivery":"d","n":1000,"text":"t"}`,
	} {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(payload)))
		is.NoErr(err)
		_, refused := say.Parse([]byte(payload))
		if invalid := schema.Validate(value); (invalid == nil) != (refused == nil) {
			t.Errorf("%s: Parse says %v, the schema %v", payload, refused, invalid)
		}
	}
}
