//go:build unix && !linux

package locallambda

import (
	"errors"
	"syscall"
	"time"
)

const canThrottle = false

// processAttributes gives a sandbox a process group of its own, to be signalled as a whole.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func cpuTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
