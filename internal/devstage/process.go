package devstage

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"syscall"
	"time"

	"github.com/dormouse-relay/dormouse/internal/lines"
)

const (
	stopGrace  = 2 * time.Second // from SIGTERM to SIGKILL
	maxLine    = 64 << 10        // bytes; what is longer is cut into several
	knockEvery = 20 * time.Millisecond
)

// process is the agent's. Of one that was not started, nil, stop does nothing.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once it is reaped
	err  error         // of its end
}

// start starts the process, and notes when it listens. first is its state at the start.
func (s *supervisor) start(ctx context.Context, first AgentState) (*process, error) {
	cmd := exec.Command(s.cfg.Command[0], s.cfg.Command[1:]...)
	cmd.Dir = s.cfg.Dir
	cmd.Env = append(append(cmd.Environ(), "PORT="+s.target.Port()), s.cfg.Env...)
	out := &lines.Writer{Emit: func(line string) { s.log.line(FromAgent, line) }, Max: maxLine}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = stopGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children end with it, and Ctrl-C is for us
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the agent: %w", err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	first.PID = cmd.Process.Pid
	s.set(first)
	s.wg.Go(func() {
		p.err = cmd.Wait()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its children; while they live, the group's id cannot be another's
		out.Flush()
		close(p.done)
	})
	s.wg.Go(func() { s.listens(ctx, p, first) })
	return p, nil
}

// listens waits until the process takes connections, and then says that it runs.
func (s *supervisor) listens(ctx context.Context, p *process, first AgentState) {
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.target.Host)
		if err == nil {
			conn.Close()
			break
		}
		select {
		case <-p.done:
			return
		case <-ctx.Done():
			return
		case <-time.After(knockEvery):
		}
	}
	first.What = AgentRunning
	s.setIf(first, func(is AgentState) bool { return is.What == AgentStarting && is.Starts == first.Starts })
}

func (p *process) ended() <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.done
}

// how says how it ended.
func (p *process) how() string {
	if p.err != nil {
		return p.err.Error()
	}
	return "exit status 0"
}

// stop asks the process to end, and kills it if it does not.
func (p *process) stop() {
	if p == nil {
		return
	}
	select {
	case <-p.done:
		return
	default:
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}
