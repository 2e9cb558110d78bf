package main

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/matryer/is"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

const signingSecret = "whsec_c2lnbmVkLWJ5LWluaXQtaW4tYS10ZXN0"

// prepared is a directory with template.yaml, a connector, and an agent that says what it was asked.
type prepared struct {
	dir, connector, agent string
	env                   []string
	turns                 chan string
}

func newPrepared(t *testing.T) *prepared {
	t.Helper()
	is := is.New(t)
	d := &prepared{dir: t.TempDir(), turns: make(chan string, 8)}
	template, err := os.ReadFile("../../template.yaml")
	is.NoErr(err)
	is.NoErr(os.WriteFile(filepath.Join(d.dir, "template.yaml"), template, 0o600))
	connector := devconnector.New(devconnector.Config{Identities: map[string]string{"dev": "dev"}})
	relay := httptest.NewServer(connector)
	t.Cleanup(func() {
		connector.Close(t.Context())
		relay.Close()
	})
	verify, err := standardwebhooks.NewWebhook(signingSecret)
	is.NoErr(err)
	agent := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := verify.Verify(body, r.Header); err != nil {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		d.turns <- string(body)
		io.WriteString(w, `{"text":"pong"}`)
	}))
	t.Cleanup(agent.Close)
	d.connector, d.agent = relay.URL, agent.URL+"/turn?a=1,2"
	roots := filepath.Join(d.dir, "roots.pem")
	is.NoErr(os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: agent.Certificate().Raw}), 0o600))
	d.env = append(os.Environ(), // nothing of AWS answers
		"SSL_CERT_FILE="+roots, "AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_MAX_ATTEMPTS=1", "AWS_REGION=eu-central-1", "AWS_PROFILE=",
		"AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=none",
		"AWS_SHARED_CREDENTIALS_FILE=none", "NO_COLOR=1", agentSecretVariable+"="+signingSecret,
	)
	return d
}

// command is dormouse init in the deployment's directory, a process of its own.
func (d *prepared) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	is.New(t).NoErr(err)
	cmd := exec.CommandContext(t.Context(), self, append([]string{"init"}, args...)...)
	cmd.Dir, cmd.Env = d.dir, d.env
	return cmd
}

// run runs it with nothing to read.
func (d *prepared) run(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	cmd := d.command(t, args...)
	raw, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(raw)
}

// written are the parameters in the file, as this program reads them; sam's own reading is compared below.
func (d *prepared) written(t *testing.T) map[string]string {
	t.Helper()
	is := is.New(t)
	c, there, err := readSamConfig(filepath.Join(d.dir, "samconfig.toml"))
	is.NoErr(err)
	is.True(there)
	return c.Default.Deploy.Parameters.Overrides
}

// typed runs it on a pseudo-terminal. Each answer is typed once its question is there. It returns all that was shown.
func (d *prepared) typed(t *testing.T, answers [][2]string, args ...string) (code int, screen string) {
	t.Helper()
	cmd := d.command(t, args...)
	terminal, err := pty.Start(cmd)
	is.New(t).NoErr(err)
	defer terminal.Close()
	var shown strings.Builder
	chunk := make([]byte, 4096)
	rest := ""
	for {
		n, err := terminal.Read(chunk)
		shown.Write(chunk[:n])
		rest += string(chunk[:n])
		if len(answers) > 0 && strings.Contains(rest, answers[0][0]) && strings.HasSuffix(rest, ": ") {
			io.WriteString(terminal, answers[0][1]+"\n")
			answers, rest = answers[1:], ""
		}
		if err != nil { // EIO: the process has ended
			break
		}
	}
	cmd.Wait()
	for _, answer := range answers {
		t.Errorf("was not asked: %s", answer[0])
	}
	return cmd.ProcessState.ExitCode(), shown.String()
}

