package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
)

// The workflow's shell lines run as they are, as GitHub runs them, against a development connector; go install alone stands for
// itself, as the tests have no network.
func TestTheWorkflowsLinesRun(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("skipped: no %s here", tool)
		}
	}
	raw, err := os.ReadFile("../../examples/deploy/conform.yml")
	is.NoErr(err)
	var workflow struct {
		Jobs map[string]struct {
			Env   map[string]string
			Steps []struct {
				Name, Run, Uses string
				Env             map[string]string
			}
		}
	}
	is.NoErr(yaml.Unmarshal(raw, &workflow))
	job := workflow.Jobs["conformance"]

	dir, bin := t.TempDir(), t.TempDir()
	program := rigtest.Build(t, "cmd/dormouse")
	is.NoErr(os.Symlink(program, filepath.Join(bin, "dormouse")))
	installs := "#!/bin/sh\n[ \"$*\" = 'install github.com/dormouse-relay/dormouse/cmd/dormouse@main' ]\n"
	rigtest.Script(t, filepath.Join(bin, "go"), installs)
	url, control := subject(t, "hosted") // it is running already, with the gateway gw-7
	rigtest.Script(t, filepath.Join(dir, "start-connector"), "#!/bin/sh\n[ -n \"$CONFORM_SECRET\" ]\n")
	is.NoErr(os.WriteFile(filepath.Join(dir, "conformance.json"), []byte(`{"known":[{"id":"action-again","reason":"nobody sends one twice"}]}`), 0o600))

	secrets := regexp.MustCompile(`\$\{\{ *secrets\.CONFORM_SECRET *\}\}`)
	steps := 0
	for _, step := range job.Steps {
		if step.Run == "" {
			continue
		}
		steps++
		lines := strings.ReplaceAll(step.Run, "--gateway-id conform", "--gateway-id gw-7")
		cmd := exec.CommandContext(t.Context(), "bash", "-e", "-o", "pipefail", "-c", lines)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		for name, value := range job.Env {
			value = strings.NewReplacer("http://127.0.0.1:8787", url, "http://127.0.0.1:8788", control).Replace(value)
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		for name, value := range step.Env {
			cmd.Env = append(cmd.Env, name+"="+secrets.ReplaceAllString(value, conformSecret))
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", step.Name, err, out)
		}
	}
	is.Equal(steps, 3)
	for _, name := range []string{"conformance.xml", "conformance.html"} {
		_, err := os.Stat(filepath.Join(dir, name))
		is.NoErr(err) // what is uploaded is there
	}
}
