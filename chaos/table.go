package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/rig"
)

// tableFault happens to a request to the table.
type tableFault int

const (
	passed tableFault = iota
	refusedFirst
	answerLost
	delayed
	killedFirst
	killedAfter
	stalled
)

type processKey struct{}

// newTableProxy is the proxy in front of the table. It knows whose connection one is.
func (r *run) newTableProxy() *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(r.serveTable))
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, processKey{}, r.process(c))
	}
	s.Start()
	return s
}

func (r *run) serveTable(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.searchSecrets(body)
	what := read(req.Header.Get("X-Amz-Target"), body)
	fault := r.tableFault(what)
	switch fault {
	case delayed:
		time.Sleep(r.between(50, 800))
	case refusedFirst:
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, `{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"chaos"}`)
		return
	case killedFirst:
		r.host.Kill(rig.Drain)
		panic(http.ErrAbortHandler)
	}
	out, err := http.NewRequest(req.Method, r.endpoint+req.URL.Path, bytes.NewReader(body)) // goes on if the process dies
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	out.Header = req.Header.Clone()
	pid, _ := req.Context().Value(processKey{}).(int)
	if fault == stalled && pid != 0 {
		r.stall(pid)
	}
	made := r.underWay(what, pid)
	resp, err := r.tables.Do(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if resp.StatusCode == http.StatusOK {
		made(answer)
	}
	switch fault {
	case killedAfter:
		r.host.Kill(rig.Drain)
		panic(http.ErrAbortHandler)
	case answerLost:
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	w.Write(answer)
}

func (r *run) tableFault(what request) tableFault {
	if r.calm.Load() {
		return passed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unwritable && what.ends() {
		r.injected["finish or confirm failed"]++
		return refusedFirst
	}
	if what.confirms() && r.rng.Float64() < r.weather.killConfirm {
		r.injected["SIGKILL after an outcome was written"]++
		return killedAfter
	}
	if what.ofSet() && r.rng.Float64() < r.weather.killSet {
		if r.rng.IntN(2) == 0 {
			r.injected["SIGKILL before a step of several messages"]++
			return killedFirst
		}
		r.injected["SIGKILL after a step of several messages"]++
		return killedAfter
	}
	if what.journal && r.rng.Float64() < r.weather.stall {
		r.injected["SIGSTOP with a journal write under way"]++
		return stalled
	}
	for _, c := range []struct {
		fault tableFault
		name  string
		share float64
	}{
		{killedFirst, "SIGKILL before a table request", r.weather.killTable},
		{killedAfter, "SIGKILL after a table request", r.weather.killTable},
		{refusedFirst, "table request failed", r.weather.failTable},
		{answerLost, "table request applied, answer lost", r.weather.failTable},
		{delayed, "table request delayed", r.weather.slowTable},
	} {
		if r.rng.Float64() < c.share {
			r.injected[c.name]++
			return c.fault
		}
	}
	return passed
}

// searchSecrets looks through what is written to the table.
func (r *run) searchSecrets(body []byte) {
	r.mu.Lock()
	secrets := maps.Clone(r.secrets)
	r.mu.Unlock()
	var all any
	json.Unmarshal(body, &all)
	for text := range stringsIn(all) {
		raw, _ := base64.StdEncoding.DecodeString(text)
		for secret := range secrets {
			if strings.Contains(text, secret) || bytes.Contains(raw, []byte(secret)) {
				r.fault("a secret is written to the table")
			}
		}
	}
}

// stringsIn are the strings in decoded JSON.
func stringsIn(v any) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		var walk func(any) bool
		walk = func(v any) bool {
			switch v := v.(type) {
			case string:
				return yield(v)
			case []any:
				for _, e := range v {
					if !walk(e) {
						return false
					}
				}
			case map[string]any:
				for _, e := range v {
					if !walk(e) {
						return false
					}
				}
			}
			return true
		}
		walk(v)
	}
}
