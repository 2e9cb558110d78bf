package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// samMark begins a samconfig.toml of ours: only such a one is written over.
const samMark = "# Written by dormouse init, which takes this file up again when it is run once more: change what you like."

// samConfig is what sam deploy reads from samconfig.toml, as far as dormouse init writes it.
type samConfig struct {
	Version float64     `toml:"version"`
	Default samDefaults `toml:"default"`
}

type samDefaults struct {
	Global struct {
		Parameters samGlobal `toml:"parameters"`
	} `toml:"global"`
	Deploy struct {
		Parameters samDeploy `toml:"parameters"`
	} `toml:"deploy"`
}

type samGlobal struct {
	Stack  string `toml:"stack_name"`
	Region string `toml:"region"`
}

type samDeploy struct {
	Capabilities string            `toml:"capabilities"`
	ResolveS3    bool              `toml:"resolve_s3"`
	Confirm      bool              `toml:"confirm_changeset"`
	FailEmpty    bool              `toml:"fail_on_empty_changeset"`
	Overrides    map[string]string `toml:"parameter_overrides"`
}

// writeSamConfig writes the file in one step, readable for its owner alone: it names the wake URL's path.
func writeSamConfig(path, stack, region string, parameters map[string]string) error {
	c := samConfig{Version: 0.1}
	c.Default.Global.Parameters = samGlobal{stack, region}
	c.Default.Deploy.Parameters = samDeploy{Capabilities: "CAPABILITY_IAM", ResolveS3: true, Overrides: map[string]string{}}
	for name, value := range parameters {
		c.Default.Deploy.Parameters.Overrides[name] = samQuote(value)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n# Whoever knows WakePath can start the gateway: keep this file where few can read it.\n\n", samMark)
	encoder := toml.NewEncoder(&b)
	encoder.Indent = ""
	if err := encoder.Encode(c); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".samconfig-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(b.Bytes())
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// readSamConfig reads a file that writeSamConfig wrote. There is none if there is no file. Another one is an error.
func readSamConfig(path string) (c samConfig, there bool, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, false, nil
	}
	if err != nil {
		return c, false, fmt.Errorf("reading %s: %w", path, err)
	}
	if !strings.HasPrefix(string(raw), samMark) {
		return c, false, misuse(fmt.Errorf("%s is there already, and dormouse init did not write it: move it away, or name another file "+
			"with --config-file, here and to sam deploy", path))
	}
	if err := toml.Unmarshal(raw, &c); err != nil {
		return c, false, fmt.Errorf("%s cannot be read: %w: mend it, or move it away", path, err)
	}
	for name, value := range c.Default.Deploy.Parameters.Overrides {
		c.Default.Deploy.Parameters.Overrides[name] = samUnquote(value)
	}
	return c, true, nil
}

// samQuote writes a value so that sam reads it as it is. From each value of a table sam takes one pair of quotes around it,
// and then the backslash before each blank and quote, whatever stands before that.
func samQuote(value string) string {
	quoted := samEscapes.Replace(value)
	if quoted != "" && (quoted[0] == '"' || quoted[0] == '\'') && quoted[0] == quoted[len(quoted)-1] {
		return `"` + quoted + `"`
	}
	return quoted
}

// Only what sam would take for an escape is escaped: the rest stays readable.
var samEscapes = strings.NewReplacer(`\ `, `\\ `, `\"`, `\\"`, `\'`, `\\'`)

// samUnquote reads a value as sam does.
func samUnquote(value string) string {
	if value != "" && (value[0] == '"' || value[0] == '\'') && value[0] == value[len(value)-1] {
		value = value[1:max(1, len(value)-1)]
	}
	for _, escaped := range []string{" ", `"`, "'"} {
		value = strings.ReplaceAll(value, `\`+escaped, escaped)
	}
	return value
}
