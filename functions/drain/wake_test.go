package main_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

func TestPokesWakeOneDrainAtATime(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const pokes, pokers = 64, 4
	asked, release := make(chan struct{}, 10), make(chan struct{})
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // unless it is read, the server does not notice that the client is gone
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		io.WriteString(w, `{"text":"done"}`)
	}))
	t.Cleanup(agent.Close)
	s := deploy(t, setup{
		wake:   true,
		change: func(p *devconnector.Preset) { p.PokeCooldown = 0 },
		env:    map[string]string{"DORMOUSE_AGENT": agent.URL, "DORMOUSE_EMPTY_AFTER": "500ms"}, // so that m1 is not late
	})
	is.Equal(s.run("arm").Status, drain.Empty) // registers the wake URL and goes idle

	s.Deliver(gateway, event(0, "m1")) // the connector pokes
	select {
	case <-asked:
	case <-time.After(patience):
		t.Fatal("nobody woke")
	}
	state := s.await(func(state devconnector.State) bool { return len(state.Pokes) == 1 && state.Pokes[0].Status != 0 })
	is.Equal(state.Pokes[0].Status, http.StatusAccepted)

	// Now drain is connected and cannot leave.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	statuses := make(chan int, pokes)
	var poking sync.WaitGroup
	for range pokers {
		poking.Go(func() {
			for range pokes / pokers {
				resp, err := client.Get(s.host.WakeURL)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				statuses <- resp.StatusCode
			}
		})
	}
	poking.Wait()
	close(statuses)
	for status := range statuses {
		is.Equal(status, http.StatusAccepted)
	}
	is.Equal(len(s.State().Sockets), 2) // the one that armed, and this
	close(release)

	counts := map[drain.Status]int{}
	for range 1 + pokes {
		out := s.awaitEvent()
		is.Equal(out.FunctionError, "")
		counts[out.Status]++
	}
	is.Equal(counts[drain.Drained], 1)
	is.Equal(counts[drain.Empty]+counts[drain.NotDue], pokes)
	is.True(counts[drain.NotDue] > 0) // empty looks have a budget
	state = s.State()
	is.Equal(replies(state), []string{"done"})
	is.Equal(mostAtOnce(state), 1)
	is.Equal(len(state.Provisions), 4)
	is.Equal(s.logged(msg(logs.Poke)), 1+pokes)
}

// mostAtOnce is how many sockets were open at the same time.
func mostAtOnce(s devconnector.State) (most int) {
	open := 0
	for _, o := range s.Observations {
		switch o.What {
		case devconnector.ObsUpgrade:
			open++
		case devconnector.ObsClosed:
			open--
		}
		most = max(most, open)
	}
	return most
}
