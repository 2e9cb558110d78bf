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

// allowance is what a process may use of the CPU. Each period gives it its share as CPU time. When that is used up, the
// process is stopped until the next period. It goes as Linux's cgroups do: what a period leaves unused is lost, what a
// process uses beyond it is taken off the periods that follow, and a process that waits is never stopped.
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
	return true, min(rest, max(a.limit-used, shortestNap)) // on one core it cannot be used up before
}

// throttle holds the process to its function's share of the CPU until stop is called, which leaves it running and may be
// called again.
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

// cpuTime is what all threads of the process have used, without the processes that it has started.
func (s *sandbox) cpuTime() (used time.Duration, alive bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reaped {
		return 0, false
	}
	used, err := cpuTime(s.cmd.Process.Pid)
	return used, err == nil
}
