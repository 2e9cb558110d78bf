package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"github.com/dormouse-relay/dormouse/internal/config"
)

// deployable is what dormouse init reads of template.yaml: its parameters, and what CloudFormation will say of their values.
type deployable struct {
	Parameters map[string]templateParameter `yaml:"Parameters"`
}

type templateParameter struct {
	Default     any    `yaml:"Default"`
	Allowed     []any  `yaml:"AllowedValues"`
	Pattern     string `yaml:"AllowedPattern"`
	Constraint  string `yaml:"ConstraintDescription"`
	Description string `yaml:"Description"`
	Longest     int    `yaml:"MaxLength"`
	Shortest    int    `yaml:"MinLength"`
}

func readDeployable(path string) (d deployable, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d, fmt.Errorf("there is no %s here: run this in the tree that will be deployed (git clone it, and cd into it)", path)
	}
	if err == nil {
		err = yaml.Unmarshal(raw, &d)
	}
	if err != nil {
		return d, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(d.Parameters) == 0 {
		return d, fmt.Errorf("%s has no parameters: is it Dormouse's?", path)
	}
	return d, nil
}

// fault says why CloudFormation would refuse a value; it is empty if it would not.
func (d deployable) fault(name, value string) string {
	p := d.Parameters[name]
	want := p.Constraint
	if len(p.Allowed) > 0 {
		var words []string
		for _, allowed := range p.Allowed {
			words = append(words, fmt.Sprint(allowed))
		}
		if slices.Contains(words, value) {
			return ""
		}
		return "want one of " + strings.Join(words, ", ")
	}
	length := utf8.RuneCountInString(value)
	if length < p.Shortest || p.Longest > 0 && length > p.Longest {
		return fmt.Sprintf("has %d characters, want %d to %d", length, p.Shortest, p.Longest)
	}
	if p.Pattern != "" && !regexp.MustCompile(p.Pattern).MatchString(value) {
		return "want " + want
	}
	return ""
}

// formerParameters are parameters that template.yaml once had, and the settings that took their place.
var formerParameters = map[string]string{
	"DisplayName": "GATEWAY_RELAY_DISPLAY_NAME", "Endpoint": "GATEWAY_RELAY_ENDPOINT", "RouteKeys": "GATEWAY_RELAY_ROUTE_KEYS",
	"IdpScope": "GATEWAY_RELAY_IDP_SCOPE", "RequireMention": "GATEWAY_RELAY_REQUIRE_MENTION",
	"FreeResponseScopes": "GATEWAY_RELAY_FREE_RESPONSE_SCOPES", "DiscordAllowBots": "DISCORD_ALLOW_BOTS",
	"SlackAllowBots": "SLACK_ALLOW_BOTS", "TelegramAllowBots": "TELEGRAM_ALLOW_BOTS", "AgentTimeout": "DORMOUSE_AGENT_TIMEOUT",
	"Concurrency": "DORMOUSE_CONCURRENCY", "MaxAttempts": "DORMOUSE_MAX_ATTEMPTS", "GiveUpAfter": "DORMOUSE_GIVE_UP_AFTER",
	"StaleAfter": "DORMOUSE_STALE_AFTER", "OutboundTimeout": "DORMOUSE_OUTBOUND_TIMEOUT", "Stop": "DORMOUSE_STOP",
	"Apology": "DORMOUSE_APOLOGY", "Texts": "DORMOUSE_TEXTS", "Commands": "DORMOUSE_COMMANDS", "Passthrough": "DORMOUSE_PASSTHROUGH",
	"BotTurns": "DORMOUSE_BOT_TURNS", "MaxTurnsPerDay": "DORMOUSE_MAX_TURNS_PER_DAY",
	"IdleAfter": "DORMOUSE_IDLE_AFTER", "EmptyAfter": "DORMOUSE_EMPTY_AFTER", "PokeCooldown": "DORMOUSE_POKE_COOLDOWN",
	"SecondLook": "DORMOUSE_SECOND_LOOK", "Sweep": "DORMOUSE_SWEEP", "SweepMax": "DORMOUSE_SWEEP_MAX", "Lease": "DORMOUSE_LEASE",
	"HandoffMargin": "DORMOUSE_HANDOFF_MARGIN", "MaxHandoffs": "DORMOUSE_MAX_HANDOFFS", "LogLevel": "DORMOUSE_LOG_LEVEL",
}

// variable is what a parameter fills: the first word of its description, where it is one.
func (p templateParameter) variable() string {
	name, _, _ := strings.Cut(p.Description, ". ")
	if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
		return ""
	}
	return name
}

// settings are what the deployed drain would make of parameters. The error is what it would say when it starts.
func (d deployable) settings(stack string, parameters map[string]string) (config.DrainSettings, error) {
	environ := map[string]string{"AWS_LAMBDA_FUNCTION_NAME": stack + "-drain"}
	for name, value := range parameters {
		if variable := d.Parameters[name].variable(); variable != "" {
			environ[variable] = value
		}
	}
	return config.Drain(environ)
}

// settingsOf reads a value of the parameter Settings.
func settingsOf(raw string) (map[string]any, error) {
	settings := map[string]any{}
	if raw == "" {
		return settings, nil
	}
	if err := json.Unmarshal([]byte(raw), &settings); err != nil {
		return nil, misuse(fmt.Errorf(`the parameter Settings is no JSON object: want {"NAME":"value",...}`))
	}
	return settings, nil
}

// setSettings writes the parameter Settings: its names are sorted, and what a shell or sam might read otherwise is escaped.
func (p *preparation) setSettings(settings map[string]any) error {
	if len(settings) == 0 {
		delete(p.parameters, "Settings")
		return nil
	}
	raw, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	p.parameters["Settings"] = string(raw)
	return nil
}

// check says what CloudFormation, and then the functions, would refuse; and warns of what looks like a mistake.
func (p *preparation) check() error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(p.parameters)) {
		value := p.parameters[name]
		if value == "" && p.template.Parameters[name].Default != nil {
			delete(p.parameters, name)
			continue
		}
		if fault := p.template.fault(name, value); fault != "" {
			faults = append(faults, fmt.Errorf("the parameter %s %s", name, fault))
		}
	}
	s, err := p.template.settings(p.stack, p.parameters)
	if err := errors.Join(append(faults, err)...); err != nil {
		return misuse(fmt.Errorf("nothing was written: %w", err))
	}
	p.warnings = append(p.warnings, s.Warnings...)
	if len(p.stack) > 58 {
		return misuse(fmt.Errorf("nothing was written: the stack's name has %d characters, want 58 at most", len(p.stack)))
	}
	return nil
}
