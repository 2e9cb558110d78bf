package extension_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/extension"
)

// leaks are what stays for the life of a process: the request that never gets an answer, and the wait for SIGTERM.
func leaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/dormouse-relay/dormouse/internal/extension.Register.func2.1"),
		goleak.IgnoreAnyFunction("os/signal.loop"),
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, leaks()...) }

func TestSIGTERMIsAskedForOfLambda(t *testing.T) {
	is := is.New(t)
	ready := make(chan string, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Lambda-Extension-Name") == "" || string(body) != `{"events":[]}` {
			http.Error(w, "want a named extension without events", http.StatusBadRequest)
			return
		}
		w.Header().Set("Lambda-Extension-Identifier", "id-1")
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) {
		ready <- r.Header.Get("Lambda-Extension-Identifier") // and answers: Lambda would not
	})
	api := httptest.NewServer(mux)
	defer api.Close()

	terminated := make(chan struct{})
	is.NoErr(extension.Register(strings.TrimPrefix(api.URL, "http://"))(func() { close(terminated) }))
	is.Equal(<-ready, "id-1")
	is.NoErr(syscall.Kill(syscall.Getpid(), syscall.SIGTERM))
	<-terminated
}

func TestASIGTERMDuringInitIsNotLost(t *testing.T) {
	is := is.New(t)
	wait := extension.Register("")
	is.NoErr(syscall.Kill(syscall.Getpid(), syscall.SIGTERM))
	terminated := make(chan struct{})
	is.NoErr(wait(func() { close(terminated) }))
	<-terminated
}

func TestARefusedExtensionIsAnError(t *testing.T) {
	is := is.New(t)
	api := httptest.NewServer(http.NotFoundHandler())
	defer api.Close()
	err := extension.Register(strings.TrimPrefix(api.URL, "http://"))(func() {})
	is.True(strings.Contains(err.Error(), "register the extension for SIGTERM"))
	is.True(strings.Contains(err.Error(), "404"))
}
