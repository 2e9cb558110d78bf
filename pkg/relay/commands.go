package relay

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Commands is the manifest of Discord commands that a connector is asked to register (section 4). The zero Commands asks for
// nothing; an empty list asks for none, which takes away what is registered.
type Commands struct {
	list json.RawMessage
}

// String is the manifest as JSON, as the hello carries it; empty for the zero Commands.
func (c Commands) String() string { return string(c.list) }

// Limits of Discord's on application commands. Lengths are in characters.
const (
	mostCommands    = 100
	mostOptions     = 25 // of a command, a sub-command, a group of sub-commands; also choices of an option
	mostName        = 32
	mostDescription = 100 // also of a choice's name, and of its value
	mostLength      = 6000
	mostCharacters  = 8000 // names, descriptions and values of one command together
)

// Types of options that this must know.
const (
	optionSubCommand = 1
	optionGroup      = 2
	optionText       = 3
	optionInteger    = 4
	optionChannel    = 7
	optionNumber     = 10
	lastOption       = 11
)

// ParseCommands reads a manifest: a JSON list of {"name", "description", "options"}, with Discord's option objects as they are.
// The error names the field that is wrong, as in [1].options[0].description.
func ParseCommands(raw []byte) (Commands, error) {
	var list []any
	if err := jsonv2.Unmarshal(raw, &list); err != nil || list == nil {
		return Commands{}, fmt.Errorf(`want a JSON list of commands: [{"name": ..., "description": ..., "options": [...]}]`)
	}
	if len(list) > mostCommands {
		return Commands{}, fmt.Errorf("has %d commands; Discord takes %d", len(list), mostCommands)
	}
	names := map[string]bool{}
	for i, entry := range list {
		at := fmt.Sprintf("[%d]", i)
		c, ok := entry.(map[string]any)
		if !ok {
			return Commands{}, wrongField(at, `want an object with "name" and "description"`)
		}
		if err := checkCommand(at, c); err != nil {
			return Commands{}, err
		}
		if name := c["name"].(string); names[name] {
			return Commands{}, wrongField(at+".name", "%q is there twice", name)
		} else {
			names[name] = true
		}
	}
	compact := jsontext.Value(slices.Clone(raw))
	if err := compact.Compact(); err != nil {
		return Commands{}, fmt.Errorf("cannot be read: %w", err)
	}
	return Commands{json.RawMessage(compact)}, nil
}

func wrongField(at, format string, args ...any) error {
	return fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...))
}

func checkCommand(at string, c map[string]any) error {
	for name := range c {
		if name != "name" && name != "description" && name != "options" {
			return wrongField(at, "has %.40q; want name, description, options", name)
		}
	}
	name, ok := c["name"].(string)
	if !ok || name == "" || len(name) > mostName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return wrongField(at+".name", "want 1 to %d of a-z 0-9 _ -", mostName)
	}
	if err := checkDescription(at, c); err != nil {
		return err
	}
	if err := checkOptions(at, c["options"], 0); err != nil {
		return err
	}
	if n := characters(c); n > mostCharacters {
		return wrongField(at, "names, descriptions and values have %d characters in all; Discord takes %d", n, mostCharacters)
	}
	return nil
}

func checkDescription(at string, c map[string]any) error {
	text, ok := c["description"].(string)
	if n := utf8.RuneCountInString(text); !ok || strings.TrimSpace(text) == "" || n > mostDescription {
		return wrongField(at+".description", "has %d characters; want a text of 1 to %d", n, mostDescription)
	}
	return nil
}

// checkOptions checks the options of a command, or of an option that has some. depth counts the latter.
func checkOptions(at string, given any, depth int) error {
	if given == nil {
		return nil
	}
	list, ok := given.([]any)
	at += ".options"
	if !ok || len(list) > mostOptions {
		return wrongField(at, "want a list of at most %d", mostOptions)
	}
	names, optional, nesting := map[string]bool{}, false, 0
	for i, entry := range list {
		at := fmt.Sprintf("%s[%d]", at, i)
		o, ok := entry.(map[string]any)
		if !ok {
			return wrongField(at, "want an object")
		}
		if err := checkOption(at, o, depth); err != nil {
			return err
		}
		name, required := o["name"].(string), o["required"] == true
		switch kind := o["type"].(float64); {
		case names[name]:
			return wrongField(at+".name", "%q is there twice", name)
		case required && optional:
			return wrongField(at+".required", "want what is required before what is not")
		case kind <= optionGroup:
			nesting++
		}
		names[name], optional = true, optional || !required
	}
	if nesting > 0 && nesting < len(list) {
		return wrongField(at, "want sub-commands and groups only, or none of them")
	}
	return nil
}

func checkOption(at string, o map[string]any, depth int) error {
	kind, ok := o["type"].(float64)
	if !ok || kind != math.Trunc(kind) || kind < 1 || kind > lastOption {
		return wrongField(at+".type", "want a number from 1 to %d", lastOption)
	}
	if name, _ := o["name"].(string); !isOptionName(name) {
		return wrongField(at+".name", "want 1 to %d letters, digits, _ ' -, in lower case", mostName)
	}
	if err := checkDescription(at, o); err != nil {
		return err
	}
	for _, name := range []string{"required", "autocomplete"} {
		if _, ok := o[name].(bool); o[name] != nil && !ok {
			return wrongField(at+"."+name, "want true or false")
		}
	}
	if kind <= optionGroup {
		return checkNesting(at, o, int(kind), depth)
	}
	if o["options"] != nil {
		return wrongField(at+".options", "want none: only sub-commands and groups have options")
	}
	if err := checkChoices(at, o, int(kind)); err != nil {
		return err
	}
	return checkRanges(at, o, int(kind))
}

