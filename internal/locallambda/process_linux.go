package locallambda

import "syscall"

// processAttributes gives a sandbox a process group of its own, to be signalled as a whole, and ties its life to the
// host's: a frozen process would not notice that the host was killed.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
