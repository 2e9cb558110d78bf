package locallambda

import "time"

// What can happen to a sandbox, as Event.What.
const (
	EventStarted  = "started"  // its process runs
	EventInvoked  = "invoked"  // it has an invocation, with RequestID
	EventAnswered = "answered" // that invocation is over, with its Result
	EventFrozen   = "frozen"   // it waits for the next one
	EventEnded    = "ended"    // its process is gone; Detail says how
)

// Event is something that happened to a sandbox of a function.
type Event struct {
	At        time.Time
	Function  string
	What      string
	PID       int
	RequestID string
	Detail    string
	Result    *Result // do not change it
}

// tell reports an event of a sandbox to Config.Tell.
func (s *sandbox) tell(e Event) {
	h := s.host
	if h.cfg.Tell == nil {
		return
	}
	e.At, e.Function, e.PID = time.Now(), s.fn.Name, s.cmd.Process.Pid
	h.tellMu.Lock()
	defer h.tellMu.Unlock()
	h.cfg.Tell(e)
}
