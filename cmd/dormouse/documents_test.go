package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/matryer/is"
)

// written is a command in a document.
type written struct {
	at      string // file and heading
	line    string
	section string // what stands between its heading and it
}

// programs are the first words that make a line of a code block a command. Blocks also show output and drawings.
var programs = []string{
	"build/dormouse", "dormouse", "make", "sam", "aws", "go", "git", "node", "python3", "curl", "sh", "export", "unset", "cd", "npm", "uv",
}

// commandsIn are the commands in the code blocks of a document, continued lines joined.
func commandsIn(t *testing.T, file string) (list []written) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../..", file))
	is.New(t).NoErr(err)
	heading, section, fenced := "", "", ""
	assignment := regexp.MustCompile(`^[A-Z_]+=\S* `)
	text := strings.ReplaceAll(string(raw), "\\\n", " ")
	for line := range strings.Lines(text) {
		bare := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(bare, "```"):
			if fenced == "" {
				fenced = bare
			} else {
				fenced = ""
			}
			continue
		case fenced == "" && strings.HasPrefix(line, "#"):
			heading, section = bare, ""
		case fenced == "" && !strings.HasPrefix(line, "    "):
			section += line
			for _, span := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) { // inline
				if strings.HasPrefix(span[1], "build/dormouse ") || strings.HasPrefix(span[1], "make ") {
					list = append(list, written{file + ": " + heading, span[1], section})
				}
			}
			continue
		}
		command := bare
		for assignment.MatchString(command) {
			command = assignment.ReplaceAllString(command, "")
		}
		first, _, _ := strings.Cut(command, " ")
		if (fenced == "" || fenced == "```sh" || fenced == "```bash" || fenced == "```") && slices.Contains(programs, first) {
			list = append(list, written{file + ": " + heading, command, section})
		}
	}
	return list
}

