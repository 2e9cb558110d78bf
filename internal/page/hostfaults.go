package page

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devtable"
	"github.com/dormouse-relay/dormouse/internal/rig"
)

// injectFault has something go wrong.
func (m *Machine) injectFault(_ context.Context, in struct {
	ID     string            `json:"id"`
	Off    bool              `json:"off"`
	Params map[string]string `json:"params"`
}) (any, error) {
	f, ok := m.model.fault(in.ID)
	if !ok {
		return nil, fmt.Errorf("there is no fault %q", in.ID)
	}
	params := map[string]string{}
	for _, p := range f.Params {
		params[p.Name] = p.Value
		if given, ok := in.Params[p.Name]; ok {
			params[p.Name] = given
		}
	}
	var err error
	switch f.Where {
	case AtConnector:
		err = m.connectorFault(f, params, in.Off)
	case AtHost:
		err = m.hostFault(f.ID, params)
	default:
		err = m.ledgerFault(f.ID, params, in.Off)
	}
	if times := params["count"]; times != "" && !strings.HasPrefix(times, "-") && !in.Off {
		m.model.usedFault(f.ID, err)
	} else {
		m.model.setFault(f.ID, !in.Off, err)
	}
	return nil, err
}

func (m *Machine) connectorFault(f Fault, params map[string]string, off bool) error {
	if f.ID == "revoke" && off {
		f.ID = "restore"
	}
	fault, err := faultOf(f.ID, params, off)
	if err != nil {
		return err
	}
	return m.stage.Connector().Inject(fault)
}

var errSeconds = errors.New("seconds: want a number up to 600")

var errNoProcess = errors.New("there is no process to do it to: the gateway sleeps, and has none")

// hostFault does something to a function's processes.
func (m *Machine) hostFault(id string, params map[string]string) error {
	host, name := m.stage.Host(), rig.Drain
	if id == "kill_wake" {
		name = rig.Wake
	}
	pids := host.PIDs(name)
	if len(pids) == 0 {
		return errNoProcess
	}
	switch id {
	case "kill", "kill_wake":
		return host.Kill(name)
	case "shutdown":
		return host.Shutdown(name)
	case "freeze":
		if !m.model.awake() {
			return errNoProcess
		}
		return m.freeze(pids, params["seconds"])
	}
	return fmt.Errorf("the host has no fault %q", id)
}

// freeze stops processes for a time.
func (m *Machine) freeze(pids []int, seconds string) error {
	n, err := strconv.ParseFloat(seconds, 64)
	if err != nil || n <= 0 || n > 600 {
		return errSeconds
	}
	for _, pid := range pids {
		if err := syscall.Kill(-pid, syscall.SIGSTOP); err != nil {
			return fmt.Errorf("freezing drain: %w", err)
		}
	}
	m.wg.Go(func() {
		select {
		case <-time.After(time.Duration(n * float64(time.Second))):
		case <-m.ctx.Done():
		}
		for _, pid := range pids {
			_ = syscall.Kill(-pid, syscall.SIGCONT) // it may be gone; one that sleeps goes on waiting for its next event
		}
	})
	return nil
}

// ledgerFault has the table fail.
func (m *Machine) ledgerFault(id string, params map[string]string, off bool) error {
	f := devtable.Fault{Name: strings.TrimPrefix(id, tablePrefix), Off: off}
	if count := params["count"]; count != "" {
		n, err := strconv.Atoi(count)
		if err != nil {
			return errors.New("how many: want a number")
		}
		f.Count = n
	}
	if seconds := params["seconds"]; seconds != "" {
		n, err := strconv.ParseFloat(seconds, 64)
		if err != nil || n <= 0 || n > 600 {
			return errSeconds
		}
		f.Delay = time.Duration(n * float64(time.Second))
	}
	return m.stage.Table().Inject(f)
}
