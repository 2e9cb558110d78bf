package action

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// needed is for a member that must be there.
func needed(a relay.Action, name string) error {
	if text, ok := a[name].(string); !ok || strings.TrimSpace(text) == "" {
		return fmt.Errorf("%s: want a string that is not empty", name)
	}
	return nil
}

// none says whether a member is not there: many languages write an empty text for that.
func none(a relay.Action, name string) bool {
	text, isText := a[name].(string)
	return a[name] == nil || isText && strings.TrimSpace(text) == ""
}

// optional is for a member that the wire does not have when there is none.
func optional(a relay.Action, name string) error {
	if none(a, name) {
		delete(a, name)
		return nil
	}
	return needed(a, name)
}

// nullable is for a member that the wire has as null when there is none.
func nullable(a relay.Action, name string) error {
	if none(a, name) {
		a[name] = nil
		return nil
	}
	return needed(a, name)
}

// boolean is for a member that is false when the agent leaves it out.
func boolean(a relay.Action, name string) error {
	if a[name] == nil {
		a[name] = false
	}
	if _, ok := a[name].(bool); !ok {
		return fmt.Errorf("%s: want true or false", name)
	}
	return nil
}

// oneOf is for a member that must be one of words.
func oneOf(a relay.Action, name string, words ...string) error {
	if text, ok := a[name].(string); !ok || !slices.Contains(words, text) {
		return fmt.Errorf("%s: want one of %s", name, strings.Join(words, ", "))
	}
	return nil
}

// shorten shortens text to so many characters.
func shorten(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return strings.TrimSpace(string(runes[:most]))
	}
	return text
}
