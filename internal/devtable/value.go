package devtable

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// kind is an attribute's type, by its name in JSON.
type kind string

const (
	kindText     kind = "S"
	kindNumber   kind = "N"
	kindBinary   kind = "B"
	kindBool     kind = "BOOL"
	kindNull     kind = "NULL"
	kindList     kind = "L"
	kindMap      kind = "M"
	kindTexts    kind = "SS"
	kindNumbers  kind = "NS"
	kindBinaries kind = "BS"
)

const deepest = 32 // levels of lists and maps

// item is attributes by their names. It is never changed in place.
type item map[string]value

// value is an attribute's.
type value struct {
	kind kind
	text string  // of a text and a binary; of a number as decimal.String writes it
	list []value // of a list; of a set, sorted
	m    item    // of a map
	yes  bool    // of a boolean; true for null
}

// number is that of a value that is one.
func (v value) number() decimal {
	d, _ := parseNumber(v.text) // it was read before
	return d
}

// UnmarshalJSONFrom reads {"S":"..."} and the like.
func (v *value) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.StackDepth() > 2*deepest+10 {
		return invalid("Nesting Levels have exceeded supported limits")
	}
	if d.PeekKind() != '{' {
		return invalid("Supplied AttributeValue is not an object with one member, such as {\"S\":\"text\"}")
	}
	d.ReadToken()
	if d.PeekKind() == '}' {
		return invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
	}
	name, err := d.ReadToken()
	if err != nil {
		return err
	}
	v.kind = kind(name.String())
	if err := v.read(d); err != nil {
		return err
	}
	if d.PeekKind() != '}' {
		return invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
	}
	_, err = d.ReadToken()
	return err
}

// read reads what follows the name of the type.
func (v *value) read(d *jsontext.Decoder) (err error) {
	switch v.kind {
	case kindText, kindNumber, kindBinary:
		if err := json.UnmarshalDecode(d, &v.text); err != nil {
			return err
		}
		v.text, err = scalar(v.kind, v.text)
		return err
	case kindBool, kindNull:
		if err := json.UnmarshalDecode(d, &v.yes); err != nil {
			return err
		}
		if v.kind == kindNull && !v.yes {
			return invalid("Null attribute value types must have the value of true")
		}
		return nil
	case kindList:
		return json.UnmarshalDecode(d, &v.list)
	case kindMap:
		return json.UnmarshalDecode(d, &v.m)
	case kindTexts, kindNumbers, kindBinaries:
		return v.readSet(d)
	}
	return invalid("Supplied AttributeValue has the datatype %.20q, which there is not", v.kind)
}

// scalar is a text, a number or a binary as it is kept.
func scalar(k kind, text string) (string, error) {
	switch k {
	case kindNumber:
		number, err := parseNumber(text)
		if err != nil {
			return "", err
		}
		return number.String(), nil
	case kindBinary:
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return "", invalid("A binary value is no base64")
		}
		return string(raw), nil
	}
	return text, nil
}

func (v *value) readSet(d *jsontext.Decoder) error {
	var texts []string
	if err := json.UnmarshalDecode(d, &texts); err != nil {
		return err
	}
	if len(texts) == 0 {
		return invalid("One or more parameter values were invalid: An %s set may not be empty", v.kind)
	}
	of := v.kind[:1]
	for _, text := range texts {
		text, err := scalar(of, text)
		if err != nil {
			return err
		}
		v.list = append(v.list, value{kind: of, text: text})
	}
	slices.SortFunc(v.list, value.compare)
	for i := 1; i < len(v.list); i++ {
		if v.list[i].compare(v.list[i-1]) == 0 {
			return invalid("One or more parameter values were invalid: Input collection contains duplicates")
		}
	}
	return nil
}

// MarshalJSONTo writes what UnmarshalJSONFrom reads.
func (v value) MarshalJSONTo(e *jsontext.Encoder) error {
	e.WriteToken(jsontext.BeginObject)
	e.WriteToken(jsontext.String(string(v.kind)))
	switch v.kind {
	case kindBool, kindNull:
		e.WriteToken(jsontext.Bool(v.yes))
	case kindList:
		if err := json.MarshalEncode(e, v.list); err != nil {
			return err
		}
	case kindMap:
		if err := json.MarshalEncode(e, v.m); err != nil {
			return err
		}
	case kindTexts, kindNumbers, kindBinaries:
		e.WriteToken(jsontext.BeginArray)
		for _, element := range v.list {
			e.WriteToken(jsontext.String(element.written()))
		}
		e.WriteToken(jsontext.EndArray)
	default:
		e.WriteToken(jsontext.String(v.written()))
	}
	return e.WriteToken(jsontext.EndObject)
}

// written is a scalar as JSON has it.
func (v value) written() string {
	if v.kind == kindBinary {
		return base64.StdEncoding.EncodeToString([]byte(v.text))
	}
	return v.text
}

// compare orders two scalars of the same type.
func (v value) compare(other value) int {
	if v.kind == kindNumber {
		return v.number().compare(other.number())
	}
	return strings.Compare(v.text, other.text)
}

func (v value) equal(other value) bool {
	if v.kind != other.kind || v.yes != other.yes || v.text != other.text || len(v.list) != len(other.list) || len(v.m) != len(other.m) {
		return false
	}
	for i := range v.list {
		if !v.list[i].equal(other.list[i]) {
			return false
		}
	}
	for name := range v.m {
		o, ok := other.m[name]
		if !ok || !v.m[name].equal(o) {
			return false
		}
	}
	return true
}

// size is how many bytes a value takes, as DynamoDB counts them.
func (v value) size() int {
	switch v.kind {
	case kindNumber:
		return (len(strings.Trim(v.text, "-.0"))+1)/2 + 1
	case kindBool, kindNull:
		return 1
	case kindMap:
		return 3 + v.m.size() + len(v.m)
	case kindList:
		n := 3 + len(v.list)
		for _, element := range v.list {
			n += element.size()
		}
		return n
	}
	n := len(v.text)
	for _, element := range v.list {
		n += element.size()
	}
	return n
}

func (it item) size() (n int) {
	for name, v := range it {
		n += len(name) + v.size()
	}
	return n
}

// encode writes an item as it is stored.
func (it item) encode() []byte {
	raw, err := json.Marshal(it, json.Deterministic(true))
	if err != nil {
		panic("devtable: an item that was read cannot be written: " + err.Error())
	}
	return raw
}

// decodeItem reads what encode has written.
func decodeItem(raw []byte) (it item, err error) {
	err = json.UnmarshalRead(bytes.NewReader(raw), &it)
	return it, err
}
