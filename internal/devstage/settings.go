package devstage

import (
	"slices"
	"strings"

	"github.com/dormouse-relay/dormouse/internal/config"
)

// Setting is one of drain's, as it is in force.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"` // who gave it: "default", "dormouse dev", "this shell" ...
	Secret bool   `json:"secret"` // then Value says only whether it is set
}

// settingsInForce are all that drain knows, with what is given.
func settingsInForce(given map[string]Given) []Setting {
	defaults := config.Defaults()
	names := map[string]bool{}
	for name := range defaults {
		names[name] = true
	}
	for name := range given {
		names[name] = true
	}
	var list []Setting
	for name := range names {
		s := Setting{Name: name, Value: defaults[name], Source: "default"}
		if g, ok := given[name]; ok && g.Value != "" {
			s.Value, s.Source = g.Value, g.Source
		}
		if s.Secret = secret(name); s.Secret && s.Value != "" {
			s.Value = "set, not shown"
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// secret reports whether a setting's value lets somebody do something: the wake URL and the agent's may hold a credential.
func secret(name string) bool {
	return slices.Contains(config.Secrets(), name) || name == "GATEWAY_RELAY_WAKE_URL" ||
		strings.HasPrefix(name, "AWS_") && (strings.Contains(name, "KEY") || strings.Contains(name, "TOKEN"))
}
