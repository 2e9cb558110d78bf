package agent_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/matryer/is"
)

var update = flag.Bool("update", false, "write examples/types/dormouse.d.ts anew")

// The types for TypeScript say what the schemas say: they are made of them.
func TestTheTypesAreThoseOfTheSchemas(t *testing.T) {
	is := is.New(t)
	file := filepath.Join(docs, "..", "..", "examples", "types", "dormouse.d.ts")
	want := declarations(t)
	if *update {
		is.NoErr(os.WriteFile(file, []byte(want), 0o644))
	}
	got, err := os.ReadFile(file)
	is.NoErr(err)
	if string(got) != want {
		t.Errorf("%s is not made of the schemas; want what go test ./internal/agent -run Types -update writes", file)
	}
}

func declarations(t *testing.T) string {
	var out strings.Builder
	out.WriteString("// What agents get, answer and have said: docs/agent/turn.schema.json, answer.schema.json and say.schema.json as types. A test holds them together.\n")
	for _, name := range []string{"turn.schema.json", "answer.schema.json", "say.schema.json"} {
		w := &typeWriter{out: &out, schema: readNode(t, filepath.Join(docs, name))}
		w.declare()
	}
	return out.String()
}

// node is a value of a schema. Its members are in their order.
type node struct {
	names   []string
	members map[string]*node
	list    []*node
	value   any // of what is no object and no list
}

