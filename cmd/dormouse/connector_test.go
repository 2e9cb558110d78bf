package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/demo"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

const patience = 30 * time.Second // bounds a wait for what must come

var loopback = []string{"connector", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"}

// request is one HTTP request; it returns status and body.
func request(t *testing.T, method, url, bearer, body string) (int, string) {
	t.Helper()
	is := is.New(t)
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	is.NoErr(err)
	req.Close = true
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := http.DefaultClient.Do(req)
	is.NoErr(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	is.NoErr(err)
	return resp.StatusCode, string(answer)
}

func TestConnectorServesUntilItIsToldToEnd(t *testing.T) {
	is := is.New(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], append(loopback, "--json")...)
	cmd.Env = append(os.Environ(), identityVariable+"=canary-1,canary-2=acme")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	stdout, err := cmd.StdoutPipe()
	is.NoErr(err)
	is.NoErr(cmd.Start())
	lines := bufio.NewScanner(stdout)
	is.True(lines.Scan())
	var at demo.Listening
	is.NoErr(json.Unmarshal(lines.Bytes(), &at))
	is.Equal(at.What, demo.WhatListening)

	const provision = `{"gatewayId":"gw-1","platform":"telegram","botId":"1"}`
	status, _ := request(t, http.MethodPost, at.Relay+"/relay/provision", defaultIdentity, provision)
	is.Equal(status, http.StatusUnauthorized) // tokens of one's own take the place of dev
	status, answer := request(t, http.MethodPost, at.Relay+"/relay/provision", "canary-2", provision)
	is.Equal(status, http.StatusOK)
	is.True(strings.Contains(answer, `"tenant":"acme"`))
	status, _ = request(t, http.MethodGet, at.Control+"/state", "", "")
	is.Equal(status, http.StatusOK)

	is.NoErr(cmd.Process.Signal(syscall.SIGTERM))
	var seen []string
	for lines.Scan() {
		var o devconnector.Observation
		is.NoErr(json.Unmarshal(lines.Bytes(), &o))
		is.True(!strings.Contains(lines.Text(), "canary"))
		seen = append(seen, o.What+" "+o.Detail)
	}
	is.NoErr(cmd.Wait()) // exit code 0
	is.Equal(seen, []string{"provision identity not verified", "provision issued"})
	is.Equal(errs.String(), "")
}

// The lines for people hold what a gateway needs, and a command that works.
func TestConnectorSaysHowToUseIt(t *testing.T) {
	is := is.New(t)
	pokes := make(chan string, 1)
	wake := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { pokes <- r.Method }))
	defer wake.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	is.NoErr(os.WriteFile(secret, []byte("secret-canary\n"), 0o600))

	connector := start(t, append(loopback, "--gateway", "gw-pinned", "--secret-file", secret,
		"--anonymous", "gw-open", "--wake-url", wake.URL+"/w/path-canary")...)
	curl := connector.until(`(?s)curl (\S+) -d '(.*)'\n`)
	status, answer := request(t, http.MethodPost, curl[1], "", curl[2])
	is.Equal(status, http.StatusOK)
	is.Equal(answer, `{"buffer_ids":["buf-1"]}`+"\n") // kept, as the gateway has not dialled yet
	is.Equal(<-pokes, http.MethodGet)
	connector.until(`(?m)^\d\d:\d\d:\d\d\.\d{3}  poked .* 200$`)
	connector.stop()

	shown := connector.out.String()
	is.True(regexp.MustCompile(`(?m)^\S+  buffered +chat 42  message 1  buffer buf-1$`).MatchString(shown))
	for _, setting := range []string{
		"GATEWAY_RELAY_URL=http://127.0.0.1:", "GATEWAY_RELAY_ID=gw-pinned\n", "GATEWAY_RELAY_SECRET=",
	} {
		is.True(strings.Contains(shown, "\n  export "+setting))
	}
	is.True(!strings.Contains(shown, "canary"))
}

func TestConnectorTakesTheIdentityTokenDev(t *testing.T) {
	is := is.New(t)
	t.Setenv(identityVariable, "") // set and empty is as good as unset
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	announced := make(chan string, 100)
	out := &buffer{grown: func(all string) { announced <- all }}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"dormouse"}, append(loopback, "--json")...), strings.NewReader(""), out, io.Discard)
	}()
	var at demo.Listening
	is.NoErr(json.Unmarshal([]byte(<-announced), &at))
	status, answer := request(t, http.MethodPost, at.Relay+"/relay/provision", "dev",
		`{"gatewayId":"gw-1","platform":"relay"}`)
	is.Equal(status, http.StatusOK)
	is.True(strings.Contains(answer, `"secret":`))
	cancel()
	is.Equal(<-ended, 0)
}
