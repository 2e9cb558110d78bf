package treecheck

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/awsconf"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/roots"
)

// documented is the table of docs/settings.md: what the column default says of each variable.
func documented(t *testing.T) map[string]string {
	t.Helper()
	is := is.New(t)
	content, err := os.ReadFile(filepath.Join(root, "docs", "settings.md"))
	is.NoErr(err)
	names := regexp.MustCompile("`([A-Z_]+)`")
	table := map[string]string{}
	text, _, _ := strings.Cut(string(content), tableStart)
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		is.Equal(len(cells), 3) // variable, meaning, default
		for _, name := range names.FindAllStringSubmatch(cells[0], -1) {
			table[name[1]] = strings.TrimSpace(cells[2])
		}
	}
	return table
}

func TestEveryVariableIsDocumentedAndDeployed(t *testing.T) {
	tpl := readTemplate(t)
	table := documented(t)
	deployed := map[string][]string{
		"WakeFunction":  slices.Collect(maps.Keys(tpl.Resources["WakeFunction"].variables())),
		"DrainFunction": slices.Collect(maps.Keys(tpl.Resources["DrainFunction"].variables())),
	}
	read := map[string][]string{"WakeFunction": config.WakeVariables(), "DrainFunction": config.DrainVariables()}

	for function, variables := range read {
		for _, name := range variables {
			if _, ok := table[name]; !ok {
				t.Errorf("docs/settings.md lacks %s", name)
			}
		}
		for _, name := range deployed[function] {
			if !slices.Contains(variables, name) && name != "GOMEMLIMIT" && !allowBots(name) { // the Go runtime reads the former
				t.Errorf("template.yaml sets %s for %s, which does not read it", name, function)
			}
		}
	}
	for function := range read { // what has no parameter of its own goes into this one
		if parameter := parameterOf(tpl.Resources[function].variables()["DORMOUSE_SETTINGS"]); parameter != "Settings" {
			t.Errorf("template.yaml fills DORMOUSE_SETTINGS of %s from %q, want Settings", function, parameter)
		}
	}
	others := slices.Concat(awsconf.Variables(), roots.Variables())
	for _, name := range others {
		if _, ok := table[name]; !ok {
			t.Errorf("docs/settings.md lacks %s", name)
		}
	}
	for name := range table {
		if !slices.Contains(slices.Concat(read["WakeFunction"], read["DrainFunction"], others), name) &&
			name != "GOMEMLIMIT" && name != "AWS_LAMBDA_FUNCTION_NAME" && !allowBots(name) {
			t.Errorf("docs/settings.md has %s, which nothing reads", name)
		}
	}
}

// allowBots names are read for each fronted platform, so no list has them all.
func allowBots(name string) bool { return strings.HasSuffix(name, "_ALLOW_BOTS") }

func TestDocumentedDefaultsAreTheDefaults(t *testing.T) {
	is := is.New(t)
	environ := map[string]string{
		"GATEWAY_RELAY_URL": "https://connector.example", "AWS_LAMBDA_FUNCTION_NAME": "drain", "GATEWAY_RELAY_IDENTITY": "none",
	}
	unset, err := config.Drain(environ)
	is.NoErr(err)
	tpl := readTemplate(t)
	value := regexp.MustCompile("^`([^`]+)`$")
	checked := 0
	for name, cell := range documented(t) {
		match := value.FindStringSubmatch(cell)
		if match == nil {
			continue
		}
		with := maps.Clone(environ)
		with[name] = match[1]
		set, err := config.Drain(with)
		is.NoErr(err)
		is.Equal(set, unset) // a variable set to its documented default changes nothing
		parameter := parameterOf(tpl.Resources["DrainFunction"].variables()[name])
		if description := tpl.Parameters[parameter].Description; parameter != "" && !strings.Contains(description, " Empty is "+match[1]+".") {
			t.Errorf("%s is %s by default, but template.yaml says: %s", name, match[1], description)
		}
		settings, err := json.Marshal(map[string]string{name: match[1]})
		is.NoErr(err)
		with = maps.Clone(environ)
		with["DORMOUSE_SETTINGS"] = string(settings)
		set, err = config.Drain(with)
		is.NoErr(err)
		is.Equal(set, unset) // nor does it in Settings
		checked++
	}
	is.True(checked > 10)
}

const tableStart = "<!-- made by go generate ./internal/config -->\n"

// The last table of docs/settings.md is made from the code and the template: go generate ./internal/config writes it.
func TestSettingsTableIsMadeFromTheCode(t *testing.T) {
	filled := readTemplate(t).Resources["DrainFunction"].variables()
	tpl := readTemplate(t)
	defaults := config.Defaults()
	var b strings.Builder
	b.WriteString("| variable | set by | default |\n| --- | --- | --- |\n")
	for _, name := range config.DrainVariables() {
		by, standard := "`Settings`", ""
		switch parameter := parameterOf(filled[name]); {
		case tpl.Parameters[parameter].Description != "":
			by = "the parameter `" + parameter + "`"
		case filled[name] != nil:
			by = "the template"
		case strings.HasPrefix(name, "AWS_"):
			by = "Lambda"
		case slices.Contains(config.Secrets(), name):
			by = "nobody on Lambda: it is a secret"
		}
		if name == "GATEWAY_RELAY_ID" {
			by = "the parameter `RelayId`, else the template"
		}
		if defaults[name] != "" {
			standard = "`" + defaults[name] + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, by, standard)
	}
	isMade(t, "settings.md", tableStart, b.String(), "go generate ./internal/config")
}
