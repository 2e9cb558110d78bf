package locallambda

import (
	"sync"
	"syscall"
	"time"
)

const (
	cpuPeriod   = 20 * time.Millisecond  // Lambda's
	shortestNap = 200 * time.Microsecond // between two looks at a process's CPU time
)

// allowance is the CPU time that a process may use. Each period gives it its share. When that is used up, the process is
// stopped until the next period. The rules are those of Linux's cgroups: what a period leaves unused is lost, what a
// process uses beyond it is taken off the next periods, and a process that waits is never stopped.
type allowance struct {
	quota time.Duration // CPU time of a period
	end   time.Time     // of the period
	limit time.Duration // CPU time, since the process's start, at which it is stopped
}

func newAllowance(share float64, now time.Time, used time.Duration) *allowance {
	quota := time.Duration(share * float64(cpuPeriod))
	return &allowance{quota: quota, end: now.Add(cpuPeriod), limit: used + quota}
}

// check reports whether a process that has used that much CPU time may run, and when to look again.
func (a *allowance) check(now time.Time, used time.Duration) (run bool, again time.Duration) {
	if late := now.Sub(a.end); late >= 0 {
		periods := late/cpuPeriod + 1
		a.end = a.end.Add(periods * cpuPeriod)
		a.limit = min(a.limit+periods*a.quota, used+a.quota)
	}
	rest := a.end.Sub(now)
	if used >= a.limit {
		return false, rest
	}
	return true, min(rest, max(a.limit-used, shortestNap)) // one core cannot use it up earlier
}

// throttle limits the process to its function's share of the CPU until stop is called. stop leaves the process running, and
// may be called again.
func (s *sandbox) throttle() (stop func()) {
	share := s.fn.CPU
	if share == 0 || share == 1 {
		return func() {}
	}
	quit := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.signal(syscall.SIGCONT)
		used, _ := s.cpuTime()
		a := newAllowance(share, time.Now(), used)
		running := true
		for {
			used, alive := s.cpuTime()
			if !alive {
				return
			}
			run, again := a.check(time.Now(), used)
			switch {
			case run && !running:
				s.signal(syscall.SIGCONT)
			case !run && running:
				s.signal(syscall.SIGSTOP)
			}
			running = run
			select {
			case <-quit:
				return
			case <-time.After(again):
			}
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-done })
}

// cpuTime is the CPU time that all threads of the process have used, without that of its child processes.
func (s *sandbox) cpuTime() (used time.Duration, alive bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reaped {
		return 0, false
	}
	used, err := cpuTime(s.cmd.Process.Pid)
	return used, err == nil
}
