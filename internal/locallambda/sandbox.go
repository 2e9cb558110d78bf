package locallambda

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/dormouse-relay/dormouse/internal/lines"
)

const (
	shutdownGrace = 500 * time.Millisecond // from SIGTERM to SIGKILL, for a process with an internal extension
	maxLine       = 256 << 10              // bytes in a line of the log; what is longer is cut into several
)

// sandbox is one process and the Runtime API that only this process uses. Only the goroutine that took the sandbox from the
// idle ones, or started it, may call invoke.
type sandbox struct {
	host   *Host
	fn     *function
	cmd    *exec.Cmd
	api    *http.Server
	jobs   chan *job     // handed to the process when it asks for its next event
	exited chan struct{} // closed once the process is reaped and nothing more comes of it
	start  time.Time
	warm   bool // has been invoked before
	gone   bool // guarded by Host.mu

	mu        sync.Mutex // guards the rest
	job       *job       // the event that the process has; nil if none
	init      time.Duration
	initError []byte // why the process did not start, as it said itself
	sigterm   bool   // it registered an extension, so it gets SIGTERM
	reaped    bool
	exit      string
}

// job is one event that the process is to answer.
type job struct {
	id       string
	payload  []byte
	hear     func(Chunk) // gets the answer as the process says it; nil: it is kept
	handed   time.Time
	answer   *Result
	finished chan struct{} // closed when the process asks for the next event
}

// startSandbox starts a process. Host.mu is held.
func (h *Host) startSandbox(fn *function) (*sandbox, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the Runtime API: %w", err)
	}
	s := &sandbox{host: h, fn: fn, jobs: make(chan *job), exited: make(chan struct{})}
	out := &lines.Writer{Emit: func(line string) { h.log(fn, line) }, Max: maxLine}
	s.cmd = exec.Command(fn.Command[0], fn.Command[1:]...)
	s.cmd.Dir = filepath.Dir(fn.Command[0])
	s.cmd.Env = s.environment(ln.Addr().String())
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.WaitDelay = shutdownGrace // a child of the process may keep the output open
	s.cmd.SysProcAttr = processAttributes()
	s.api = &http.Server{Handler: s.runtimeAPI()}
	started := make(chan error)
	h.wg.Go(func() {
		runtime.LockOSThread() // the process is killed when the thread that started it dies
		defer runtime.UnlockOSThread()
		s.start = time.Now()
		err := s.cmd.Start()
		if err == nil {
			s.tell(Event{What: EventStarted})
		}
		started <- err
		if err != nil {
			return
		}
		s.cmd.Wait()
		s.reap()
		out.Flush()
		s.api.Close()
		h.forget(s)
		s.tell(Event{What: EventEnded, Detail: s.cmd.ProcessState.String()})
		close(s.exited)
	})
	if err := <-started; err != nil {
		ln.Close()
		return nil, err
	}
	h.wg.Go(func() { s.api.Serve(ln) })
	return s, nil
}

