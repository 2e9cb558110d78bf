package devconnector

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Command is one of a command_manifest, as it would be registered with Discord.
type Command struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Options     json.RawMessage `json:"options,omitempty"`
}

var commandName = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// register takes the manifest of a hello (section 4): its commands take the place of those that were registered before. Bad
// entries are dropped one by one. It returns what to tell of it.
func (s *socket) register(f frame) (told string) {
	if len(f.Manifest) == 0 {
		return ""
	}
	var list []json.RawMessage
	if f.Platform != "discord" || json.Unmarshal(f.Manifest, &list) != nil {
		s.breach("command_manifest that is no list, or not Discord's")
		return ""
	}
	taken := []Command{}
	var names []string
	for i, raw := range list {
		var c Command
		if err := json.Unmarshal(raw, &c); err != nil || !commandName.MatchString(c.Name) || c.Description == "" {
			s.breach(fmt.Sprintf("command_manifest[%d] is no command", i))
			continue
		}
		taken, names = append(taken, c), append(names, "/"+c.Name)
	}
	s.c.commands = taken
	if len(names) == 0 {
		return "registers no commands"
	}
	return "registers " + strings.Join(names, " ")
}
