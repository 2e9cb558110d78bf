package devtable

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The faults that can be injected.
const (
	FaultDown     = "down"     // every request fails, as when the table cannot be reached
	FaultThrottle = "throttle" // every request is refused as too many
	FaultSlow     = "slow"     // every request waits for Fault.Delay first
	FaultLost     = "lost"     // what is written is written, and the answer never comes
)

// FaultNames lists what Inject takes.
func FaultNames() []string { return []string{FaultDown, FaultThrottle, FaultSlow, FaultLost} }

// Fault is something that goes wrong with requests, until it was met Count times.
type Fault struct {
	Name  string
	Op    string        // such as TransactWriteItems; empty: any, of FaultLost any that writes
	Count int           // default 1; negative: until it is taken off
	Delay time.Duration // of FaultSlow; default 2 s
	Off   bool          // takes the fault off
}

const defaultDelay = 2 * time.Second

// faults are those in force, by name.
type faults struct {
	mu    sync.Mutex
	names map[string]*Fault
}

// Inject puts a fault in force, in place of one of its name.
func (s *Store) Inject(f Fault) error {
	if !slices.Contains(FaultNames(), f.Name) {
		return fmt.Errorf("no fault %q of the table: there are %s", f.Name, strings.Join(FaultNames(), ", "))
	}
	if f.Op != "" && operations[f.Op] == nil {
		return fmt.Errorf("the table has no operation %q to inject a fault into", f.Op)
	}
	if f.Count == 0 {
		f.Count = 1
	}
	if f.Delay <= 0 {
		f.Delay = defaultDelay
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if s.faults.names == nil {
		s.faults.names = map[string]*Fault{}
	}
	if delete(s.faults.names, f.Name); !f.Off {
		s.faults.names[f.Name] = &f
	}
	return nil
}

// Faults are those in force.
func (s *Store) Faults() (list []Fault) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	for _, name := range FaultNames() {
		if f := s.faults.names[name]; f != nil {
			list = append(list, *f)
		}
	}
	return list
}

// met uses up one of a fault, if it is in force for an operation.
func (f *faults) met(name, op string) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault := f.names[name]
	if fault == nil || fault.Op != "" && fault.Op != op {
		return Fault{}, false
	}
	if fault.Count > 0 {
		if fault.Count--; fault.Count == 0 {
			delete(f.names, name)
		}
	}
	return *fault, true
}

// meet has an operation meet the faults in force. lost says that its answer is to be lost.
func (f *faults) meet(ctx context.Context, op string) (lost bool, err error) {
	if slow, ok := f.met(FaultSlow, op); ok {
		select {
		case <-time.After(slow.Delay):
		case <-ctx.Done():
			return false, errors.New("the client went away")
		}
	}
	if _, ok := f.met(FaultDown, op); ok {
		return false, &Error{Status: http.StatusInternalServerError, Type: typeInternal, Message: "a fault was injected: " + FaultDown}
	}
	if _, ok := f.met(FaultThrottle, op); ok {
		return false, failure(typeThrottled, "a fault was injected: %s", FaultThrottle)
	}
	if op == "UpdateItem" || op == "PutItem" || op == "DeleteItem" || op == "TransactWriteItems" {
		_, lost = f.met(FaultLost, op)
	}
	return lost, nil
}
