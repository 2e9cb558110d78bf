package locallambda_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/locallambda"
)

// patience bounds a wait for something that must come; nothing waits that long on a machine that is not stuck.
const patience = 30 * time.Second

// A program under the race detector takes a second to exit, unless told not to.
const raceVariable, raceValue = "GORACE", "atexit_sleep_ms=0"

// function is one that is this test binary, under the name of its kind.
func function(kind string) locallambda.Function {
	return locallambda.Function{
		Name:    strings.ReplaceAll(kind, " ", "-"),
		Command: []string{os.Args[0]},
		Env:     map[string]string{kindVariable: kind, raceVariable: raceValue},
		Timeout: patience,
	}
}

// host is a Host whose log and results the test can read.
type host struct {
	*locallambda.Host
	done chan locallambda.Result

	mu  sync.Mutex
	log []string
}

func start(t *testing.T, cfg locallambda.Config) *host {
	t.Helper()
	h := &host{done: make(chan locallambda.Result, 100)}
	cfg.Log = func(function, line string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.log = append(h.log, function+": "+line)
	}
	cfg.Done = func(_ string, result locallambda.Result) { h.done <- result }
	var err error
	if h.Host, err = locallambda.Start(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return h
}

func startFunctions(t *testing.T, functions ...locallambda.Function) *host {
	t.Helper()
	return start(t, locallambda.Config{Functions: functions, RetryDelay: time.Millisecond})
}

func (h *host) lines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.log)
}

func (h *host) invoke(t *testing.T, name string, in ask) locallambda.Result {
	t.Helper()
	payload, _ := json.Marshal(in)
	result, err := h.Invoke(t.Context(), name, payload)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func (h *host) info(t *testing.T, name string) info {
	t.Helper()
	result := h.invoke(t, name, ask{})
	var out info
	if err := json.Unmarshal(result.Payload, &out); err != nil {
		t.Fatalf("%s: %s", err, result.Payload)
	}
	return out
}

// fault is what a failed invocation answers.
type fault struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

func faultOf(t *testing.T, result locallambda.Result) fault {
	t.Helper()
	var out fault
	if err := json.Unmarshal(result.Payload, &out); err != nil || result.FunctionError != "Unhandled" {
		t.Fatalf("no fault: %q %s %v", result.FunctionError, result.Payload, err)
	}
	return out
}

// gate lets functions that were asked to "gate" wait for the test.
type gate struct{ net.Listener }

func newGate(t *testing.T) gate {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return gate{ln}
}

func (g gate) ask() ask { return ask{Do: "gate", Addr: g.Addr().String()} }

func (g gate) payload() []byte {
	payload, _ := json.Marshal(g.ask())
	return payload
}

// running waits until a function runs, and returns what lets it go on, or tells of its end.
func (g gate) running(t *testing.T) net.Conn {
	t.Helper()
	g.Listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	conn, err := g.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { conn.Close() })
	return conn
}

func open(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
}

func dead(t *testing.T, conn net.Conn) {
	t.Helper()
	n, err := conn.Read(make([]byte, 1))
	if timeout, ok := errors.AsType[net.Error](err); n > 0 || err == nil || ok && timeout.Timeout() {
		t.Fatalf("the process lives: %d bytes, %v", n, err)
	}
}