func TestInitAsksFiveThingsOnATerminal(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	d := newPrepared(t)
	code, screen := d.typed(t, [][2]string{
		{"The connector's URL", "ftp://connector.example"}, // a wrong answer is asked for again
		{"The connector's URL", d.connector},
		{"Platforms and bot ids", " discord=1234, telegram=5678 "},
		{"Who answers", d.agent},
		{"Identity", "none"},
		{"Where alarms go", "ops@example.com"},
	})
	t.Log(screen)
	is.Equal(code, 0)
	is.Equal(strings.Count(screen, "]: ")+strings.Count(screen, "tells it): ")+strings.Count(screen, "no id): "), 6) // five, and one again
	for _, want := range []string{
		"want a URL that starts with https://", "takes sockets", "the agent answered the trial turn (signed)", "pong",
		"sam build", "sam deploy", "build/dormouse arm --stack dormouse",
	} {
		if !strings.Contains(screen, want) {
			t.Errorf("%q is not on the screen", want)
		}
	}
	var turn struct {
		Event    struct{ Text string }
		Delivery struct{ Trial bool }
	}
	is.NoErr(json.Unmarshal([]byte(<-d.turns), &turn))
	is.Equal(turn.Event.Text, "ping")
	is.True(turn.Delivery.Trial)

	got := d.written(t)
	is.True(regexp.MustCompile("^[0-9a-f]{32}$").MatchString(got["WakePath"]))
	is.True(!strings.Contains(screen, got["WakePath"]))
	delete(got, "WakePath")
	is.Equal(got, map[string]string{
		"RelayUrl": d.connector, "Platforms": "discord,telegram", "BotIds": "discord=1234,telegram=5678", "Agent": d.agent,
		"Identity": "none", "Alarms": "ops@example.com",
	})
}

func TestInitByFlagsAsksNothing(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	d := newPrepared(t)
	flags := []string{
		"--stack", "bot", "--region", "us-west-2", "--connector", d.connector, "--bot", "discord=1234", "--bot", "whatsapp", "--agent", d.agent,
		"--identity", "none", "--alarms", "arn:aws:sns:us-west-2:123456789012:pages", "--set", "DORMOUSE_AGENT_TIMEOUT=2m",
		"--set", "DORMOUSE_APOLOGY=so, \"sorry\" = sorry", "--parameter", "LogRetention=90", "--parameter", "VpcSubnetIds=subnet-1,subnet-2",
		"--parameter", "VpcSecurityGroupIds=sg-1",
	}
	code, out := d.run(t, flags...)
	t.Log(out)
	is.Equal(code, 0)
	is.True(strings.Contains(out, "  export AWS_REGION=us-west-2\n  sam build\n")) // arm does not read samconfig.toml
	got := d.written(t)
	is.Equal(got["Settings"], `{"DORMOUSE_AGENT_TIMEOUT":"2m","DORMOUSE_APOLOGY":"so, \"sorry\" = sorry"}`)
	is.Equal(got["Platforms"]+" "+got["BotIds"], "discord,whatsapp discord=1234")
	is.Equal(got["VpcSubnetIds"], "subnet-1,subnet-2")
	is.True(strings.Contains(out, `no bot id for platform "whatsapp"`)) // as drain would warn
	c, _, err := readSamConfig(filepath.Join(d.dir, "samconfig.toml"))
	is.NoErr(err)
	is.Equal(c.Default.Global.Parameters, samGlobal{"bot", "us-west-2"})

	// Once more: what is not answered anew stays, the wake path above all; what the template no longer has becomes a setting.
	got["LogLevel"], got["MaxAttempts"], got["WakeMemory"] = "debug", "5", "1024"
	is.NoErr(writeSamConfig(filepath.Join(d.dir, "samconfig.toml"), "bot", "us-west-2", got))
	code, out = d.run(t, "--yes", "--alarms", "none", "--no-trial")
	t.Log(out)
	is.Equal(code, 0)
	again := d.written(t)
	is.Equal(again["Settings"], `{"DORMOUSE_AGENT_TIMEOUT":"2m","DORMOUSE_APOLOGY":"so, \"sorry\" = sorry","DORMOUSE_LOG_LEVEL":"debug","DORMOUSE_MAX_ATTEMPTS":"5"}`)
	is.True(strings.Contains(out, "the parameter MaxAttempts is now the setting DORMOUSE_MAX_ATTEMPTS"))
	is.True(strings.Contains(out, "the parameter WakeMemory is no longer there"))
	for name, value := range got {
		if !slices.Contains([]string{"Settings", "Alarms", "LogLevel", "MaxAttempts", "WakeMemory"}, name) {
			is.Equal(again[name], value)
		}
	}
	is.Equal(again["Alarms"], "")
	is.Equal(len(d.turns), 1) // --no-trial
}

func TestInitSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args string
		code int
		want string
	}{
		"nothing to read":     {"", 2, "no answer: give --connector, or --yes"},
		"no connector":        {"--yes", 2, "--connector: want the connector's base URL"},
		"no URL":              {"--connector nonsense --yes", 2, "--connector: want a URL that starts with"},
		"a password":          {"--connector https://u:p@c.example --yes", 2, "has a user or password inside"},
		"connector down":      {"--connector http://127.0.0.1:1 --bot discord=1", 3, "the connector at 127.0.0.1:1 cannot be reached"},
		"down, but --yes":     {"--connector http://127.0.0.1:1 --identity none --yes", 0, "warning: the connector at 127.0.0.1:1 cannot be reached"},
		"a wrong path":        {"--connector CONNECTOR/nowhere --bot discord=1", 3, "has no relay at the path /nowhere/relay (HTTP 404)"},
		"bots":                {"--connector CONNECTOR --bot =1 --yes", 2, "--bot: want PLATFORM=ID"},
		"an agent over http":  {"--connector CONNECTOR --agent http://a.example --yes", 2, "--agent: want empty, echo, a URL that starts with https://"},
		"agent down":          {"--connector CONNECTOR --bot discord=1 --agent https://127.0.0.1:1/x", 3, "did not answer the trial turn (signed)"},
		"an unknown identity": {"--connector CONNECTOR --agent echo --identity me --yes", 2, `--identity: "me": want aws, oidc, pinned or none`},
		"pinned nowhere":      {"--connector CONNECTOR --agent echo --identity pinned --yes", 2, "pinned wants the ARN of the credentials"},
		"pinned at nothing":   {"--connector CONNECTOR --identity pinned --credentials-arn x --yes", 2, "--identity: want empty, or the ARN of an SSM parameter"},
		"oidc nowhere":        {"--connector CONNECTOR --agent echo --identity oidc --yes", 2, "oidc wants a token endpoint"},
		"oidc of half a client": {
			"--connector CONNECTOR --identity oidc --idp-token-url https://idp.example --idp-client-id me --yes", 2,
			"GATEWAY_RELAY_IDP_CLIENT_SECRET is not set",
		},
		"aws out of reach": {"--connector https://127.0.0.1:1 --identity aws --yes", 0, "warning: no identity token from here"},
		"alarms":           {"--connector CONNECTOR --identity none --alarms nobody --yes", 2, "--alarms: want empty, an e-mail address, or the ARN"},
		"a topic elsewhere": {
			"--connector CONNECTOR --identity none --alarms arn:aws:sns:us-east-1:1:x --yes", 2, "the topic for alarms is in us-east-1, the stack in",
		},
		"a secret":          {"--connector CONNECTOR --identity none --set GATEWAY_RELAY_SECRET=x --yes", 2, "GATEWAY_RELAY_SECRET holds a secret"},
		"a slip":            {"--connector CONNECTOR --identity none --set DORMOUSE_SWEEEP=1m --yes", 2, "DORMOUSE_SWEEEP in DORMOUSE_SETTINGS is no setting"},
		"a bad setting":     {"--connector CONNECTOR --identity none --set DORMOUSE_SWEEP=soon --yes", 2, `DORMOUSE_SWEEP is "soon"`},
		"no value":          {"--connector CONNECTOR --set DORMOUSE_SWEEP --yes", 2, "want NAME=VALUE"},
		"no such parameter": {"--connector CONNECTOR --parameter WakeMemory=1 --yes", 2, "with a parameter of template.yaml: Agent, "},
		"a bad parameter":   {"--connector CONNECTOR --identity none --parameter LogRetention=2 --yes", 2, "LogRetention want one of 1, 3,"},
		"too short":         {"--connector CONNECTOR --identity none --parameter WakePath=short --yes", 2, "WakePath has 5 characters, want 16 to 128"},
		"no template":       {"--template none.yaml --yes", 1, "there is no none.yaml here: run this in the tree that will be deployed"},
		"an argument":       {"dormouse", 2, "takes flags only"},
		"no stack's name":   {"--connector CONNECTOR --identity none --stack my_bot --yes", 2, `--stack is "my_bot"; want letters, digits and hyphens`},
		"no region's name":  {"--connector CONNECTOR --identity none --region frankfurt --yes", 2, `the region is "frankfurt"; want one such as eu-central-1`},
	}
	d := newPrepared(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			file := filepath.Join(t.TempDir(), "samconfig.toml")
			args := strings.Fields(strings.ReplaceAll(tt.args, "CONNECTOR", d.connector))
			code, out := d.run(t, append(args, "--config-file", file)...)
			t.Log(out)
			is.Equal(code, tt.code)
			is.True(strings.Contains(out, tt.want))
			_, err := os.Stat(file)
			is.Equal(err == nil, tt.code == 0) // nothing is written that would not work
		})
	}
	is := is.New(t)
	code, out := d.run(t, "--yes", "--connector", d.connector, "--region", "")
	is.Equal(code, 0)
	is.True(strings.Contains(out, "in eu-central-1. Now:")) // the region of the environment
	is.True(!strings.Contains(out, "export AWS_REGION"))
	d.env = append(d.env, "AWS_REGION=", "AWS_DEFAULT_REGION=")
	code, out = d.run(t, "--yes", "--connector", d.connector, "--config-file", "other.toml")
	is.Equal(code, 2)
	is.True(strings.Contains(out, "no AWS region: give --region"))
}