// words splits a command line as a shell does. It runs nothing: what would be run is left out.
func words(t *testing.T, line string) []string {
	t.Helper()
	line = regexp.MustCompile(`\$\([^)]*\)`).ReplaceAllString(line, "X")
	for _, end := range []string{" | ", " && ", " > ", " 2>", " &", " # "} {
		line, _, _ = strings.Cut(line+" ", end)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-fc", "printf '%s\\n' "+strings.TrimSpace(line)).Output()
	is.New(t).NoErr(err)
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// needsAccount says whether a command reaches an AWS account, so that the document has to say so.
func needsAccount(args []string) bool {
	switch args[0] {
	case "aws":
		return true
	case "sam":
		return args[1] == "deploy"
	case "build/dormouse", "dormouse":
		stack := slices.Index(args, "--stack")
		return len(args) > 1 && slices.Contains([]string{"init", "enroll", "rotate", "remove"}, args[1]) ||
			stack > 0 && stack+1 < len(args) && args[stack+1] != "local"
	}
	return false
}

// Every command in the documents is one: this program's are parsed by it, others by what is known of them. Those that need an AWS
// account are in a section that says so; tests run the others.
func TestEveryCommandInTheDocumentsIsRight(t *testing.T) {
	is := is.New(t)
	files := []string{"README.md", "CONTRIBUTING.md", "examples/README.md"}
	more, err := filepath.Glob("../../docs/*.md")
	is.NoErr(err)
	for _, file := range append(more, "../../docs/agent/README.md", "../../docs/model/README.md") {
		files = append(files, strings.TrimPrefix(file, "../../"))
	}
	makefile, err := os.ReadFile("../../Makefile")
	is.NoErr(err)
	template, err := readDeployable("../../template.yaml")
	is.NoErr(err)
	seen := map[string]int{}
	for _, file := range files {
		for _, w := range commandsIn(t, file) {
			args := words(t, w.line)
			seen[args[0]]++
			if needsAccount(args) && !strings.Contains(w.section, "AWS account") {
				t.Errorf("%s: %s: needs an AWS account, which its section does not say", w.at, w.line)
			}
			switch args[0] {
			case "build/dormouse", "dormouse":
				if _, err := parse(t.Context(), append([]string{"dormouse"}, args[1:]...)...); err != nil {
					t.Errorf("%s: %s: %v", w.at, w.line, err)
				}
			case "make":
				for _, target := range args[1:] {
					if !strings.Contains(target, "=") && !strings.Contains(string(makefile), "\n"+target+":") {
						t.Errorf("%s: %s: the Makefile has no target %s", w.at, w.line, target)
					}
				}
			case "sam":
				checkSam(t, w, args, template)
			case "aws":
				if known := awsCommands[strings.Join(args[1:min(3, len(args))], " ")]; known == nil || !onlyFlags(args[3:], known) {
					t.Errorf("%s: %s: not known here: look it up in the AWS command line's reference, and add it", w.at, w.line)
				}
			case "node", "python3", "sh":
				if len(args) > 1 && strings.Contains(args[1], "/") {
					if _, err := os.Stat(filepath.Join("../..", args[1])); err != nil {
						t.Errorf("%s: %s: %v", w.at, w.line, err)
					}
				}
			}
		}
	}
	t.Log(seen)
	for _, program := range []string{"build/dormouse", "make", "sam", "aws", "go"} {
		is.True(seen[program] > 2) // the documents were read
	}
}

// awsCommands are the AWS command line's that the documents name, with the options that they take.
var awsCommands = map[string][]string{
	"iam enable-outbound-web-identity-federation":   {},
	"iam get-outbound-web-identity-federation-info": {},
	"ssm put-parameter":                             {"--type", "--name", "--value", "--overwrite"},
}

func onlyFlags(args, known []string) bool {
	for _, arg := range args {
		if strings.HasPrefix(arg, "--") && !slices.Contains(known, arg) {
			return false
		}
	}
	return true
}

// checkSam checks a line of the SAM command line: the command, its options, the function and the event.
func checkSam(t *testing.T, w written, args []string, template deployable) {
	t.Helper()
	known := map[string][]string{
		"build": {}, "deploy": {"--config-file", "--no-confirm-changeset"}, "validate": {"--lint", "--template"},
		"local": {"--event", "--parameter-overrides"},
	}
	flags, ok := known[args[1]]
	if !ok || !onlyFlags(args[2:], flags) {
		t.Errorf("%s: %s: no such command or option of sam's is known here", w.at, w.line)
	}
	for i, arg := range args {
		switch {
		case arg == "--event":
			if _, err := os.Stat(filepath.Join("../..", args[i+1])); err != nil {
				t.Errorf("%s: %s: %v", w.at, w.line, err)
			}
		case i > 1 && args[1] == "local" && strings.Contains(arg, "="):
			name, value, _ := strings.Cut(arg, "=")
			if _, there := template.Parameters[name]; !there || template.fault(name, value) != "" {
				t.Errorf("%s: %s: the template does not take %s", w.at, w.line, arg)
			}
		}
	}
}

// The workflow that examples have: its steps are commands that there are, in the order in which they have to come.
func TestTheDeploymentFromGitHubIsRight(t *testing.T) {
	is := is.New(t)
	raw, err := os.ReadFile("../../examples/deploy/github.yml")
	is.NoErr(err)
	var workflow struct {
		Permissions map[string]string
		Jobs        map[string]struct {
			Environment string
			Steps       []struct{ Uses, Run string }
		}
	}
	is.NoErr(yaml.Unmarshal(raw, &workflow))
	is.Equal(workflow.Permissions["id-token"], "write") // no AWS key is stored
	is.True(!strings.Contains(string(raw), "AWS_SECRET_ACCESS_KEY"))
	template, err := readDeployable("../../template.yaml")
	is.NoErr(err)
	var ran []string
	for _, step := range workflow.Jobs["deploy"].Steps {
		if step.Run == "" {
			continue
		}
		is.True(!strings.Contains(step.Run, "${{")) // values come by variables, so that the shell reads none as a command
		args := words(t, step.Run)
		ran = append(ran, strings.Join(args[:2], " "))
		switch args[0] {
		case "build/dormouse":
			_, err := parse(t.Context(), append([]string{"dormouse"}, args[1:]...)...)
			is.NoErr(err)
		case "sam":
			checkSam(t, written{at: "github.yml", line: step.Run}, args, template)
		}
	}
	is.Equal(ran, []string{"make host", "build/dormouse init", "sam build", "sam deploy", "build/dormouse arm"})
}
