package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// What dormouse connector and the demonstration that starts it agree on.
const (
	VariablePrefix   = "DORMOUSE_CONNECTOR_" // of the connector's variables; others' values are not the demonstration's
	IdentityVariable = VariablePrefix + "IDENTITY_TOKEN"
	UntilEOF         = "until-stdin-ends" // the flag that has it end with its standard input
	WhatListening    = "listening"        // of the first JSON line, which is no devconnector.Observation
)

// Listening is the first of the connector's JSON lines.
type Listening struct {
	What    string `json:"what"`    // WhatListening
	Relay   string `json:"relay"`   // GATEWAY_RELAY_URL for a gateway on this machine
	Control string `json:"control"` // base URL of the control API
}

// connectorProcess is dormouse connector, as a process of its own.
type connectorProcess struct {
	cmd   *exec.Cmd
	at    Listening
	stdin io.Closer // its end is the process's
	said  bytes.Buffer
	read  chan struct{} // closed once all its output is read

	mu       sync.Mutex
	stopping bool
}

func startConnector(ctx context.Context, command []string, identity string, rec *record) (_ *connectorProcess, err error) {
	p := &connectorProcess{read: make(chan struct{})}
	p.cmd = exec.Command(command[0], slices.Concat(command[1:], []string{"--listen", "127.0.0.1:0", "--control", "127.0.0.1:0",
		"--poke-cooldown", shortCooldown.String(), "--json", "--" + UntilEOF})...)
	p.cmd.Env = append(slices.DeleteFunc(p.cmd.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, VariablePrefix)
	}), IdentityVariable+"="+identity)
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
	announced := make(chan Listening, 1)
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
func (p *connectorProcess) follow(stdout io.Reader, announced chan<- Listening, rec *record) {
	defer close(p.read)
	lines := bufio.NewScanner(stdout)
	up := false
	for lines.Scan() {
		var at Listening
		switch {
		case up:
			rec.observe(lines.Bytes())
		case json.Unmarshal(lines.Bytes(), &at) == nil && at.What == WhatListening:
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