func wait[T any](t *testing.T, results <-chan T) T {
	t.Helper()
	select {
	case result := <-results:
		return result
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func post(url, body string) error {
	response, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		return errors.New(response.Status)
	}
	return nil
}

// state is the letter that Linux shows for a process, "" for none.
func state(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return fields[0]
}

func needProc(t *testing.T) {
	t.Helper()
	if goruntime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
}

func TestASandboxIsKeptWarm(t *testing.T) {
	is := is.New(t)
	h := startFunctions(t, function("plain"))
	cold := h.invoke(t, "plain", ask{})
	warm := h.invoke(t, "plain", ask{})
	is.True(cold.Cold)
	is.True(cold.InitDuration > 0)
	is.True(cold.Duration > 0)
	is.True(!warm.Cold)
	is.Equal(warm.InitDuration, time.Duration(0))
	is.True(warm.RequestID != cold.RequestID)
	var first, second info
	is.NoErr(json.Unmarshal(cold.Payload, &first))
	is.NoErr(json.Unmarshal(warm.Payload, &second))
	is.Equal(first.PID, second.PID)
	is.Equal(second.Invocations, 2)
	is.Equal(second.RequestID, warm.RequestID)
	is.Equal(h.PIDs("plain"), []int{first.PID})
}

func TestAConcurrentInvocationGetsItsOwnSandbox(t *testing.T) {
	is := is.New(t)
	h := startFunctions(t, function("plain"))
	g := newGate(t)
	is.NoErr(h.InvokeEvent("plain", g.payload()))
	busy := g.running(t)
	is.True(h.invoke(t, "plain", ask{}).Cold)
	is.Equal(len(h.PIDs("plain")), 2)
	open(t, busy)
	is.Equal(string(wait(t, h.done).Payload), `"through"`)
	is.True(!h.invoke(t, "plain", ask{}).Cold)
	is.Equal(len(h.PIDs("plain")), 2)
}

func TestTheEnvironmentIsLambdasAndNotTheHosts(t *testing.T) {
	is := is.New(t)
	t.Setenv("HOST_SECRET", "hunter2")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
	fn := function("plain")
	fn.Memory = 256
	fn.Timeout = 45 * time.Minute
	fn.Env["MINE"] = "a=b"
	fn.Env["TZ"] = "Europe/Berlin" // wins over Lambda's
	h := start(t, locallambda.Config{Functions: []locallambda.Function{fn}, Region: "eu-west-1"})
	got := h.info(t, "plain")
	env := make(map[string]string)
	for _, pair := range got.Env {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	dir := filepath.Dir(os.Args[0])
	is.True(regexp.MustCompile(`^127\.0\.0\.1:\d+$`).MatchString(env["AWS_LAMBDA_RUNTIME_API"]))
	is.True(env["AWS_LAMBDA_LOG_STREAM_NAME"] != "")
	delete(env, "AWS_LAMBDA_RUNTIME_API")
	delete(env, "AWS_LAMBDA_LOG_STREAM_NAME")
	delete(env, "_X_AMZN_TRACE_ID") // set by aws-lambda-go
	is.Equal(env, map[string]string{
		kindVariable:                      "plain",
		raceVariable:                      raceValue,
		"MINE":                            "a=b",
		"TZ":                              "Europe/Berlin",
		"AWS_LAMBDA_FUNCTION_NAME":        "plain",
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
		"AWS_LAMBDA_INITIALIZATION_TYPE":  "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/plain",
		"AWS_REGION":                      "eu-west-1",
		"AWS_DEFAULT_REGION":              "eu-west-1",
		"AWS_ACCESS_KEY_ID":               "local",
		"AWS_SECRET_ACCESS_KEY":           "local",
		"AWS_SESSION_TOKEN":               "local",
		"AWS_ENDPOINT_URL_LAMBDA":         h.URL(),
		"LAMBDA_TASK_ROOT":                dir,
		"LAMBDA_RUNTIME_DIR":              dir,
		"_HANDLER":                        "bootstrap",
		"PATH":                            "/usr/local/bin:/usr/bin/:/bin:/opt/bin",
		"LANG":                            "en_US.UTF-8",
	})
	is.Equal(got.Memory, 256)
	is.Equal(got.Dir, dir)
	is.Equal(got.ARN, "arn:aws:lambda:eu-west-1:000000000000:function:plain")
	is.True(got.Left > 44*time.Minute && got.Left <= 45*time.Minute) // the deadline comes from the timeout
}

func TestAFailingFunctionIsUnhandledAndStaysWarm(t *testing.T) {
	is := is.New(t)
	h := startFunctions(t, function("plain"))
	result := h.invoke(t, "plain", ask{Do: "error"})
	is.Equal(faultOf(t, result), fault{"errorString", "no can do"})
	is.True(!h.invoke(t, "plain", ask{}).Cold)
}

func TestAProcessThatEndsFailsItsInvocationAndTheNextIsCold(t *testing.T) {
	tests := map[string]fault{
		"exit":   {"Runtime.ExitError", "Runtime exited with error: exit status 3"},
		"exit 0": {"Runtime.ExitError", "Runtime exited without providing a reason"},
		"panic":  {"string", "oh no"}, // it answered before it exited
	}
	for do, want := range tests {
		t.Run(do, func(t *testing.T) {
			is := is.New(t)
			h := startFunctions(t, function("plain"))
			got := faultOf(t, h.invoke(t, "plain", ask{Do: do}))
			is.Equal(got.Type, want.Type)
			is.True(strings.HasSuffix(got.Message, want.Message))
			is.Equal(len(h.PIDs("plain")), 0)
			is.True(h.invoke(t, "plain", ask{}).Cold)
		})
	}
}

func TestATimeoutKillsAndTheNextIsCold(t *testing.T) {
	is := is.New(t)
	fn := function("sigterm")
	fn.Timeout = 300 * time.Millisecond
	h := startFunctions(t, fn)
	result := h.invoke(t, "sigterm", ask{Do: "hang"})
	is.Equal(faultOf(t, result), fault{
		"Sandbox.Timedout", "RequestId: " + result.RequestID + " Error: Task timed out after 0.30 seconds",
	})
	is.True(result.Duration >= fn.Timeout)
	is.Equal(len(h.PIDs("sigterm")), 0)
	is.Equal(h.lines(), nil) // no SIGTERM before it
	is.True(h.invoke(t, "sigterm", ask{}).Cold)
}

func TestAProcessThatDoesNotStart(t *testing.T) {
	tests := map[string]struct {
		timeout time.Duration
		want    fault
	}{
		"init error": {patience, fault{"NoSuchSetting", "it is missing"}},
		"init exit":  {patience, fault{"Runtime.ExitError", "Runtime exited with error: exit status 7"}},
		"init hang":  {300 * time.Millisecond, fault{"Sandbox.Timedout", "Init timed out after 0.30 seconds"}},
	}
	for kind, tt := range tests {
		t.Run(kind, func(t *testing.T) {
			is := is.New(t)
			fn := function(kind)
			h := start(t, locallambda.Config{Functions: []locallambda.Function{fn}, InitTimeout: tt.timeout})
			result := h.invoke(t, fn.Name, ask{})
			got := faultOf(t, result)
			is.Equal(got.Type, tt.want.Type)
			is.True(strings.HasSuffix(got.Message, tt.want.Message))
			is.Equal(result.Duration, time.Duration(0)) // it never had the event
			is.Equal(len(h.PIDs(fn.Name)), 0)
		})
	}
	t.Run("no executable", func(t *testing.T) {
		is := is.New(t)
		path := filepath.Join(t.TempDir(), "bootstrap")
		is.NoErr(os.WriteFile(path, []byte("\x7fELF junk"), 0o755))
		h := startFunctions(t, locallambda.Function{Name: "junk", Command: []string{path}})
		is.Equal(faultOf(t, h.invoke(t, "junk", ask{})).Type, "Runtime.InvalidEntrypoint")
	})
}

func TestFreeze(t *testing.T) {
	needProc(t)
	t.Run("an idle sandbox is frozen, and thawed for the next event", func(t *testing.T) {
		is := is.New(t)
		h := startFunctions(t, function("plain"))
		pid := h.info(t, "plain").PID
		for deadline := time.Now().Add(patience); state(pid) != "T" && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		is.Equal(state(pid), "T")
		is.Equal(h.info(t, "plain").PID, pid)
	})
	t.Run("not on demand", func(t *testing.T) {
		is := is.New(t)
		h := start(t, locallambda.Config{Functions: []locallambda.Function{function("plain")}, NoFreeze: true})
		is.True(state(h.info(t, "plain").PID) != "T")
	})
}

func TestShutdown(t *testing.T) {
	tests := map[string]struct {
		log   []string
		grace bool
	}{
		"sigterm":  {[]string{"sigterm: terminating"}, false},
		"stubborn": {[]string{"stubborn: terminating"}, true},
		"unasked":  {nil, false}, // SIGKILL at once
	}
	for kind, tt := range tests {
		t.Run(kind, func(t *testing.T) {
			is := is.New(t)
			h := startFunctions(t, function(kind))
			pid := h.info(t, kind).PID // idle, so frozen
			started := time.Now()
			is.NoErr(h.Shutdown(kind))
			if tt.grace {
				is.True(time.Since(started) >= 500*time.Millisecond)
			}
			is.Equal(h.lines(), tt.log)
			is.Equal(state(pid), "") // reaped
			is.True(h.invoke(t, kind, ask{}).Cold)
		})
	}
	t.Run("of a busy one", func(t *testing.T) {
		is := is.New(t)
		h := start(t, locallambda.Config{Functions: []locallambda.Function{function("sigterm")}, Retries: -1})
		g := newGate(t)
		is.NoErr(h.InvokeEvent("sigterm", g.payload()))
		busy := g.running(t)
		is.NoErr(h.Shutdown("sigterm"))
		dead(t, busy)
		is.Equal(faultOf(t, wait(t, h.done)).Type, "Runtime.ExitError")
		is.Equal(h.lines(), []string{"sigterm: terminating"})
	})
}

func TestRefuseLetsWhatRunsGoOn(t *testing.T) {
	is := is.New(t)
	h := start(t, locallambda.Config{Functions: []locallambda.Function{function("sigterm")}, Retries: -1})
	g := newGate(t)
	is.NoErr(h.InvokeEvent("sigterm", g.payload()))
	busy := g.running(t)
	h.Refuse()
	is.True(errors.Is(h.InvokeEvent("sigterm", nil), locallambda.ErrClosed))
	_, err := h.Invoke(t.Context(), "sigterm", nil)
	is.True(errors.Is(err, locallambda.ErrClosed))
	is.Equal(len(h.PIDs("sigterm")), 1) // it runs
	is.NoErr(h.Shutdown("sigterm"))
	dead(t, busy)
	is.Equal(h.lines(), []string{"sigterm: terminating"}) // it was asked to end
	is.Equal(h.PIDs("sigterm"), nil)                      // and nothing has taken its place
}

func TestKill(t *testing.T) {
	is := is.New(t)
	h := start(t, locallambda.Config{Functions: []locallambda.Function{function("sigterm")}, Retries: -1})
	g := newGate(t)
	is.NoErr(h.InvokeEvent("sigterm", g.payload()))
	busy := g.running(t)
	is.NoErr(h.Kill("sigterm"))
	dead(t, busy)
	got := faultOf(t, wait(t, h.done))
	is.True(strings.HasSuffix(got.Message, "Runtime exited with error: signal: killed"))
	is.Equal(h.lines(), nil)
	is.True(h.invoke(t, "sigterm", ask{}).Cold)
}

func TestLinesOfOutputAreLogged(t *testing.T) {
	is := is.New(t)
	h := startFunctions(t, function("plain"))
	h.invoke(t, "plain", ask{Do: "print"})
	is.Equal(h.lines(), []string{"plain: one", "plain: two", "plain: ", "plain: the rest"}) // stdout and stderr in order
}

func TestAnEventInvocationIsRetriedOnError(t *testing.T) {
	tests := map[string]struct {
		retries, attempts int
	}{
		"once by default": {0, 2},
		"three times":     {3, 4},
		"never":           {-1, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			h := start(t, locallambda.Config{
				Functions: []locallambda.Function{function("plain")}, Retries: tt.retries, RetryDelay: time.Millisecond,
			})
			is.NoErr(h.InvokeEvent("plain", []byte(`{"do":"error"}`)))
			for attempt := 1; attempt <= tt.attempts; attempt++ {
				result := wait(t, h.done)
				is.Equal(result.Attempt, attempt)
				is.Equal(result.FunctionError, "Unhandled")
			}
			is.NoErr(h.Close(t.Context())) // waits for what goes on
			is.Equal(len(h.done), 0)
			is.Equal(h.Events("plain"), 0)
		})
	}
	t.Run("after the delay", func(t *testing.T) {
		is := is.New(t)
		h := start(t, locallambda.Config{
			Functions: []locallambda.Function{function("plain")}, RetryDelay: 200 * time.Millisecond,
		})
		h.info(t, "plain") // from now on it takes next to no time
		begun := time.Now()
		is.NoErr(h.InvokeEvent("plain", []byte(`{"do":"error"}`)))
		wait(t, h.done)
		is.Equal(h.Events("plain"), 1) // it is to be tried again
		wait(t, h.done)
		is.True(time.Since(begun) >= 200*time.Millisecond)
	})
	t.Run("not after a success", func(t *testing.T) {
		is := is.New(t)
		h := startFunctions(t, function("plain"))
		is.NoErr(h.InvokeEvent("plain", nil))
		is.Equal(wait(t, h.done).FunctionError, "")
		is.NoErr(h.Close(t.Context()))
		is.Equal(len(h.done), 0)
	})
}

func TestConcurrencyOneRunsEventsOneAtATime(t *testing.T) {
	is := is.New(t)
	fn := function("plain")
	fn.Concurrency = 1
	h := startFunctions(t, fn)
	g := newGate(t)
	for range 3 {
		is.NoErr(h.InvokeEvent("plain", g.payload()))
	}
	for n := range 3 {
		busy := g.running(t)
		_, err := h.Invoke(t.Context(), "plain", nil)
		is.True(errors.Is(err, locallambda.ErrThrottled)) // synchronous ones do not wait
		is.Equal(len(h.done), 0)
		open(t, busy)
		is.Equal(wait(t, h.done).Cold, n == 0)
	}
	is.Equal(len(h.PIDs("plain")), 1)
}

func TestASlotIsFreeOnceTheResultIsThere(t *testing.T) {
	is := is.New(t)
	fn := function("plain")
	fn.Concurrency = 1
	h := startFunctions(t, fn)
	for n := range 50 {
		result, err := h.Invoke(t.Context(), "plain", nil)
		is.NoErr(err) // never throttled
		is.Equal(result.Cold, n == 0)
	}
}

func TestInvokeGivesUpWithItsContextAndTheInvocationGoesOn(t *testing.T) {
	is := is.New(t)
	fn := function("plain")
	fn.Concurrency = 1
	h := startFunctions(t, fn)
	g := newGate(t)
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := h.Invoke(ctx, "plain", g.payload())
		answered <- err
	}()
	busy := g.running(t)
	cancel()
	is.True(errors.Is(wait(t, answered), context.Canceled))
	is.NoErr(h.InvokeEvent("plain", nil))
	open(t, busy)
	is.True(!wait(t, h.done).Cold) // in the sandbox of the first, which ended well
}

