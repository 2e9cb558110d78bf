package devstage

import (
	"net/url"
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

// InForce are all settings that drain knows, with what is given, sorted by name. Secrets are redacted.
func InForce(given map[string]Given) []Setting {
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
		switch s.Secret = secret(name); {
		case s.Secret && s.Value != "":
			s.Value = "set, not shown"
		case name == "DORMOUSE_AGENT":
			s.Value = withoutPath(s.Value)
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// withoutPath is an agent as far as everybody may see it: the path of a URL may be a credential.
func withoutPath(agent string) string {
	u, err := url.Parse(agent)
	if err != nil || u.Host == "" {
		return agent
	}
	return u.Scheme + "://" + u.Host + "/..."
}

// secret reports whether a setting's value lets somebody do something: the wake URL and the agent's may hold a credential.
func secret(name string) bool {
	return slices.Contains(config.Secrets(), name) || name == "GATEWAY_RELAY_WAKE_URL" ||
		strings.HasPrefix(name, "AWS_") && (strings.Contains(name, "KEY") || strings.Contains(name, "TOKEN"))
}
