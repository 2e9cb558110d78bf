package devstage

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"
)

// The page's server is not the only one that a page in a browser could reach: none asks the agent something by the tap, even one
// that has guessed its path.
func TestNoPageAsksTheAgent(t *testing.T) {
	is := is.New(t)
	log := newLog()
	agent, err := newSupervisor(Agent{URL: "http://127.0.0.1:9/"}, log)
	is.NoErr(err)
	tap := newTap(agent, log)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what passes does not wait for the agent
	for name, change := range map[string]func(*http.Request){
		"rebound": func(r *http.Request) { r.Host = "evil.example" },
		"foreign": func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
	} {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1"+tap.path, strings.NewReader(`{"version":1}`))
		change(r)
		w := httptest.NewRecorder()
		tap.ServeHTTP(w, r)
		if w.Code != http.StatusForbidden || len(tap.exchanges("")) > 0 {
			t.Errorf("%s: HTTP %d, %d exchanges", name, w.Code, len(tap.exchanges("")))
		}
	}
}
