package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
)

const (
	wakeFunction  = "wake"
	drainFunction = "drain"
	gatewayID     = "gw-demo"

	closeTime = 5 * time.Second
)

// Quiet times of the demonstration. As in a deployment, the gateway takes the connector's cooldown for a bit longer than
// it is.
const (
	shortIdle     = time.Second
	shortEmpty    = 500 * time.Millisecond
	shortCooldown = time.Second
	shortMargin   = 100 * time.Millisecond
)

// stage is the connector, the functions and the HTTP API in front of wake.
type stage struct {
	*record
	*locallambda.Host // wake and drain

	connector *connectorProcess
	front     *http.Server
	serving   sync.WaitGroup
	pids      []int // of every process that was seen
}

// openStage starts everything. env is laid over drain's. What fails later is told to rec. The identity token is made here
// and goes to the two that need it by their environments alone.
func openStage(ctx context.Context, functions string, env map[string]string, rec *record) (_ *stage, err error) {
	bootstraps, err := findBootstraps(functions)
	if err != nil {
		return nil, err
	}
	s := &stage{record: rec}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	identity := rand.Text()
	s.connector, err = startConnector(ctx, identity, rec)
	if err != nil {
		return nil, err
	}
	s.pids = append(s.pids, s.connector.cmd.Process.Pid)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for pokes: %w", err)
	}
	path := "/w/" + rand.Text()
	drainEnv := drainSettings(s.connector.at.Relay, "http://"+listener.Addr().String()+path, identity)
	maps.Copy(drainEnv, env)
	s.Host, err = locallambda.Start(locallambda.Config{
		Functions: []locallambda.Function{
			{
				Name: wakeFunction, Command: []string{bootstraps[wakeFunction]}, Memory: 512, Timeout: 15 * time.Second,
				Env: map[string]string{"DORMOUSE_DRAIN_FUNCTION": drainFunction},
			},
			{
				Name: drainFunction, Command: []string{bootstraps[drainFunction]}, Memory: 256, Timeout: 15 * time.Minute,
				Concurrency: 1, // without a table the lease is in the process
				Env:         drainEnv,
			},
		},
		Retries: -1,
		Log:     rec.log,
		Done:    rec.done,
	})
	if err != nil {
		listener.Close()
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(path, s.Front(wakeFunction))
	s.front = &http.Server{Handler: mux, ReadHeaderTimeout: closeTime}
	s.serving.Go(func() { s.front.Serve(listener) })
	return s, nil
}

// drainSettings is drain's environment.
func drainSettings(relayURL, wakeURL, identity string) map[string]string {
	return map[string]string{
		"GATEWAY_RELAY_URL":            relayURL,
		"GATEWAY_RELAY_ID":             gatewayID,
		"GATEWAY_RELAY_WAKE_URL":       wakeURL,
		"GATEWAY_RELAY_IDENTITY_TOKEN": identity,
		"GATEWAY_RELAY_PLATFORMS":      strings.Join(platforms, ","),
		"GATEWAY_RELAY_BOT_IDS": `{"discord":{"botId":"1180000000000000001"},"telegram":{"botId":"700100"},` +
			`"slack":{"botId":"A06DORMOUSE"},"whatsapp":{"botId":"4930555000"}}`,
		"DORMOUSE_ALLOW_ENV_SECRETS": "1",
		"DORMOUSE_IDLE_AFTER":        shortIdle.String(),
		"DORMOUSE_EMPTY_AFTER":       shortEmpty.String(),
		"DORMOUSE_POKE_COOLDOWN":     (shortCooldown + shortMargin).String(),
	}
}

var platforms = []string{"discord", "telegram", "slack", "whatsapp"}

// Close ends every process, and says which one outlived that.
func (s *stage) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	var faults []error
	if s.Host != nil {
		s.notePIDs()
		faults = append(faults, s.Host.Close(ctx))
	}
	if s.front != nil {
		s.front.Close()
		s.serving.Wait()
	}
	if s.connector != nil {
		faults = append(faults, s.connector.stop())
	}
	for _, pid := range s.pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			faults = append(faults, fmt.Errorf("process %d is still there", pid))
		}
	}
	return errors.Join(faults...)
}

// notePIDs remembers the functions' processes.
func (s *stage) notePIDs() {
	s.pids = append(s.pids, slices.Concat(s.PIDs(wakeFunction), s.PIDs(drainFunction))...)
}

// deliver writes the messages and returns their buffer ids, empty for one that found the gateway awake.
func (s *stage) deliver(ctx context.Context, messages []message) ([]string, error) {
	var ids []string
	for _, m := range messages {
		path, body := m.delivery()
		var answer struct {
			BufferIDs []string `json:"buffer_ids"`
		}
		if err := s.control(ctx, http.MethodPost, path, body, &answer); err != nil {
			return nil, fmt.Errorf("delivering the message from %s: %w", m.From, err)
		}
		ids = append(ids, answer.BufferIDs...)
	}
	return ids, nil
}

// state is what the connector knows.
func (s *stage) state(ctx context.Context) (state devconnector.State, err error) {
	return state, s.control(ctx, http.MethodGet, "/state", nil, &state)
}

// control is one request to the connector's control API.
func (s *stage) control(ctx context.Context, method, path string, body, into any) error {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.connector.at.Control+path, content)
	if err != nil {
		return err
	}
	req.Close = true // nothing is left open behind the demonstration
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("the control API answered HTTP %d: %.200s", resp.StatusCode, answer)
	}
	return json.Unmarshal(answer, into)
}

// connectorProcess is this program once more, as dormouse connector.
type connectorProcess struct {
	cmd   *exec.Cmd
	at    listening
	stdin io.Closer // its end is the process's
	said  bytes.Buffer
	read  chan struct{} // closed once all its output is read

	mu       sync.Mutex
	stopping bool
}

func startConnector(ctx context.Context, identity string, rec *record) (*connectorProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program, to start it as connector: %w", err)
	}
	p := &connectorProcess{read: make(chan struct{})}
	p.cmd = exec.Command(self, "connector", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0",
		"--poke-cooldown", shortCooldown.String(), "--json", "--"+untilEOF)
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, variablePrefix)
	}), identityVariable+"="+identity)
	p.cmd.Stderr = &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us, who end it in good order
	p.stdin, err = p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the connector: %w", err)
	}
	announced := make(chan listening, 1)
	go p.follow(stdout, announced, rec)
	select {
	case p.at = <-announced:
		return p, nil
	case <-p.read:
		err = errors.New("the connector ended at once")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return nil, errors.Join(err, p.stop())
}

// follow reads the announcement and then the observations.
func (p *connectorProcess) follow(stdout io.Reader, announced chan<- listening, rec *record) {
	defer close(p.read)
	lines := bufio.NewScanner(stdout)
	up := false
	for lines.Scan() {
		var at listening
		switch {
		case up:
			rec.observe(lines.Bytes())
		case json.Unmarshal(lines.Bytes(), &at) == nil && at.What == whatListening:
			up = true
			announced <- at
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if up && !p.stopping {
		rec.fail(errors.New("the connector ended in the middle of the demonstration"))
	}
}

// stop ends the process and returns its error with what it printed about it.
func (p *connectorProcess) stop() error {
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	p.stdin.Close()
	kill := time.AfterFunc(closeTime, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	<-p.read
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("connector: %w: %s", err, bytes.TrimSpace(p.said.Bytes()))
	}
	return nil
}