func needThrottle(t *testing.T) {
	t.Helper()
	if goruntime.GOOS != "linux" {
		t.Skip("only Linux shows how much CPU a process uses")
	}
}

func TestAShareOfTheCPU(t *testing.T) {
	needThrottle(t)
	is := is.New(t)
	fn := function("plain")
	fn.CPU = 0.2
	h := startFunctions(t, fn)
	h.invoke(t, "plain", ask{})
	result := h.invoke(t, "plain", ask{Do: "burn", MS: 60}) // 300 ms at a fifth of one CPU
	is.Equal(result.FunctionError, "")
	is.True(result.Duration > 200*time.Millisecond) // with room for a last turn that is longer than its share
	is.True(result.Duration < 5*time.Second)        // and on a busy machine
	is.True(!result.Cold)
}

// A function that waits has its whole share when what it waits for comes: it is not stopped meanwhile.
func TestAProcessThatWaitsIsNotStopped(t *testing.T) {
	needThrottle(t)
	is := is.New(t)
	fn := function("plain")
	fn.CPU = 0.2
	h := startFunctions(t, fn)
	g := newGate(t)
	ended := make(chan locallambda.Result, 1)
	go func() {
		result, _ := h.Invoke(context.Background(), "plain", g.payload())
		ended <- result
	}()
	conn := g.running(t)
	pid := h.PIDs("plain")[0]
	// Five periods; by the wall clock it would be stopped for four fifths of each. What it has used beyond its share to get here is
	// paid for first.
	free := 0
	for end := time.Now().Add(patience); free < 100 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		if free++; state(pid) == "T" {
			free = 0
		}
	}
	is.Equal(free, 100)
	open(t, conn)
	is.Equal(wait(t, ended).FunctionError, "")
}