// A parameter that went is now a setting that drain reads, and the template's parameters fill the variables that they name.
func TestParametersAndSettingsKnowEachOther(t *testing.T) {
	is := is.New(t)
	template, err := readDeployable("../../template.yaml")
	is.NoErr(err)
	for former, setting := range formerParameters {
		if !slices.Contains(config.DrainVariables(), setting) && !strings.HasSuffix(setting, "_ALLOW_BOTS") {
			t.Errorf("%s: there is no setting %s", former, setting)
		}
		_, there := template.Parameters[former]
		is.True(!there)
	}
	filled := 0
	for name, p := range template.Parameters {
		if variable := p.variable(); variable != "" {
			filled++
			if !slices.Contains(config.DrainVariables(), variable) {
				t.Errorf("%s: drain does not read %s", name, variable)
			}
		}
	}
	is.True(filled >= 15)
}

// sam is the Python of the SAM command line.
func sam(t *testing.T) string {
	t.Helper()
	python := os.Getenv("DORMOUSE_TEST_SAM")
	if python == "" {
		t.Skip("DORMOUSE_TEST_SAM is not set: make lint-template sets it to the SAM CLI's Python")
	}
	return python
}

// samReads is what sam deploy gets from a samconfig.toml.
func samReads(t *testing.T, file string) (options struct {
	Stack     string            `json:"stack_name"`
	Region    string            `json:"region"`
	Able      []string          `json:"capabilities"`
	Overrides map[string]string `json:"parameter_overrides"`
}) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), sam(t), "../../scripts/samconfig.py", file)
	cmd.Env = append(os.Environ(), "SAM_CLI_TELEMETRY=0")
	cmd.Stderr = os.Stderr
	raw, err := cmd.Output()
	is.New(t).NoErr(err)
	is.New(t).NoErr(json.Unmarshal(raw, &options))
	return options
}

