// Package extension asks Lambda for SIGTERM before it ends a process: only a process that has registered an extension gets it.
//
// The main of drain calls Register first of all, so that the round trip to Lambda's API runs beside the rest of init;
// aws-lambda-go's WithEnableSIGTERM would take it after that. The extension has no events. It has to be registered before
// the function asks for its first event, so main waits for it then. Without a runtime API, as in a test, nothing is asked.
package extension

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// name is what the extension is called in Lambda's log.
const name = "dormouse-sigterm"

// Register starts registering the extension with the runtime API at api ("host:port", empty for none), and returns the wait
// for it. The wait takes what is to be called, once, when SIGTERM comes; a SIGTERM before the wait calls it at once. The
// error of the wait means that Lambda will end the process without a SIGTERM, as it ends any other.
func Register(api string) (wait func(onSIGTERM func()) error) {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	registered := make(chan error, 1)
	go func() { registered <- register(api) }()
	return func(onSIGTERM func()) error {
		go func() {
			<-terminated
			onSIGTERM()
		}()
		return <-registered
	}
}

func register(api string) error {
	if api == "" {
		return nil
	}
	base := "http://" + api + "/2020-01-01/extension/"
	client := &http.Client{Transport: &http.Transport{}} // never a proxy
	header, err := ask(client, http.MethodPost, base+"register", `{"events":[]}`, "Lambda-Extension-Name", name)
	if err != nil {
		return fmt.Errorf("register the extension for SIGTERM: %w", err)
	}
	// The extension has no events, so this request never gets an answer. It tells Lambda that the extension is ready.
	id := header.Get("Lambda-Extension-Identifier")
	go func() { _, _ = ask(client, http.MethodGet, base+"event/next", "", "Lambda-Extension-Identifier", id) }()
	return nil
}

// ask sends a request with one header, and returns the header of a 200.
func ask(client *http.Client, method, url, body, key, value string) (http.Header, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set(key, value)
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	io.Copy(io.Discard, res.Body) // so that the connection is used again
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, res.Status)
	}
	return res.Header, nil
}
