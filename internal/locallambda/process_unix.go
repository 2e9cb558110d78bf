//go:build unix && !linux

package locallambda

import "syscall"

// processAttributes gives a sandbox a process group of its own, to be signalled as a whole.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
