package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// settingsName is the variable that holds others, as a JSON object. A template has a parameter for it in place of one for each.
const settingsName = "DORMOUSE_SETTINGS"

// withSettings adds the variables in DORMOUSE_SETTINGS to values. A variable of its own comes first. If mine is set, the others
// are somebody else's: they are left out, and that one reports what is wrong with them.
func withSettings(values map[string]string, mine []string, faults *faultList) map[string]string {
	raw := values[settingsName]
	if raw == "" {
		return values
	}
	var given map[string]jsontext.Value
	if err := jsonv2.Unmarshal([]byte(raw), &given); err != nil || given == nil {
		fault, where := "is no JSON object", ""
		if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
			where = fmt.Sprintf(" (it goes wrong behind byte %d)", syntax.ByteOffset)
		}
		if strings.Contains(errorText(err), "duplicate") {
			fault = "has a name twice, or is no JSON object"
		}
		faults.add(settingsName, `%s; want {"NAME":"value",...} with names of variables%s`, fault, where)
		return values
	}
	names := make([]string, 0, len(given))
	for name := range given {
		names = append(names, name)
	}
	slices.Sort(names)
	known := DrainVariables()
	for _, name := range names {
		if mine != nil && !slices.Contains(mine, name) {
			continue
		}
		if fault := misplaced(name, known); fault != "" {
			faults.add(name, "%s", fault)
			continue
		}
		value, ok := textOf(given[name])
		if !ok {
			faults.add(name, "in %s is neither a text nor a number, true, false, a list of these or an object; want a text", settingsName)
			continue
		}
		if _, own := values[name]; value != "" && !own {
			values[name] = value
		}
	}
	return values
}

// misplaced says why a variable cannot be in DORMOUSE_SETTINGS; it is empty if it can.
func misplaced(name string, known []string) string {
	switch {
	case slices.Contains(secrets, name):
		return "holds a secret and is refused in " + settingsName + ", which everybody can read who may see the stack; store it, and give " +
			"its ARN to the parameter for it"
	case name == settingsName:
		return "is refused in itself"
	case !strings.HasPrefix(name, "GATEWAY_RELAY_") && !strings.HasPrefix(name, "DORMOUSE_") && !strings.HasSuffix(name, botsSuffix):
		return "is refused in " + settingsName + ": that is for GATEWAY_RELAY_*, DORMOUSE_* and PLATFORM" + botsSuffix + " alone"
	}
	if _, ok := ofPlatform(name); ok || slices.Contains(known, name) {
		return ""
	}
	return "in " + settingsName + " is no setting of this version: see docs/settings.md"
}

// textOf is a value as a variable would have it: a list with commas, an object as JSON. null is unset.
func textOf(raw jsontext.Value) (text string, ok bool) {
	switch raw.Kind() {
	case '"':
		err := json.Unmarshal(raw, &text)
		return strings.TrimSpace(text), err == nil
	case '0', 't', 'f', '{':
		return strings.TrimSpace(string(raw)), true
	case 'n':
		return "", true
	case '[':
		var elements []jsontext.Value
		if jsonv2.Unmarshal(raw, &elements) != nil {
			return "", false
		}
		var parts []string
		for _, element := range elements {
			part, ok := textOf(element)
			if kind := element.Kind(); !ok || kind == '[' || kind == '{' {
				return "", false
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, ","), true
	}
	return "", false
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