// isOptionName is for names that may be in any script.
func isOptionName(name string) bool {
	return name != "" && utf8.RuneCountInString(name) <= mostName && strings.ToLower(name) == name &&
		!strings.ContainsFunc(name, func(r rune) bool {
			return !unicode.In(r, unicode.L, unicode.N, unicode.Devanagari, unicode.Thai) && !strings.ContainsRune("-_'", r)
		})
}

// checkNesting is for a sub-command or a group: a command has groups of sub-commands, which have options.
func checkNesting(at string, o map[string]any, kind, depth int) error {
	switch {
	case depth > 0 && kind == optionGroup, depth > 1:
		return wrongField(at+".type", "want no group in a group, and no sub-command in a sub-command")
	case o["required"] != nil, o["choices"] != nil, o["autocomplete"] != nil:
		return wrongField(at, "want neither required, choices nor autocomplete with a sub-command or a group")
	case kind == optionSubCommand:
		depth = 2 // no further ones in it
	default:
		depth = 1
		list, _ := o["options"].([]any)
		for i, entry := range list {
			if option, _ := entry.(map[string]any); option["type"] != float64(optionSubCommand) {
				return wrongField(fmt.Sprintf("%s.options[%d].type", at, i), "want 1: a group has sub-commands")
			}
		}
	}
	return checkOptions(at, o["options"], depth)
}

func checkChoices(at string, o map[string]any, kind int) error {
	hasChoices := kind == optionText || kind == optionInteger || kind == optionNumber
	if !hasChoices && (o["choices"] != nil || o["autocomplete"] == true) {
		return wrongField(at, "want neither choices nor autocomplete with type %d: only 3, 4 and 10 have them", kind)
	}
	if o["choices"] == nil {
		return nil
	}
	list, ok := o["choices"].([]any)
	if !ok || len(list) > mostOptions {
		return wrongField(at+".choices", "want a list of at most %d", mostOptions)
	}
	if len(list) > 0 && o["autocomplete"] == true {
		return wrongField(at+".autocomplete", "want false beside choices")
	}
	for i, entry := range list {
		if err := checkChoice(fmt.Sprintf("%s.choices[%d]", at, i), entry, kind); err != nil {
			return err
		}
	}
	return nil
}

func checkChoice(at string, entry any, kind int) error {
	c, ok := entry.(map[string]any)
	if !ok {
		return wrongField(at, `want an object with "name" and "value"`)
	}
	name, _ := c["name"].(string)
	if n := utf8.RuneCountInString(name); n < 1 || n > mostDescription {
		return wrongField(at+".name", "has %d characters; want a text of 1 to %d", n, mostDescription)
	}
	text, isText := c["value"].(string)
	number, isNumber := c["value"].(float64)
	switch n := utf8.RuneCountInString(text); {
	case kind == optionText && (!isText || n < 1 || n > mostDescription):
		return wrongField(at+".value", "want a text of 1 to %d characters", mostDescription)
	case kind == optionInteger && (!isNumber || number != math.Trunc(number) || math.Abs(number) > 1<<53):
		return wrongField(at+".value", "want a whole number between -2^53 and 2^53")
	case kind == optionNumber && (!isNumber || math.Abs(number) > 1<<53):
		return wrongField(at+".value", "want a number between -2^53 and 2^53")
	}
	return nil
}

// checkRanges checks what limits the value of an option.
func checkRanges(at string, o map[string]any, kind int) error {
	for _, r := range []struct {
		low, high string
		least     float64
		most      float64
		kinds     []int
	}{
		{"min_value", "max_value", -(1 << 53), 1 << 53, []int{optionInteger, optionNumber}},
		{"min_length", "max_length", 0, mostLength, []int{optionText}},
	} {
		limits := map[string]float64{r.low: r.least, r.high: r.most}
		for _, name := range []string{r.low, r.high} {
			limit, ok := o[name].(float64)
			switch {
			case o[name] == nil:
				continue
			case !slices.Contains(r.kinds, kind):
				return wrongField(at+"."+name, "want none with type %d", kind)
			case !ok, limit < r.least, limit > r.most, name == "max_length" && limit < 1:
				return wrongField(at+"."+name, "want a number between %.0f and %.0f", r.least, r.most)
			}
			limits[name] = limit
		}
		if limits[r.low] > limits[r.high] {
			return wrongField(at+"."+r.low, "is more than %s", r.high)
		}
	}
	types, isList := o["channel_types"].([]any)
	if o["channel_types"] == nil {
		return nil
	}
	if kind != optionChannel || !isList || slices.ContainsFunc(types, func(v any) bool { _, ok := v.(float64); return !ok }) {
		return wrongField(at+".channel_types", "want a list of numbers, with type %d only", optionChannel)
	}
	return nil
}

// characters are those that Discord counts of a command: names, descriptions and values, with all that is in it.
func characters(c map[string]any) (n int) {
	for _, name := range []string{"name", "description", "value"} {
		text, _ := c[name].(string)
		n += utf8.RuneCountInString(text)
	}
	for _, name := range []string{"options", "choices"} {
		list, _ := c[name].([]any)
		for _, entry := range list {
			inner, _ := entry.(map[string]any)
			n += characters(inner)
		}
	}
	return n
}
