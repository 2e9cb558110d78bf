package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/version"
)

// TestMain: the test binary is also the program that a demonstration starts as its connector, and that tests start to look
// at its process.
func TestMain(m *testing.M) {
	if os.Getenv(actsAsGateway) != "" {
		actAsGateway()
	}
	asFunction(os.Args)
	if len(os.Args) > 1 && slices.Contains([]string{"connector", "enroll", "host", "init", "rotate"}, os.Args[1]) {
		main()
	}
	flag.Set("test.parallel", "8")           // for the most part these tests wait, for other processes and for time to pass
	os.Setenv("GORACE", "atexit_sleep_ms=0") // that connector would take a second to exit
	goleak.VerifyTestMain(m)
}

// buffer is a strings.Builder for several goroutines. grown, if set, is called after each write with all of it.
type buffer struct {
	mu    sync.Mutex
	b     strings.Builder
	grown func(string)
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Write(p)
	if b.grown != nil {
		b.grown(b.b.String())
	}
	return len(p), nil
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// dormouse runs a command line in this process.
func dormouse(ctx context.Context, args ...string) (code int, out, errs string) {
	var o, e buffer
	code = run(ctx, append([]string{"dormouse"}, args...), strings.NewReader(""), &o, &e)
	return code, o.String(), slow.ReplaceAllString(e.String(), "")
}

// slow is what a command says of something that takes longer than a second, as anything does on a busy machine.
var slow = regexp.MustCompile(`(?m)^(drain runs: .*|reading .*|examining .*|trying .*) \.\.\.\n`)

func TestHelpAndVersionAreNoErrors(t *testing.T) {
	tests := map[string]struct{ flag, want string }{
		"help":          {"--help", "connector"},
		"version":       {"--version", "dormouse version " + version.Number},
		"which one":     {"version", "dormouse " + version.Number + "+"},
		"for programs":  {"version --json", `"version": "` + version.Number},
		"exit codes":    {"--help", "3 if what was found is not well"},
		"group":         {"dead", "put back one, or many"},
		"completion":    {"completion bash", "complete -o bashdefault"},
		"commands":      {"dead --generate-shell-completion", "retry:"},
		"flags":         {"arm --st --generate-shell-completion", "--stack"},
		"demo's help":   {"demo --help", "--functions DIR"},
		"who builds":    {"demo --help", "as make host builds them"},
		"what to do":    {"", "COMMANDS"},
		"secrets in ps": {"connector --help", "$" + identityVariable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			code, out, errs := dormouse(t.Context(), strings.Fields(tt.flag)...)
			is.Equal(code, 0)
			is.Equal(errs, "")
			is.True(strings.Contains(out, tt.want))
		})
	}
}

func TestMistakesAreToldWithWhereToLook(t *testing.T) {
	tests := map[string]struct{ args, want string }{
		"unknown command":    {"dmeo", `no command "dmeo": see dormouse --help, or is it demo?`},
		"help as a word":     {"help", "help is a flag: dormouse --help, or dormouse COMMAND --help"},
		"help below":         {"dead help", "help is a flag: dormouse dead --help"},
		"unknown below":      {"dead lits", `no command "lits": see dormouse dead --help, or is it list?`},
		"unknown flag":       {"demo --fast", "-fast: see dormouse demo --help"},
		"needless argument":  {"demo build", `takes flags only, not "build": see dormouse demo --help`},
		"no duration":        {"connector --poke-cooldown soon", "see dormouse connector --help"},
		"functions missing":  {"demo --functions testdata/none", "run make host, which builds it, or pass --functions"},
		"unknown preset":     {"connector --preset mine", "hosted, whatrouter, agentsync, rustcell"},
		"control for all":    {"connector --control :0", "want a loopback address"},
		"control nowhere":    {"connector --control nowhere", "want an address such as"},
		"negative cooldown":  {"connector --poke-cooldown=-1s", "want 0 or more"},
		"token without name": {"connector --identity-token =tenant", "want TOKEN or TOKEN=TENANT"},
		"no secret":          {"connector --gateway gw-1", "--secret-file or $" + secretVariable},
		"no secret file":     {"connector --gateway gw-1 --secret-file testdata/none", "--secret-file: open testdata/none"},
		"issuer of what":     {"connector --oidc-issuer https://idp.example", "give both"},
		"whose secret":       {"connector --secret-file main_test.go", "set without --gateway"},
		"whose wake URL":     {"connector --wake-url http://127.0.0.1:1/", "set without --gateway or --anonymous"},
		"nobody could dial":  {"connector --preset whatrouter", "does not provision"},
		"address in use":     {"connector --control 127.0.0.1:0 --listen 192.0.2.1:1", "choose another address with --listen"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			code, _, errs := dormouse(t.Context(), strings.Fields(tt.args)...)
			t.Log(errs)
			if name == "functions missing" || name == "address in use" {
				is.Equal(code, 1) // no mistake of the command line's
			} else {
				is.Equal(code, 2)
			}
			is.True(strings.HasPrefix(errs, "dormouse: "))
			is.True(strings.Contains(errs, tt.want))
		})
	}
}

// Whatever is printed: what others said cannot clear the screen, not in an error either.
func TestNoTerminalObeysTheCommandLine(t *testing.T) {
	is := is.New(t)
	const orders = "\x1b]0;title\x07\x1b[2J\u009b31m\u202e"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"message": "no: " + orders})
	}))
	t.Cleanup(srv.Close)
	noAccount(t, map[string]string{"AWS_ENDPOINT_URL": srv.URL})
	_, _, errs := dormouse(t.Context(), "status", "--stack", "gw")
	is.True(strings.Contains(errs, "no: "))
	var raw strings.Builder
	root := newCommand(strings.NewReader(""), &raw, &raw)
	fmt.Fprint(root.Writer, "agent: "+orders)
	c := &connector{out: root.Writer, json: true}
	c.tell(devconnector.Observation{What: "outbound", Detail: orders})
	c.json = false
	c.tell(devconnector.Observation{What: "outbound", Detail: orders})
	lines := strings.Count(raw.String(), "\n")
	c.tell(devconnector.Observation{What: "outbound", Chat: "c\n1", Detail: "hello\n12:00:00.000  close               4401"})
	is.Equal(strings.Count(raw.String(), "\n"), lines+1) // nor can it make lines that look like ours
	for _, text := range []string{errs, raw.String()} {
		is.True(!strings.ContainsAny(text, "\x1b\x07\u009b\u202e"))
	}
	var o devconnector.Observation
	line := raw.String()[strings.Index(raw.String(), "{"):]
	is.NoErr(json.Unmarshal([]byte(line[:strings.Index(line, "\n")]), &o))
	is.Equal(o.Detail, orders) // JSON is the same value, escaped
}