// environment is what Lambda gives a function, with Function.Env over it.
func (s *sandbox) environment(runtimeAPI string) []string {
	env := map[string]string{
		"AWS_LAMBDA_RUNTIME_API":          runtimeAPI,
		"AWS_LAMBDA_FUNCTION_NAME":        s.fn.Name,
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(s.fn.Memory),
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + s.fn.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME":      requestID(),
		"AWS_REGION":                      s.host.cfg.Region,
		"AWS_DEFAULT_REGION":              s.host.cfg.Region,
		"AWS_ACCESS_KEY_ID":               "local",
		"AWS_SECRET_ACCESS_KEY":           "local",
		"AWS_SESSION_TOKEN":               "local",
		"AWS_ENDPOINT_URL_LAMBDA":         s.host.url,
		"LAMBDA_TASK_ROOT":                s.cmd.Dir,
		"LAMBDA_RUNTIME_DIR":              s.cmd.Dir,
		"_HANDLER":                        "bootstrap",
		"PATH":                            "/usr/local/bin:/usr/bin/:/bin:/opt/bin",
		"LANG":                            "en_US.UTF-8",
		"TZ":                              ":UTC",
	}
	for name, value := range s.fn.Env {
		env[name] = value
	}
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// invoke has the process answer one event. When it returns, the process has asked for its next event and is frozen, or has
// ended.
func (s *sandbox) invoke(j *job) Result {
	if len(j.payload) == 0 {
		j.payload = []byte("{}")
	}
	cold := !s.warm
	s.warm = true
	s.tell(Event{What: EventInvoked, RequestID: j.id})
	s.signal(syscall.SIGCONT)
	timer := time.NewTimer(s.host.cfg.InitTimeout)
	defer timer.Stop()
	select {
	case s.jobs <- j:
	case <-s.exited:
	case <-timer.C:
		s.kill()
		j.answer = new(failure(j.id, "Sandbox.Timedout", fmt.Sprintf(
			"Init timed out after %.2f seconds", s.host.cfg.InitTimeout.Seconds())))
	}
	timer.Reset(s.fn.Timeout)
	stopThrottle := s.throttle()
	select {
	case <-j.finished:
	case <-s.exited:
	case <-timer.C:
		stopThrottle()
		s.kill()
		s.fail(j, "Sandbox.Timedout", fmt.Sprintf("Task timed out after %.2f seconds", s.fn.Timeout.Seconds()))
	}
	stopThrottle()
	result := s.result(j, cold)
	s.tell(Event{What: EventAnswered, RequestID: j.id, Result: &result})
	if !s.host.cfg.NoFreeze && s.signal(syscall.SIGSTOP) {
		s.tell(Event{What: EventFrozen})
	}
	return result
}

func (s *sandbox) result(j *job, cold bool) Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.job = nil
	if j.answer == nil {
		j.answer = new(s.exitFailure(j.id))
	}
	result := *j.answer
	result.RequestID = j.id
	result.Attempt = 1
	result.Cold = cold
	if cold {
		result.InitDuration = s.init
	}
	if !j.handed.IsZero() {
		result.Began, result.Duration = j.handed, time.Since(j.handed)
	}
	return result
}

// fail answers a job in place of the process, unless the process has answered it.
func (s *sandbox) fail(j *job, errorType, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.answer == nil {
		j.answer = new(failure(j.id, errorType, message))
	}
}

// exitFailure is the result of an event whose process ended without an answer. s.mu is held.
func (s *sandbox) exitFailure(id string) Result {
	if s.initError != nil {
		return Result{Payload: s.initError, FunctionError: "Unhandled"}
	}
	if s.exit == "" {
		return failure(id, "Runtime.ExitError", "Runtime exited without providing a reason")
	}
	return failure(id, "Runtime.ExitError", "Runtime exited with error: "+s.exit)
}

// failure is a result as Lambda makes it, with Lambda's text.
func failure(id, errorType, message string) Result {
	payload, _ := json.Marshal(map[string]string{
		"errorType":    errorType,
		"errorMessage": "RequestId: " + id + " Error: " + message,
	})
	return Result{RequestID: id, Payload: payload, FunctionError: "Unhandled", Attempt: 1}
}

// signal signals the whole process group. Once the process is reaped it does nothing, and returns false.
func (s *sandbox) signal(sig syscall.Signal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.reaped {
		syscall.Kill(-s.cmd.Process.Pid, sig)
	}
	return !s.reaped
}

func (s *sandbox) reap() {
	syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // its children; while they live, the group's id cannot be another's
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reaped = true
	if state := s.cmd.ProcessState; !state.Success() {
		s.exit = state.String()
	}
}

func (s *sandbox) kill() {
	s.signal(syscall.SIGKILL)
	<-s.exited
}

func (s *sandbox) shutdown() {
	s.mu.Lock()
	sigterm := s.sigterm
	s.mu.Unlock()
	if sigterm {
		s.signal(syscall.SIGTERM)
		s.signal(syscall.SIGCONT)
		select {
		case <-s.exited:
			return
		case <-time.After(shutdownGrace):
		}
	}
	s.kill()
}
