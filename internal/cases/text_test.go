package cases

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// text is a text of a case, perhaps a long one, which is made from pieces and checked against its sum.
type text string

func (s *text) UnmarshalJSON(raw []byte) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	whole, ok := v.(string)
	if !ok {
		var err error
		if whole, err = join(raw); err != nil {
			return err
		}
	}
	*s = text(whole)
	return nil
}

// join makes a long text.
func join(raw []byte) (string, error) {
	var long struct {
		Pieces []struct {
			Text   *string `json:"text"`
			Repeat *string `json:"repeat"`
			Times  int     `json:"times"`
			Join   string  `json:"join"`
		} `json:"pieces"`
		CodePoints int    `json:"code_points"`
		UTF16Units int    `json:"utf16_units"`
		SHA256     string `json:"sha256"`
	}
	if err := strict(raw, &long); err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range long.Pieces {
		switch {
		case p.Text != nil && p.Repeat == nil:
			b.WriteString(*p.Text)
		case p.Repeat != nil && p.Text == nil:
			for i := range p.Times {
				if i > 0 {
					b.WriteString(p.Join)
				}
				b.WriteString(strings.ReplaceAll(*p.Repeat, "{i}", strconv.Itoa(i)))
			}
		default:
			return "", fmt.Errorf("a piece is neither text nor repeat: %s", raw)
		}
	}
	whole := b.String()
	sum := sha256.Sum256([]byte(whole))
	if hex.EncodeToString(sum[:]) != long.SHA256 || units(whole, "chars") != long.CodePoints || units(whole, "utf16") != long.UTF16Units {
		return "", fmt.Errorf("a long text does not come out as its sum says: %s", raw)
	}
	return whole, nil
}

// object is a JSON object in which long texts have been made.
type object map[string]any

func (o *object) UnmarshalJSON(raw []byte) error {
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	made, err := expand(v)
	if err != nil {
		return err
	}
	*o, _ = made.(map[string]any)
	return nil
}

// expand makes the long texts in a JSON value.
func expand(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case map[string]any:
		if _, long := v["pieces"]; long {
			raw, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			return join(raw)
		}
		for name, member := range v {
			if v[name], err = expand(member); err != nil {
				return nil, err
			}
		}
	case []any:
		for i, element := range v {
			if v[i], err = expand(element); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// fill puts what fill knows in the place of each {"$": name} in a JSON value.
func fill(v any, values map[string]any) (any, error) {
	var err error
	switch v := v.(type) {
	case map[string]any:
		if name, ok := v["$"].(string); ok && len(v) == 1 {
			value, known := values[name]
			if !known {
				return nil, fmt.Errorf("nothing stands for %q here", name)
			}
			return value, nil
		}
		filled := map[string]any{}
		for name, member := range v {
			if filled[name], err = fill(member, values); err != nil {
				return nil, err
			}
		}
		return filled, nil
	case []any:
		filled := make([]any, len(v))
		for i, element := range v {
			if filled[i], err = fill(element, values); err != nil {
				return nil, err
			}
		}
		return filled, nil
	}
	return v, nil
}

// units is the length of s in code points, or in UTF-16 code units.
func units(s, unit string) int {
	if unit == "utf16" {
		return len(utf16.Encode([]rune(s)))
	}
	return utf8.RuneCountInString(s)
}

var counter = regexp.MustCompile(`(?s)^(.*?)( |\n\n?)\(([0-9]+)/([0-9]+)\)$`)

// uncounted is content without the counter at its end.
func uncounted(content string) string {
	if found := counter.FindStringSubmatch(content); found != nil {
		return found[1]
	}
	return content
}

// sameWords says whether contents, counters aside, are exactly the words of whole.
func sameWords(contents []string, whole text) bool {
	var bare []string
	for _, content := range contents {
		bare = append(bare, uncounted(content))
	}
	return slices.Equal(strings.Fields(strings.Join(bare, " ")), strings.Fields(string(whole)))
}
