package devstage

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/loopback"
)

const (
	maxTurn    = 64 << 20 // bytes of a turn, with its files
	keptTurn   = 1 << 20  // bytes of a turn, and of an answer, that are kept to be shown
	keptAnswer = 1 << 20
	keptTurns  = 500
	agentWait  = 15 * time.Second // for an agent that is just being started
	unkept     = `{"note":"not kept: the turn is larger than 1 MiB"}`
)

// Exchange is a turn and what the agent made of it.
type Exchange struct {
	ID      int // from 1
	Key     string
	Attempt int
	Session string
	Kind    string
	Trial   bool // an operator's trial, of no chat

	Began    time.Time
	Answered time.Time // when its first byte came
	Ended    time.Time // zero: it goes on

	Turn        json.RawMessage // what was posted
	Status      int             // HTTP; 0: none came
	ContentType string
	Answer      []byte // so far; at most 1 MiB
	Cut         bool   // there was more of it
	Error       string // why there is no answer, or why it broke off
}

// tap is what drain takes for the agent: it passes turns on to the one that there is, and keeps both sides of them.
type tap struct {
	agent   *supervisor
	log     *Log
	path    string // nobody else on this machine guesses it
	handler http.Handler

	transport *http.Transport

	mu   sync.Mutex
	list []*Exchange
	last int // ID
}

func newTap(agent *supervisor, log *Log) *tap {
	t := &tap{agent: agent, log: log, path: "/" + rand.Text(), transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+t.path, t.turn)
	t.handler = loopback.Guard(mux)
	return t
}

func (t *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) { t.handler.ServeHTTP(w, r) }

// exchanges are copies.
func (t *tap) exchanges(key string) (list []Exchange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.list {
		if key == "" || e.Key == key {
			list = append(list, *e)
		}
	}
	return list
}

// change changes an exchange and tells the log.
func (t *tap) change(e *Exchange, change func(*Exchange)) {
	t.mu.Lock()
	change(e)
	now := *e
	t.mu.Unlock()
	t.log.add(Event{Exchange: &now})
}

// turn carries one turn.
func (t *tap) turn(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTurn))
	if err != nil {
		http.Error(w, "the turn was not read: "+err.Error(), http.StatusBadRequest)
		return
	}
	e := t.begin(body)
	defer func() {
		broken := recover() // the proxy's answer broke off in the middle
		t.change(e, func(e *Exchange) {
			e.Ended = time.Now()
			if broken != nil && e.Error == "" {
				e.Error = "the answer broke off, or drain hung up"
			}
		})
		if broken != nil {
			panic(broken)
		}
	}()
	seen := &seenWriter{ResponseWriter: w, exchange: e, tap: t}
	if t.agent.target == nil {
		echo(seen, r, body)
		return
	}
	wait, cancel := context.WithTimeout(r.Context(), agentWait)
	defer cancel()
	if err := t.agent.await(wait); err != nil {
		t.away(seen, e, err)
		return
	}
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		Transport:     t.transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			target := *t.agent.target
			p.Out.URL, p.Out.Host = &target, target.Host
			p.Out.ContentLength = int64(len(body))
			p.Out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
			p.Out.Body, _ = p.Out.GetBody()
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { t.away(w, e, err) },
	}
	proxy.ServeHTTP(seen, r)
}

// away answers for an agent that is not there, as a gateway in front of it would: the message waits.
func (t *tap) away(w http.ResponseWriter, e *Exchange, err error) {
	t.change(e, func(e *Exchange) { e.Error = err.Error() })
	http.Error(w, err.Error(), http.StatusBadGateway)
}

// begin notes a turn.
func (t *tap) begin(body []byte) *Exchange {
	var turn struct {
		Kind       string         `json:"kind"`
		SessionKey string         `json:"session_key"`
		Delivery   agent.Delivery `json:"delivery"`
	}
	json.Unmarshal(body, &turn) // what it is not, the page shows as it is
	e := &Exchange{
		Key: turn.Delivery.Key, Attempt: turn.Delivery.Attempt, Session: turn.SessionKey, Kind: turn.Kind, Trial: turn.Delivery.Trial,
		Began: time.Now(), Turn: body,
	}
	if len(body) > keptTurn || !json.Valid(body) {
		e.Turn = json.RawMessage(unkept)
	}
	t.mu.Lock()
	t.last++
	e.ID = t.last
	t.list = append(t.list, e)
	if len(t.list) > keptTurns {
		t.list = slices.Clone(t.list[len(t.list)-keptTurns:])
	}
	t.mu.Unlock()
	t.change(e, func(*Exchange) {})
	return e
}

// echo answers as the built-in agent of that name.
func echo(w http.ResponseWriter, r *http.Request, body []byte) {
	var turn agent.Turn
	if err := json.Unmarshal(body, &turn); err != nil {
		http.Error(w, "no turn: "+err.Error(), http.StatusBadRequest)
		return
	}
	answer, _ := agent.Echo{}.Answer(r.Context(), turn) // it never fails
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"actions": answer.Actions})
}

// seenWriter keeps an answer as it passes.
type seenWriter struct {
	http.ResponseWriter
	exchange *Exchange
	tap      *tap
}

// Unwrap is for http.ResponseController.
func (s *seenWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *seenWriter) WriteHeader(status int) {
	s.tap.change(s.exchange, func(e *Exchange) {
		e.Status, e.ContentType, e.Answered = status, s.Header().Get("Content-Type"), time.Now()
	})
	s.ResponseWriter.WriteHeader(status)
}

func (s *seenWriter) Write(p []byte) (int, error) {
	s.tap.change(s.exchange, func(e *Exchange) {
		if e.Status == 0 {
			e.Status, e.ContentType, e.Answered = http.StatusOK, s.Header().Get("Content-Type"), time.Now()
		}
		room := min(keptAnswer-len(e.Answer), len(p))
		e.Answer = append(e.Answer, p[:room]...) // copies of the exchange see a shorter slice of the same array
		e.Cut = e.Cut || room < len(p)
	})
	return s.ResponseWriter.Write(p)
}
