package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/dormouse-relay/dormouse/internal/conform"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

// profile takes up what dormouse conform connector has met: the settings, the identity if --identity does not say another one,
// and warnings of what the connector does otherwise. What --set says wins.
func (p *preparation) profile() error {
	file := p.cmd.String("profile")
	if file == "" {
		return nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return misuse(fmt.Errorf("--profile: %w", err))
	}
	if _, err := devconnector.ReadPreset(raw); err != nil {
		return misuse(fmt.Errorf("--profile: %s: %w", file, err))
	}
	var met conform.Profile
	if err := json.Unmarshal(raw, &met); err != nil {
		return misuse(fmt.Errorf("--profile: %s: %w", file, err))
	}
	settings, err := settingsOf(p.parameters["Settings"])
	if err != nil {
		return err
	}
	for name, value := range met.Settings {
		if name == "GATEWAY_RELAY_IDENTITY" {
			continue // a parameter of the template
		}
		settings[name] = value
	}
	if err := p.setSettings(settings); err != nil {
		return err
	}
	return p.met(met.Needs)
}

// met says what a connector needs.
func (p *preparation) met(needs conform.Needs) error {
	kind := map[string]string{"pinned": "pinned", "enroll": "pinned", "none": "none"}[needs.Credentials]
	if kind != "" && !p.cmd.IsSet("identity") && (kind == "none" || p.cmd.IsSet("credentials-arn")) {
		if err := p.cmd.Set("identity", kind); err != nil {
			return err
		}
	}
	if kind == "pinned" && !p.cmd.IsSet("credentials-arn") && p.parameters["CredentialsArn"] == "" {
		p.warn("the connector does not provision: its credentials have to be pinned (--identity pinned --credentials-arn ARN, docs/connectors.md)")
	}
	for _, bot := range p.cmd.StringSlice("bot") {
		if needs.BotIDs && !strings.Contains(bot, "=") {
			p.warn("the connector refuses actions of a bot without an id: --bot %s=ID", bot)
		}
	}
	switch needs.Poke {
	case "none":
		p.warn("the connector does not poke: messages wait for the next sweep, 5 minutes to an hour")
	case "get", "":
	default:
		p.warn("the connector pokes by %s, not by GET", strings.ToUpper(needs.Poke))
	}
	if needs.InFlight == "none is buffered" {
		p.warn("the connector buffers nothing: what is written while the gateway sleeps is lost")
	}
	return nil
}
