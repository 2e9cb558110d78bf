package locallambda

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const canThrottle = true

// processAttributes gives a sandbox a process group of its own, to be signalled as a whole, and ties its life to the
// host's: a frozen process would not notice that the host was killed.
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
