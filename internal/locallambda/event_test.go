package locallambda_test

import (
	"sync"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/locallambda"
)

func TestWhatHappensToASandboxIsTold(t *testing.T) {
	is := is.New(t)
	var mu sync.Mutex
	var told []locallambda.Event
	h := start(t, locallambda.Config{Functions: []locallambda.Function{function("plain")}, Tell: func(e locallambda.Event) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, e)
	}})
	cold := h.invoke(t, "plain", ask{})
	h.invoke(t, "plain", ask{})
	pids := h.PIDs("plain")
	is.NoErr(h.Kill("plain"))

	mu.Lock()
	defer mu.Unlock()
	var what []string
	for _, e := range told {
		what = append(what, e.What)
		is.Equal(e.Function, "plain")
		is.Equal(e.PID, pids[0])
		is.True(!e.At.IsZero())
	}
	is.Equal(what, []string{"started", "invoked", "answered", "frozen", "invoked", "answered", "frozen", "ended"})
	is.Equal(told[2].RequestID, cold.RequestID)
	is.True(told[2].Result.Cold && told[2].Result.InitDuration == cold.InitDuration)
	is.True(!told[5].Result.Cold)
	is.Equal(told[7].Detail, "signal: killed")
}
