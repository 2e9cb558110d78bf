package main

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devstage"
)

// visitor is a browser, as far as a page's server sees it.
type visitor struct {
	t      *testing.T
	client *http.Client
	base   string
}

// visit opens the page that dev has named.
func visit(t *testing.T, url string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	is.New(t).NoErr(err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	v := &visitor{t, &http.Client{Jar: jar, Transport: transport}, url[:strings.Index(url, "?")]}
	resp, err := v.client.Get(url)
	is.New(t).NoErr(err)
	resp.Body.Close()
	is.New(t).Equal(resp.StatusCode, http.StatusOK)
	return v
}

// do has an act done.
func (v *visitor) do(act string, body any) {
	v.t.Helper()
	is := is.New(v.t)
	raw, err := json.Marshal(body)
	is.NoErr(err)
	req, err := http.NewRequest("POST", v.base+"api/do/"+act, strings.NewReader(string(raw)))
	is.NoErr(err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", strings.TrimSuffix(v.base, "/"))
	resp, err := v.client.Do(req)
	is.NoErr(err)
	resp.Body.Close()
	is.True(resp.StatusCode < 300) // the act is done
}

// until reads what the page is told until a line has all the words.
func (v *visitor) until(words ...string) {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), "GET", v.base+"api/events", nil)
	is.New(v.t).NoErr(err)
	resp, err := v.client.Do(req)
	is.New(v.t).NoErr(err)
	defer resp.Body.Close()
	timer := time.AfterFunc(patience, func() { resp.Body.Close() })
	defer timer.Stop()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "canary") {
			v.t.Fatal("the page is told a secret")
		}
		all := true
		for _, word := range words {
			all = all && strings.Contains(lines.Text(), word)
		}
		if all {
			return
		}
	}
	v.t.Fatalf("the page was never told of %q", words)
}

const pageURL = `(http://127\.0\.0\.1:\d+/\?token=\S+)`

// TestDevIsOneCommand: this program is connector, wake, drain, table and page, and the operator's commands find the table.
func TestDevIsOneCommand(t *testing.T) {
	noAccount(t, map[string]string{"DORMOUSE_GIVE_UP_AFTER": "1h", "GATEWAY_RELAY_URL": "https://elsewhere.example", "DORMOUSE_TABLE": "elsewhere"})
	is := is.New(t)
	dir := filepath.Join(t.TempDir(), "kept")
	var cmd *running
	var url string
	for try := 1; ; try++ { // the first may have to build the functions, and a machine may be busy with something else
		began := time.Now()
		cmd = start(t, "dev", "--dir", dir, "--listen", "127.0.0.1:0", "--set", "DORMOUSE_IDLE_AFTER=200ms")
		url = cmd.until(pageURL)[1]
		took := time.Since(began)
		t.Logf("the page's address was there after %v", took)
		if took < 5*time.Second {
			break
		}
		is.True(try < 4) // at best it takes longer than five seconds
		cmd.stop()
	}
	lines := cmd.until(`export AWS_ENDPOINT_URL_DYNAMODB=(\S+).*\n  build/dormouse (status .*)\n`)
	v := visit(t, url)
	v.until(`"kind":"settings"`, `DORMOUSE_GIVE_UP_AFTER`, `this shell`, `--set`)
	v.until(`"kind":"chat"`)
	v.do("say", map[string]string{"chat": "telegram/551823190", "text": "Good morning"})
	v.until(`"kind":"message"`, `"text":"Good morning"`, `"bot":true`)

	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", lines[1])
	for range 2 {
		code, out, errs := dormouse(t.Context(), strings.Fields(lines[2])...)
		is.Equal(errs, "")
		is.Equal(code, 0)
		is.True(strings.Contains(out, devstage.Gateway))
	}
	ignored, err := os.ReadFile(filepath.Join(dir, ".gitignore"))
	is.NoErr(err)
	is.Equal(string(ignored), "*\n")

	code, _, errs := dormouse(t.Context(), "dev", "--dir", dir, "--listen", "127.0.0.1:0")
	is.Equal(code, exitFailed)
	is.True(strings.Contains(errs, "another process has this table") && strings.Contains(errs, "--dir"))
	cmd.stop()

	cmd = start(t, "dev", "--dir", dir, "--listen", "127.0.0.1:0")
	again := cmd.until(pageURL)[1]
	is.Equal(again[strings.Index(again, "?"):], url[strings.Index(url, "?"):]) // an open page may go on
}

func TestDevRefusesWhatItCannotUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	is.New(t).NoErr(err)
	defer taken.Close()
	broken := filepath.Join(t.TempDir(), "case.json")
	is.New(t).NoErr(os.WriteFile(broken, []byte(`{"given":{}}`), 0o600))
	for name, tt := range map[string]struct {
		args []string
		code int
		says string
	}{
		"an argument":           {[]string{"agent.mjs"}, exitMisuse, "flags only"},
		"an address elsewhere":  {[]string{"--listen", "0.0.0.0:1"}, exitMisuse, "loopback"},
		"an address in use":     {[]string{"--listen", taken.Addr().String()}, exitFailed, "--listen"},
		"a preset":              {[]string{"--preset", "nobody"}, exitMisuse, "hosted"},
		"no setting":            {[]string{"--set", "DORMOUSE_COLOUR=red"}, exitMisuse, "DORMOUSE_COLOUR"},
		"a setting of its own":  {[]string{"--set", "DORMOUSE_TABLE=x"}, exitMisuse, "sets it itself"},
		"no value":              {[]string{"--set", "DORMOUSE_STOP"}, exitMisuse, "NAME=VALUE"},
		"a function as agent":   {[]string{"--agent", "lambda:mine"}, exitMisuse, "dormouse host"},
		"a URL beside a URL":    {[]string{"--agent", "http://127.0.0.1:1/", "--agent-url", "http://127.0.0.1:2/"}, exitMisuse, "--agent-url"},
		"no agent":              {[]string{"--agent", " "}, exitMisuse, "empty"},
		"a schedule":            {[]string{"--schedule", "0s"}, exitMisuse, "more than 0"},
		"no case file":          {[]string{"--case", broken}, exitMisuse, "no case file"},
		"a case that is away":   {[]string{"--case", broken + ".not"}, exitMisuse, "no such file"},
		"functions not built":   {[]string{"--functions", t.TempDir()}, exitFailed, "make host"},
		"a setting that is bad": {[]string{"--set", "DORMOUSE_CONCURRENCY=many"}, exitFailed, "DORMOUSE_CONCURRENCY"},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			args := append([]string{"dev", "--dir", filepath.Join(t.TempDir(), "d")}, tt.args...)
			if name != "an address elsewhere" && name != "an address in use" {
				args = append(args, "--listen", "127.0.0.1:0")
			}
			code, out, errs := dormouse(t.Context(), args...)
			t.Log(out, errs)
			is.Equal(code, tt.code)
			is.True(strings.Contains(errs, tt.says)) // it says what it cannot use
		})
	}
}

func TestWhatAnAgentIsStartedFor(t *testing.T) {
	is := is.New(t)
	here, err := os.Getwd()
	is.NoErr(err)
	for spec, want := range map[string]devstage.Agent{
		"echo":                              {},
		"https://agent.example/turn":        {URL: "https://agent.example/turn"},
		"node dev_test.go --port":           {Command: []string{"node", "dev_test.go", "--port"}, Watch: []string{here}},
		"go run ../../examples/openai":      {Command: []string{"go", "run", "../../examples/openai"}, Watch: []string{filepath.Join(here, "../../examples/openai")}},
		"/bin/sh -c true":                   {Command: []string{"/bin/sh", "-c", "true"}, Watch: []string{here}},
		"cd .. && exec python3 -m my.agent": {Command: []string{"sh", "-c", "cd .. && exec python3 -m my.agent"}, Watch: []string{filepath.Dir(here)}},
	} {
		got, err := devAgent(spec, "")
		is.NoErr(err)
		is.Equal(got, want)
	}
}
