package devstage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Agent says who answers. With neither a URL nor a command it is echo, which says what it is told.
type Agent struct {
	URL     string   // where turns are posted; with Command: where the command listens
	Command []string // starts the agent, which listens on 127.0.0.1 and the port in its variable PORT, unless there is a URL
	Dir     string   // where it is started; default: the working directory
	Env     []string // beside PORT; NAME=value
	Watch   []string // files and folders; when one of them changes the agent is started anew
}

// States of an agent.
const (
	AgentEcho     = "echo"
	AgentURL      = "url"      // it is reached by URL, and how it is nobody knows
	AgentStarting = "starting" // its process does not listen yet
	AgentRunning  = "running"
	AgentExited   = "exited" // its process has ended; it is started again after a while, or when its files change
	AgentStopped  = "stopped"
)

// AgentState is how the agent is.
type AgentState struct {
	What    string    `json:"what"`
	URL     string    `json:"url,omitempty"` // without what may be a credential
	Command string    `json:"command,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Since   time.Time `json:"since"`
	Starts  int       `json:"starts"`
	Why     string    `json:"why,omitempty"` // it was started, or ended
	Watched int       `json:"watched"`       // files
}

const (
	pollEvery    = 300 * time.Millisecond
	firstPause   = time.Second // before an agent that has ended is started anew; it doubles
	longestPause = 30 * time.Second
)

// supervisor keeps the agent's process.
type supervisor struct {
	cfg    Agent
	target *url.URL // nil: echo
	log    *Log
	watch  *watch
	again  chan string // why the process is to be started anew

	mu    sync.Mutex
	is    AgentState
	ready chan struct{} // closed while the agent can be asked

	wg sync.WaitGroup // of what runs beside run, which waits for it
}

func newSupervisor(cfg Agent, log *Log) (*supervisor, error) {
	s := &supervisor{cfg: cfg, log: log, again: make(chan string, 1), ready: make(chan struct{})}
	if len(cfg.Command) == 0 && cfg.URL == "" {
		s.set(AgentState{What: AgentEcho})
		return s, nil
	}
	address := cfg.URL
	if address == "" {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		address = "http://127.0.0.1:" + strconv.Itoa(port) + "/"
	}
	target, err := url.Parse(address)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return nil, errors.New("the agent's URL is not usable: want http://127.0.0.1:8080/ or the like")
	}
	s.target = target
	if len(cfg.Command) == 0 {
		s.set(AgentState{What: AgentURL})
	} else {
		s.watch = newWatch(cfg.Watch)
		s.is.Watched = s.watch.size()
		s.set(AgentState{What: AgentStarting})
	}
	return s, nil
}

// freePort is one that nobody listens on. Somebody may before the agent does: then the agent says so and is started anew.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a port for the agent: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func (s *supervisor) state() AgentState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.is
}

// set notes another state.
func (s *supervisor) set(next AgentState) { s.setIf(next, func(AgentState) bool { return true }) }

// setIf notes another state if ok holds for the present one.
func (s *supervisor) setIf(next AgentState, ok func(AgentState) bool) {
	s.mu.Lock()
	if !ok(s.is) {
		s.mu.Unlock()
		return
	}
	next.Since, next.Command = time.Now(), strings.Join(s.cfg.Command, " ")
	if s.target != nil {
		next.URL = s.target.Scheme + "://" + s.target.Host + "/"
	}
	next.Starts, next.Watched = max(next.Starts, s.is.Starts), max(next.Watched, s.is.Watched)
	askable := next.What != AgentStarting && next.What != AgentExited && next.What != AgentStopped
	select {
	case <-s.ready:
		if !askable {
			s.ready = make(chan struct{})
		}
	default:
		if askable {
			close(s.ready)
		}
	}
	s.is = next
	s.mu.Unlock()
	s.log.add(Event{Agent: &next})
}

// await returns once the agent can be asked, or gives up with ctx.
func (s *supervisor) await(ctx context.Context) error {
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		is := s.state()
		return fmt.Errorf("the agent is not there: it is %s (%s)", is.What, is.Why)
	}
}

func (s *supervisor) restart(why string) {
	select {
	case s.again <- why:
	default: // it is about to
	}
}

// run keeps the process until ctx ends.
func (s *supervisor) run(ctx context.Context) {
	if len(s.cfg.Command) == 0 {
		return
	}
	defer s.wg.Wait()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	why, pause := "the first time", firstPause
	for starts := 1; ; starts++ {
		p, err := s.start(ctx, AgentState{What: AgentStarting, Why: why, Starts: starts, Watched: s.watch.size()})
		if err != nil {
			s.set(AgentState{What: AgentExited, Why: err.Error()})
		}
		if why = s.keep(ctx, p, ticker.C, &pause); why == "" {
			p.stop()
			s.set(AgentState{What: AgentStopped})
			return
		}
		p.stop()
	}
}

// keep returns why the process is to be started anew, or "" once ctx ends. A process that ends is started anew after pause,
// which grows.
func (s *supervisor) keep(ctx context.Context, p *process, tick <-chan time.Time, pause *time.Duration) string {
	began, ended := time.Now(), p.ended()
	var over <-chan time.Time
	if p == nil { // it could not be started
		over = time.After(*pause)
		*pause = min(2**pause, longestPause)
	}
	for {
		select {
		case <-ctx.Done():
			return ""
		case why := <-s.again:
			*pause = firstPause
			return why
		case <-tick:
			if changed := s.watch.changed(); changed != "" {
				*pause = firstPause
				return changed + " has changed"
			}
		case <-ended:
			ended = nil
			if time.Since(began) > longestPause {
				*pause = firstPause
			}
			s.set(AgentState{What: AgentExited, Why: p.how()})
			over = time.After(*pause)
			*pause = min(2**pause, longestPause)
		case <-over:
			return "it had ended"
		}
	}
}
