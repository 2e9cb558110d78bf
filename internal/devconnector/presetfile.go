package devconnector

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A preset as JSON has its fields in small letters with underscores, times as in Go (1m30s), and rules by name. What is not
// there is as with the hosted connector.

var (
	provisionNames = []string{"none", "issue", "first", "withhold"}
	seatNames      = []string{"replace", "refuse"}
	liveIDNames    = []string{"never", "sometimes", "always"}
	pokeNames      = []string{"none", "first", "any", "waiting"}
	routingNames   = []string{"author", "chat", "any"}
)

func word(names []string, n int) ([]byte, error) {
	if n < 0 || n >= len(names) {
		return nil, fmt.Errorf("devconnector: no rule %d", n)
	}
	return []byte(names[n]), nil
}

func numberOf(names []string, text []byte) (int, error) {
	if n := slices.Index(names, string(text)); n >= 0 {
		return n, nil
	}
	return 0, fmt.Errorf("%.40q is none of %s", text, strings.Join(names, ", "))
}

// MarshalText and UnmarshalText have rules by name in files.
func (m ProvisionMode) MarshalText() ([]byte, error) { return word(provisionNames, int(m)) }
func (m *ProvisionMode) UnmarshalText(text []byte) error {
	n, err := numberOf(provisionNames, text)
	*m = ProvisionMode(n)
	return err
}
func (r SeatRule) MarshalText() ([]byte, error) { return word(seatNames, int(r)) }
func (r *SeatRule) UnmarshalText(text []byte) error {
	n, err := numberOf(seatNames, text)
	*r = SeatRule(n)
	return err
}
func (l LiveIDs) MarshalText() ([]byte, error) { return word(liveIDNames, int(l)) }
func (l *LiveIDs) UnmarshalText(text []byte) error {
	n, err := numberOf(liveIDNames, text)
	*l = LiveIDs(n)
	return err
}
func (r PokeRule) MarshalText() ([]byte, error) { return word(pokeNames, int(r)) }
func (r *PokeRule) UnmarshalText(text []byte) error {
	n, err := numberOf(pokeNames, text)
	*r = PokeRule(n)
	return err
}
func (r Routing) MarshalText() ([]byte, error) { return word(routingNames, int(r)) }
func (r *Routing) UnmarshalText(text []byte) error {
	n, err := numberOf(routingNames, text)
	*r = Routing(n)
	return err
}

var _ encoding.TextUnmarshaler = new(Routing)

// MarshalJSON prints every field.
func (p Preset) MarshalJSON() ([]byte, error) {
	fields := map[string]any{}
	v := reflect.ValueOf(p)
	for i := range v.NumField() {
		value := v.Field(i).Interface()
		if d, ok := value.(time.Duration); ok {
			value = d.String()
		}
		fields[fieldName(v.Type().Field(i).Name)] = value
	}
	return json.Marshal(fields)
}

// UnmarshalJSON changes the fields that are there. A field that is not known is a fault.
func (p *Preset) UnmarshalJSON(raw []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		name := fieldName(v.Type().Field(i).Name)
		value, there := fields[name]
		delete(fields, name)
		if !there {
			continue
		}
		if err := setField(v.Field(i), value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name := range fields {
		return fmt.Errorf("no field %.60q", name)
	}
	return nil
}

func setField(field reflect.Value, raw json.RawMessage) error {
	if _, ok := field.Interface().(time.Duration); !ok {
		field.SetZero() // what was in a list or in a map before does not stay
		return json.Unmarshal(raw, field.Addr().Interface())
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("%v is negative", d)
	}
	field.SetInt(int64(d))
	return err
}

// fieldName is BufferIDFormat as buffer_id_format.
func fieldName(name string) string {
	var out strings.Builder
	letters := []rune(name)
	for i, r := range letters {
		starts := unicode.IsUpper(r) && i > 0 && (unicode.IsLower(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1]) && letters[i+1] != 's')
		if starts {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}

// ReadPreset reads a profile, as dormouse conform connector --profile writes it: {"name","preset":{...}}.
func ReadPreset(raw []byte) (Preset, error) {
	file := struct {
		Name   string
		Preset Preset
	}{Preset: Hosted()}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&file); err != nil {
		return Preset{}, fmt.Errorf("devconnector: this is no profile of a connector: %w", err)
	}
	if file.Name == "" {
		return Preset{}, fmt.Errorf("devconnector: this is no profile of a connector: it has no name")
	}
	p := file.Preset
	p.Name = file.Name
	if format := p.BufferIDFormat; format != "" && (fmt.Sprintf(format, 1) == fmt.Sprintf(format, 2) || strings.Contains(fmt.Sprintf(format, 1), "%!")) {
		return Preset{}, fmt.Errorf("devconnector: buffer_id_format %.40q has no place for a number", format)
	}
	if p.Window < 0 || p.HelloLimit < 0 || p.ChatLimit < 0 || p.MaxFrame < 0 || p.OutboundChunk < 0 || p.FailureLimit < 0 {
		return Preset{}, fmt.Errorf("devconnector: a number of the profile is negative")
	}
	return p, nil
}

// PresetOf is the preset of that name, or the one in that file, which is a profile.
func PresetOf(nameOrFile string) (Preset, error) {
	p, err := PresetNamed(nameOrFile)
	if err == nil {
		return p, nil
	}
	raw, readErr := os.ReadFile(nameOrFile)
	if os.IsNotExist(readErr) {
		return Preset{}, fmt.Errorf("%w, or a file with a profile", err)
	}
	if readErr != nil {
		return Preset{}, readErr
	}
	return ReadPreset(raw)
}

// DescriptorFor is what a hello for that platform is answered.
func (p Preset) DescriptorFor(platform string) map[string]any { return p.descriptor(platform) }
