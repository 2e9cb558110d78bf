// Package locallambda is a small AWS Lambda for development and tests. It runs built bootstrap binaries (provided.al2023)
// under the real Runtime API. It also answers Invoke and GetFunctionConfiguration of the Lambda API, so that functions and
// tools reach a function through the SDK's endpoint variables. Package rig, tests, chaos and bench start a Host.
//
// The Lambda API asks for no credentials and answers everybody on this machine. So it shows only those of a function's
// variables that Function.Shown names. Nothing here reaches AWS.
//
// A sandbox is one process. It is started for an invocation that finds no idle one, kept warm for the next one, and frozen
// in between, as Lambda does it. Sandboxes get Lambda's environment and nothing of the host's.
//
// Start starts the host's goroutines, and invocations start processes. Invoke blocks until the function has answered,
// Shutdown and Kill until the processes are gone, and Close until everything has ended; no other method blocks. All
// methods may be called from any goroutine.
package locallambda

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

const account = "000000000000"

var (
	// ErrNotFound means that the host has no function of that name.
	ErrNotFound = errors.New("locallambda: function not found")

	// ErrThrottled means that the function is at its concurrency limit: wait, or use an Event invocation.
	ErrThrottled = errors.New("locallambda: concurrency limit reached")

	// ErrClosed means that the host was closed.
	ErrClosed = errors.New("locallambda: host closed")
)

// Function is a built function. Name and Command are required; zero values mean Lambda's defaults.
type Function struct {
	Name        string            // letters, digits, "-" and "_", at most 64
	Command     []string          // the bootstrap and its arguments; its folder is the working directory
	Env         map[string]string // added to Lambda's environment; if both have a name, this one counts
	Shown       []string          // variables of Env that GetFunctionConfiguration answers; default none
	Timeout     time.Duration     // of one invocation; default 3 s
	Memory      int               // in MB; only told to the function, no limit; default 128
	Concurrency int               // invocations at once; default 10, a new account's limit
	CPU         float64           // share of one core that an invocation may use, on Linux only; 0 and 1: no limit
}

// Config is what Start needs.
type Config struct {
	Functions   []Function
	Listen      string        // loopback address of the Lambda API; default a free port
	Region      string        // default us-east-1
	Retries     int           // of a failed Event invocation; default 1, negative: none
	RetryDelay  time.Duration // before each of them; default 1 minute
	InitTimeout time.Duration // from exec to the first request for an event; default 10 s
	NoFreeze    bool          // idle sandboxes go on running

	// Each of these is called once at a time, and Close waits for the calls.
	Log  func(function, line string)          // each line of stdout and stderr, without its newline
	Done func(function string, result Result) // each attempt of an Event invocation that ran
	Tell func(Event)                          // whatever happens to a sandbox; it must not call the Host
}

// Result is how one invocation went.
type Result struct {
	RequestID     string
	Payload       []byte        // the answer; with FunctionError a JSON object with errorType and errorMessage
	FunctionError string        // "Unhandled" if the function failed, timed out or exited, else empty
	Attempt       int           // 1, or more for a retried Event invocation
	Cold          bool          // a sandbox was started for it
	InitDuration  time.Duration // from exec to the first request for an event; zero unless Cold
	Duration      time.Duration // from the event's hand-out to the request for the next
	Began         time.Time     // the event's hand-out; zero if no process took it
	Memory        int           // the function's, in MB, of what Lambda itself reports; 0 if it is not told
}

// Host runs functions.
type Host struct {
	cfg       Config
	functions map[string]*function
	api       *http.Server
	url       string
	closing   context.Context // ends queued Event invocations
	close     context.CancelFunc
	wg        sync.WaitGroup

	logMu, doneMu, tellMu sync.Mutex

	mu     sync.Mutex
	closed bool
}

type function struct {
	Function
	arn   string
	slots *semaphore.Weighted
	tail  tail

	events atomic.Int64 // asynchronous invocations that are not over

	sandboxes map[*sandbox]struct{} // alive; guarded by Host.mu, as is idle
	idle      []*sandbox            // the one that ran last is at the end
}

