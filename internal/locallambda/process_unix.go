//go:build unix && !linux

package locallambda

import (
	"errors"
	"syscall"
	"time"
)

const canThrottle = false

// processAttributes gives a sandbox a process group of its own, so that signals reach all of it.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func cpuTime(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