func TestUnknownFunction(t *testing.T) {
	is := is.New(t)
	h := startFunctions(t)
	_, err := h.Invoke(t.Context(), "nobody", nil)
	is.True(errors.Is(err, locallambda.ErrNotFound))
	is.True(errors.Is(h.InvokeEvent("nobody", nil), locallambda.ErrNotFound))
	is.True(errors.Is(h.Shutdown("nobody"), locallambda.ErrNotFound))
	is.True(errors.Is(h.Kill("nobody"), locallambda.ErrNotFound))
	is.Equal(h.PIDs("nobody"), nil)
}

func TestCloseEndsEverything(t *testing.T) {
	is := is.New(t)
	fn := function("plain")
	fn.Concurrency = 2
	h := startFunctions(t, fn)
	pids := []int{h.info(t, "plain").PID}
	g := newGate(t)
	for range 4 { // two run, two are queued
		is.NoErr(h.InvokeEvent("plain", g.payload()))
	}
	busy := []net.Conn{g.running(t), g.running(t)}
	pids = append(pids, h.PIDs("plain")...)
	is.NoErr(h.Close(t.Context()))
	for _, conn := range busy {
		dead(t, conn)
	}
	for _, pid := range pids {
		is.Equal(state(pid), "")
	}
	is.Equal(len(h.done), 2) // the queued ones never ran, and nothing was retried
	_, err := h.Invoke(t.Context(), "plain", nil)
	is.True(errors.Is(err, locallambda.ErrClosed))
	is.True(errors.Is(h.InvokeEvent("plain", nil), locallambda.ErrClosed))
	is.NoErr(h.Close(t.Context())) // again
}