// Start starts a host. It reports every fault in cfg at once, joined.
func Start(cfg Config) (*Host, error) {
	cfg.Functions = slices.Clone(cfg.Functions)
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.Retries == 0 {
		cfg.Retries = 1
	}
	if cfg.RetryDelay == 0 {
		cfg.RetryDelay = time.Minute
	}
	if cfg.InitTimeout == 0 {
		cfg.InitTimeout = 10 * time.Second
	}
	h := &Host{cfg: cfg, functions: make(map[string]*function)}
	var faults []error
	for _, fn := range cfg.Functions {
		if err := h.add(fn); err != nil {
			faults = append(faults, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", cmp.Or(cfg.Listen, "127.0.0.1:0"))
	if err != nil {
		return nil, fmt.Errorf("locallambda: listen for the Lambda API: %w", err)
	}
	h.url = "http://" + ln.Addr().String()
	h.closing, h.close = context.WithCancel(context.Background())
	h.api = &http.Server{Handler: h.lambdaAPI()}
	h.wg.Go(func() { h.api.Serve(ln) })
	return h, nil
}

var functionName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (h *Host) add(fn Function) error {
	if !functionName.MatchString(fn.Name) {
		return fmt.Errorf("locallambda: function name %q: want 1 to 64 letters, digits, - or _", fn.Name)
	}
	if h.functions[fn.Name] != nil {
		return fmt.Errorf("locallambda: two functions are named %s: rename one", fn.Name)
	}
	if len(fn.Command) == 0 {
		return fmt.Errorf("locallambda: function %s has no command: set Command to its bootstrap", fn.Name)
	}
	if fn.CPU < 0 || fn.CPU > 1 {
		return fmt.Errorf("locallambda: function %s: CPU is %g, want a fraction of 1", fn.Name, fn.CPU)
	}
	if fn.CPU > 0 && fn.CPU < 1 && !canThrottle {
		return fmt.Errorf("locallambda: function %s: CPU is %g: only Linux shows the CPU time that a process uses: leave it 0", fn.Name, fn.CPU)
	}
	path, err := exec.LookPath(fn.Command[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return fmt.Errorf("locallambda: function %s: %w: build it first", fn.Name, err)
	}
	fn.Command = append([]string{path}, fn.Command[1:]...)
	fn.Env, fn.Shown = maps.Clone(fn.Env), slices.Clone(fn.Shown)
	if fn.Timeout == 0 {
		fn.Timeout = 3 * time.Second
	}
	if fn.Memory == 0 {
		fn.Memory = 128
	}
	if fn.Concurrency <= 0 {
		fn.Concurrency = 10
	}
	h.functions[fn.Name] = &function{
		Function:  fn,
		arn:       fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", h.cfg.Region, account, fn.Name),
		slots:     semaphore.NewWeighted(int64(fn.Concurrency)),
		sandboxes: make(map[*sandbox]struct{}),
	}
	return nil
}

// URL is the base of the Lambda API, for AWS_ENDPOINT_URL_LAMBDA. Any credentials will do.
func (h *Host) URL() string { return h.url }

// Shutdown ends the function's sandboxes as Lambda does, also busy ones, and returns when they are gone. A process that has
// registered an extension, as with aws-lambda-go's WithEnableSIGTERM, gets SIGTERM and 500 ms later SIGKILL; any other gets
// SIGKILL at once.
func (h *Host) Shutdown(name string) error { return h.end(name, (*sandbox).shutdown) }

// Kill ends the function's sandboxes by SIGKILL and returns when they are gone.
func (h *Host) Kill(name string) error { return h.end(name, (*sandbox).kill) }

func (h *Host) end(name string, end func(*sandbox)) error {
	fn, err := h.function(name)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	h.mu.Lock()
	fn.idle = nil // so that no invocation takes one that is about to end
	h.mu.Unlock()
	for _, s := range h.sandboxes(fn) {
		wg.Go(func() { end(s) })
	}
	wg.Wait()
	return nil
}

// PIDs returns the process ids of the function's sandboxes, ascending; none for an unknown function.
func (h *Host) PIDs(name string) []int {
	fn, err := h.function(name)
	if err != nil {
		return nil
	}
	var pids []int
	for _, s := range h.sandboxes(fn) {
		pids = append(pids, s.cmd.Process.Pid)
	}
	slices.Sort(pids)
	return pids
}

func (h *Host) sandboxes(fn *function) []*sandbox {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(fn.sandboxes))
}

// Refuse drops the queue and has no further invocation begin: it gets ErrClosed. Those that run go on. So whoever ends with
// Shutdown and Close leaves no process behind that was started in between, and that Close would kill at its work.
func (h *Host) Refuse() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.close()
}

// Close drops the queue, kills and reaps every process, and waits for the goroutines until ctx ends. Running
// invocations end as if their process had exited.
func (h *Host) Close(ctx context.Context) error {
	h.Refuse()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, fn := range h.functions {
			h.end(fn.Name, (*sandbox).kill)
		}
		h.api.Close()
		h.wg.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("locallambda: close: %w", context.Cause(ctx))
	}
}

// function finds a function by its name, ARN or partial ARN, with or without version or alias.
func (h *Host) function(name string) (*function, error) {
	short := name
	if _, after, ok := strings.Cut(name, "function:"); ok {
		short = after
	}
	short, _, _ = strings.Cut(short, ":")
	if fn := h.functions[short]; fn != nil {
		return fn, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
}

func (h *Host) log(fn *function, line string) {
	fn.tail.write(line)
	if h.cfg.Log == nil {
		return
	}
	h.logMu.Lock()
	defer h.logMu.Unlock()
	h.cfg.Log(fn.Name, line)
}

func (h *Host) done(fn *function, result Result) {
	if h.cfg.Done == nil {
		return
	}
	h.doneMu.Lock()
	defer h.doneMu.Unlock()
	h.cfg.Done(fn.Name, result)
}