func readNode(t *testing.T, file string) *node {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := decodeNode(jsontext.NewDecoder(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func decodeNode(d *jsontext.Decoder) (*node, error) {
	n := &node{members: map[string]*node{}}
	switch d.PeekKind() {
	case '{', '[':
		open, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		for d.PeekKind() != '}' && d.PeekKind() != ']' {
			name := ""
			if open.Kind() == '{' {
				if err := jsonv2.UnmarshalDecode(d, &name); err != nil {
					return nil, err
				}
			}
			child, err := decodeNode(d)
			if err != nil {
				return nil, err
			}
			if open.Kind() == '[' {
				n.list = append(n.list, child)
			} else {
				n.names, n.members[name] = append(n.names, name), child
			}
		}
		_, err = d.ReadToken()
		return n, err
	}
	return n, jsonv2.UnmarshalDecode(d, &n.value)
}

func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	return n.members[name]
}

func (n *node) text() string {
	if n == nil {
		return ""
	}
	text, _ := n.value.(string)
	return text
}

func (n *node) has(text string) bool {
	return n != nil && slices.ContainsFunc(n.list, func(e *node) bool { return e.value == text })
}

// typeWriter writes a schema as TypeScript.
type typeWriter struct {
	out    *strings.Builder
	schema *node
}

// declare writes the schema, and its definitions.
func (w *typeWriter) declare() {
	title := w.schema.get("title").text()
	w.out.WriteString("\n")
	w.comment("", w.schema)
	if title == "Turn" {
		fmt.Fprintf(w.out, "export interface %s ", title)
		w.object("", w.schema)
	} else {
		fmt.Fprintf(w.out, "export type %s = ", title)
		w.object("", w.schema)
		w.out.WriteString(" | null;")
	}
	w.out.WriteString("\n")
	defs := w.schema.get("$defs")
	for _, name := range defs.names {
		def := defs.members[name]
		w.out.WriteString("\n")
		w.comment("", def)
		switch {
		case def.get("oneOf") != nil:
			w.variants(title, name, def)
		case def.get("properties") != nil:
			fmt.Fprintf(w.out, "export interface %s ", typeName(name))
			w.object("", def)
			w.out.WriteString("\n")
		default:
			fmt.Fprintf(w.out, "export type %s = ", typeName(name))
			w.write("", def)
			w.out.WriteString(";\n")
		}
	}
}

// variants writes an object that is one of several: a part that all have, and a type for each.
func (w *typeWriter) variants(_, name string, def *node) {
	common := typeName(name) + "Base"
	var all []string
	for _, variant := range def.get("oneOf").list {
		all = append(all, typeName(variant.get("properties").get("op").get("const").text())+typeName(name))
	}
	fmt.Fprintf(w.out, "export type %s =\n  | %s;\n\nexport interface %s ", typeName(name), strings.Join(all, "\n  | "), common)
	w.object("", &node{names: []string{"properties"}, members: map[string]*node{"properties": without(def.get("properties"), "op")}})
	w.out.WriteString("\n")
	for i, variant := range def.get("oneOf").list {
		fmt.Fprintf(w.out, "\nexport interface %s extends %s ", all[i], common)
		required := &node{list: []*node{{value: "op"}}}
		if given := variant.get("required"); given != nil {
			required.list = append(required.list, given.list...)
		}
		w.object("", &node{names: []string{"properties", "required"}, members: map[string]*node{
			"properties": variant.get("properties"), "required": required,
		}})
		w.out.WriteString("\n")
	}
}

func without(properties *node, name string) *node {
	rest := &node{members: properties.members}
	rest.names = slices.DeleteFunc(slices.Clone(properties.names), func(n string) bool { return n == name })
	return rest
}

func (w *typeWriter) comment(indent string, n *node) {
	if text := n.get("description").text(); text != "" {
		fmt.Fprintf(w.out, "%s/** %s */\n", indent, text)
	}
}

// object writes the members of an object in braces.
func (w *typeWriter) object(indent string, n *node) {
	properties := n.get("properties")
	w.out.WriteString("{\n")
	for _, name := range properties.names {
		member, optional := properties.members[name], "?"
		if n.get("required").has(name) {
			optional = ""
		}
		w.comment(indent+"  ", member)
		fmt.Fprintf(w.out, "%s  %s%s: ", indent, name, optional)
		w.write(indent+"  ", member)
		w.out.WriteString(";\n")
	}
	w.out.WriteString(indent + "}")
}

// write writes the type of a value.
func (w *typeWriter) write(indent string, n *node) {
	switch {
	case n.value == false:
		w.out.WriteString("never")
	case n.get("$ref") != nil:
		ref := n.get("$ref").text()
		w.out.WriteString(typeName(ref[strings.LastIndex(ref, "/")+1:]))
	case n.get("const") != nil:
		w.literal(n.get("const").value)
	case n.get("enum") != nil:
		for i, e := range n.get("enum").list {
			if i > 0 {
				w.out.WriteString(" | ")
			}
			w.literal(e.value)
		}
	case n.get("anyOf") != nil:
		for i, e := range n.get("anyOf").list {
			if i > 0 {
				w.out.WriteString(" | ")
			}
			w.write(indent, e)
		}
	case n.get("properties") != nil:
		w.object(indent, n)
	default:
		w.kinds(indent, n)
	}
}

func (w *typeWriter) literal(value any) {
	raw, err := jsonv2.Marshal(value)
	if err != nil {
		panic(err)
	}
	w.out.Write(raw)
}

// kinds writes what "type" says, one type or several.
func (w *typeWriter) kinds(indent string, n *node) {
	kinds := []string{n.get("type").text()}
	if list := n.get("type").list; list != nil {
		kinds = nil
		for _, e := range list {
			kinds = append(kinds, e.text())
		}
	}
	for i, kind := range kinds {
		if i > 0 {
			w.out.WriteString(" | ")
		}
		switch kind {
		case "integer":
			w.out.WriteString("number")
		case "array":
			w.array(indent, n)
		case "object":
			w.record(indent, n)
		default:
			w.out.WriteString(kind)
		}
	}
}

func (w *typeWriter) array(indent string, n *node) {
	items := n.get("items")
	if items.get("properties") == nil && items.get("$ref") == nil && items.get("type").text() != "string" {
		w.out.WriteString("[")
		for i := range int(items.get("minItems").value.(float64)) {
			if i > 0 {
				w.out.WriteString(", ")
			}
			w.write(indent, items.get("items"))
		}
		w.out.WriteString("][]")
		return
	}
	w.write(indent, items)
	w.out.WriteString("[]")
}

func (w *typeWriter) record(indent string, n *node) {
	switch more := n.get("additionalProperties"); {
	case n.get("maxProperties") != nil:
		w.out.WriteString("Record<string, never>")
	case more != nil && more.value == nil:
		w.out.WriteString("Record<string, ")
		w.write(indent, more)
		w.out.WriteString(">")
	default:
		w.out.WriteString("Record<string, unknown>")
	}
}

// typeName is a name of a schema as a type has it: send_media becomes SendMedia.
func typeName(name string) string {
	var out strings.Builder
	upper := true
	for _, r := range name {
		if r == '_' {
			upper = true
			continue
		}
		if upper {
			r = unicode.ToUpper(r)
		}
		out.WriteRune(r)
		upper = false
	}
	return out.String()
}