// Whatever is typed arrives at sam deploy as it was typed.
func TestSamReadsWhatWasTyped(t *testing.T) {
	t.Parallel()
	sam(t)
	is := is.New(t)
	d := newPrepared(t)
	code, screen := d.typed(t, [][2]string{
		{"The connector's URL", d.connector}, {"Platforms and bot ids", `discord=12'34"5,telegram=@x y=z`}, {"Who answers", d.agent},
		{"Identity", "none"}, {"Where alarms go", "o'ps+x@example.com"},
	}, "--stack", "bot", "--set", `DORMOUSE_APOLOGY={"a": "b\"c", 'd'} = \ e, f`, "--parameter", `IdentityAudience="aud" 'x' a=b, c\`)
	t.Log(screen)
	is.Equal(code, 0)
	file := filepath.Join(d.dir, "samconfig.toml")
	got := samReads(t, file)
	is.Equal(got.Overrides, d.written(t))
	is.Equal(got.Stack+" "+got.Region, "bot eu-central-1")
	is.Equal(got.Able, []string{"CAPABILITY_IAM"})
	is.Equal(got.Overrides["BotIds"], `discord=12'34"5,telegram=@x y=z`)
	is.Equal(got.Overrides["Agent"], d.agent)
	is.Equal(got.Overrides["Alarms"], "o'ps+x@example.com")
	is.Equal(got.Overrides["IdentityAudience"], `"aud" 'x' a=b, c\`)
	var settings map[string]string
	is.NoErr(json.Unmarshal([]byte(got.Overrides["Settings"]), &settings))
	is.Equal(settings["DORMOUSE_APOLOGY"], `{"a": "b\"c", 'd'} = \ e, f`)

	values := map[string]string{}
	for i, value := range hostile {
		values[fmt.Sprintf("P%d", i)] = value
	}
	is.NoErr(writeSamConfig(file, "s", "r", values))
	read := samReads(t, file).Overrides
	for name, want := range values {
		if read[name] != want {
			t.Errorf("sam reads %q as %q", want, read[name])
		}
	}
}

// sam takes the file that dormouse init writes, its template, and builds: both programs with the version of the sources.
func TestSamBuildsAndValidatesWhatInitPrepared(t *testing.T) {
	python := sam(t)
	if testing.Short() {
		t.Skip("sam build compiles both functions")
	}
	is := is.New(t)
	d := newPrepared(t)
	code, out := d.run(t, "--yes", "--connector", d.connector, "--identity", "none", "--region", "us-east-1")
	t.Log(out)
	is.Equal(code, 0)
	do := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(python), "sam"), args...)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "SAM_CLI_TELEMETRY=0", "AWS_DEFAULT_REGION=us-east-1", "DORMOUSE_TEST_SAM=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatal(err, string(out))
		}
		return string(out)
	}
	file := filepath.Join(d.dir, "samconfig.toml")
	do("validate", "--lint", "--template", "template.yaml", "--config-file", file)
	build := filepath.Join(d.dir, "build")
	do("build", "--template", "template.yaml", "--config-file", file, "--build-dir", build)
	stamp, err := exec.CommandContext(t.Context(), "go", "-C", "../..", "run", "./internal/version/stamp").Output()
	is.NoErr(err)
	for _, function := range []string{"WakeFunction", "DrainFunction"} {
		program, err := os.ReadFile(filepath.Join(build, function, "bootstrap"))
		is.NoErr(err)
		is.True(strings.Contains(string(program), strings.TrimSpace(string(stamp)))) // without .git
	}
}
