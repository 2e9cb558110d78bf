package locallambda

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const canThrottle = true

// processAttributes gives a sandbox a process group of its own, so that signals reach all of it. If the host dies, the
// kernel kills the sandbox: a frozen process would not notice by itself.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// cpuTime reads the CPU clock of a process, all its threads together, to the nanosecond. The clock's id is what
// clock_getcpuclockid gives for the pid.
func cpuTime(pid int) (time.Duration, error) {
	const scheduler = 2 // CPUCLOCK_SCHED: user and system time, as the scheduler counts it
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduler), &used); err != nil {
		return 0, err
	}
	return time.Duration(used.Nano()), nil
}
