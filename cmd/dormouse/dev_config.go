package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/devstage"
	"github.com/dormouse-relay/dormouse/internal/rig"
)

func newToken() string { return rand.Text() }

// devConfig is what a command line asks for.
func devConfig(cmd *cli.Command) (cfg devstage.Config, err error) {
	if cmd.Duration("schedule") <= 0 {
		return cfg, misuse(fmt.Errorf("--schedule is %v: want more than 0", cmd.Duration("schedule")))
	}
	cfg.Schedule = cmd.Duration("schedule")
	if cfg.Dir, err = filepath.Abs(cmd.String("dir")); err != nil {
		return cfg, fmt.Errorf("--dir: %w", err)
	}
	if cfg.Preset, err = devPreset(cmd.String("preset")); err != nil {
		return cfg, err
	}
	if cfg.Settings, err = devSettings(config.Environ(), cmd.StringSlice("set")); err != nil {
		return cfg, misuse(err)
	}
	if cfg.Agent, err = devAgent(cmd.String("agent"), cmd.String("agent-url")); err != nil {
		return cfg, misuse(err)
	}
	if dir := cmd.String("functions"); dir != "" {
		built, err := rig.Find(dir)
		cfg.Wake, cfg.Drain = []string{built.Wake}, []string{built.Drain}
		return cfg, err
	}
	cfg.Wake, cfg.Drain, err = selfAs()
	return cfg, err
}

// ofTheStage are settings that dormouse dev makes itself: the two sides of the gateway are here, whatever a shell names.
var ofTheStage = []string{
	"DORMOUSE_AGENT", "DORMOUSE_AGENT_SECRET_ARN", "DORMOUSE_AGENT_STREAM", "DORMOUSE_ALLOW_ENV_SECRETS", "DORMOUSE_SETTINGS", "DORMOUSE_TABLE",
}

// policies are of the connector's side, and may be tried here.
var policies = []string{"GATEWAY_RELAY_REQUIRE_MENTION", "GATEWAY_RELAY_FREE_RESPONSE_SCOPES", "GATEWAY_RELAY_ROUTE_KEYS", "GATEWAY_RELAY_DISPLAY_NAME"}

// settable says whose a setting is; known is false for none.
func settable(name string) (ours, known bool) {
	ours = strings.HasSuffix(name, "_ALLOW_BOTS") ||
		slices.ContainsFunc(policies, func(policy string) bool { return name == policy || strings.HasPrefix(name, policy+"_") }) ||
		strings.HasPrefix(name, "DORMOUSE_") && slices.Contains(config.DrainVariables(), name) && !slices.Contains(ofTheStage, name)
	return ours, ours || slices.Contains(config.DrainVariables(), name)
}

// devSettings are those of this shell's variables that are for a gateway here, and those of --set.
func devSettings(environ map[string]string, set []string) (map[string]devstage.Given, error) {
	given := map[string]devstage.Given{}
	for name, value := range environ {
		if ours, _ := settable(name); ours && value != "" {
			given[name] = devstage.Given{Value: value, Source: "this shell"}
		}
	}
	var faults []error
	for _, pair := range set {
		name, value, ok := strings.Cut(pair, "=")
		switch ours, known := settable(name); {
		case !ok:
			faults = append(faults, fmt.Errorf("--set %s: want NAME=VALUE", name))
		case !known:
			faults = append(faults, fmt.Errorf("--set %s: there is no such setting: see docs/settings.md", name))
		case !ours:
			faults = append(faults, fmt.Errorf("--set %s: dormouse dev sets it itself", name))
		default:
			given[name] = devstage.Given{Value: value, Source: "--set"}
		}
	}
	return given, errors.Join(faults...)
}

// devAgent understands --agent: echo, a URL, or a command, which is a shell's if it uses anything of a shell's.
func devAgent(agent, url string) (devstage.Agent, error) {
	isURL := strings.HasPrefix(agent, "http://") || strings.HasPrefix(agent, "https://")
	switch agent = strings.TrimSpace(agent); {
	case agent == "":
		return devstage.Agent{}, errors.New("--agent is empty: want echo, a URL or a command")
	case (agent == "echo" || isURL) && url != "":
		return devstage.Agent{}, errors.New("--agent-url is for an --agent that is a command")
	case agent == "echo":
		return devstage.Agent{}, nil
	case isURL:
		return devstage.Agent{URL: agent}, nil
	case strings.HasPrefix(agent, "lambda:"):
		return devstage.Agent{}, errors.New("--agent is a Lambda function: want echo, a URL or a command; dormouse host reaches functions on AWS")
	}
	command := strings.Fields(agent)
	if strings.ContainsAny(agent, "|&;<>()$`\\\"'*?[#~=\n") {
		command = []string{"sh", "-c", agent}
	}
	return devstage.Agent{Command: command, URL: url, Watch: watched(strings.Fields(agent))}, nil
}

// watched are the files whose change starts an agent anew: the folders of what its command names, or else the working folder.
// The program itself counts only if it is here: nobody edits /usr/bin.
func watched(words []string) (folders []string) {
	here, err := os.Getwd()
	if err != nil {
		return nil
	}
	for i, word := range words {
		path, err := filepath.Abs(strings.Trim(word, `"'`))
		if err != nil {
			continue
		}
		below, err := filepath.Rel(here, path)
		if outside := err != nil || strings.HasPrefix(below, ".."); i == 0 && outside {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if !info.IsDir() {
			path = filepath.Dir(path)
		}
		if !slices.Contains(folders, path) {
			folders = append(folders, path)
		}
	}
	if len(folders) == 0 {
		return []string{here}
	}
	return folders
}
