// Package emftest holds lines of a log against the published schema of CloudWatch's embedded metric format. Tests call it.
package emftest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed emf.schema.json
var schema []byte

// Line is an EMF line, with what CloudWatch would make of it.
type Line struct {
	Values     map[string]float64  // by the name of the metric
	Dimensions map[string][]string // the values of its dimensions, likewise
}

// Check reads a line. ok is false for a line that is none of the format's. The error says what the schema, or the text of
// the specification, has against it.
func Check(raw []byte) (line Line, ok bool, err error) {
	if !bytes.Contains(raw, []byte(`"_aws"`)) {
		return Line{}, false, nil
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return Line{}, true, err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("emf.json", document); err != nil {
		return Line{}, true, err
	}
	compiled, err := compiler.Compile("emf.json")
	if err != nil {
		return Line{}, true, err
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return Line{}, true, err
	}
	if err := compiled.Validate(instance); err != nil {
		return Line{}, true, err
	}
	line, err = read(raw)
	return line, true, err
}

// read follows the references: the root has each dimension as a text and each metric as a number.
func read(raw []byte) (Line, error) {
	var root map[string]any
	var about struct {
		AWS struct {
			CloudWatchMetrics []struct {
				Dimensions [][]string
				Metrics    []struct{ Name string }
			}
		} `json:"_aws"`
	}
	if err := json.Unmarshal(raw, &root); err != nil {
		return Line{}, err
	}
	if err := json.Unmarshal(raw, &about); err != nil {
		return Line{}, err
	}
	line := Line{Values: map[string]float64{}, Dimensions: map[string][]string{}}
	for _, directive := range about.AWS.CloudWatchMetrics {
		var values []string
		for _, name := range directive.Dimensions[0] {
			value, is := root[name].(string)
			if !is || value == "" {
				return Line{}, fmt.Errorf("the dimension %s is %v on the root; want a text", name, root[name])
			}
			values = append(values, value)
		}
		for _, m := range directive.Metrics {
			value, is := root[m.Name].(float64)
			if !is {
				return Line{}, fmt.Errorf("the metric %s is %v on the root; want a number", m.Name, root[m.Name])
			}
			line.Values[m.Name], line.Dimensions[m.Name] = value, values
		}
	}
	return line, nil
}