func TestFrozenProcessesDieWithAHostThatIsKilled(t *testing.T) {
	needProc(t)
	is := is.New(t)
	g := newGate(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), kindVariable+"=host", "LOCALLAMBDA_TEST_ADDR="+g.Addr().String())
	stdin, err := cmd.StdinPipe()
	is.NoErr(err)
	defer stdin.Close()
	out, err := cmd.StdoutPipe()
	is.NoErr(err)
	is.NoErr(cmd.Start())
	frozen := g.running(t)
	line, err := bufio.NewReader(out).ReadString('\n')
	is.NoErr(err)
	is.Equal(line, "idle\n")
	is.NoErr(cmd.Process.Kill())
	dead(t, frozen)
	cmd.Wait()
}

func TestStartReportsEveryFault(t *testing.T) {
	is := is.New(t)
	fine := function("plain")
	_, err := locallambda.Start(locallambda.Config{Functions: []locallambda.Function{
		fine, fine,
		{Name: "not a name", Command: fine.Command},
		{Name: "idle"},
		{Name: "fast", Command: fine.Command, CPU: 1.5},
		{Name: "missing", Command: []string{"./no/such/bootstrap"}},
	}})
	is.True(err != nil)
	for _, want := range []string{
		`two functions are named plain`, `function name "not a name"`, `function idle has no command`,
		`function fast: CPU is 1.5`, `no/such/bootstrap`,
	} {
		is.True(strings.Contains(err.Error(), want)) // the fault is named
	}
}

func TestTheHostWorksWithoutLogAndDone(t *testing.T) {
	is := is.New(t)
	fn := function("plain")
	fn.Concurrency = 1
	h, err := locallambda.Start(locallambda.Config{Functions: []locallambda.Function{fn}})
	is.NoErr(err)
	defer h.Close(context.Background())
	result, err := h.Invoke(t.Context(), "plain", []byte(`{"do":"print"}`))
	is.NoErr(err)
	is.Equal(result.FunctionError, "Unhandled") // it exits
	is.NoErr(h.InvokeEvent("plain", nil))
}
