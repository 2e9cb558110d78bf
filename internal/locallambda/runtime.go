package locallambda

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/dormouse-relay/dormouse/internal/loopback"
)

const maxPayload = 6 << 20 // bytes, of an event and of an answer

// runtimeAPI is the Runtime API, version 2018-06-01, and the part of the Extensions API, 2020-01-01, that an internal
// extension without events needs.
func (s *sandbox) runtimeAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", s.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) {
		s.answer(w, r, "")
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) {
		s.answer(w, r, "Unhandled")
	})
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", s.initFailed)
	mux.HandleFunc("POST /2020-01-01/extension/register", s.register)
	mux.HandleFunc("GET /2020-01-01/extension/event/next", s.extensionNext)
	return loopback.Guard(mux) // it hands out events, and takes answers
}

// next finishes the event that the process has, and waits for the next one.
func (s *sandbox) next(w http.ResponseWriter, r *http.Request) {
	if !s.finish() {
		runtimeError(w, http.StatusForbidden, "InvalidStateTransition", "the last event has no answer yet")
		return
	}
	var j *job
	select {
	case j = <-s.jobs:
	case <-r.Context().Done():
		return
	}
	s.mu.Lock()
	s.job = j
	j.handed = time.Now()
	deadline := j.handed.Add(s.fn.Timeout)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Lambda-Runtime-Aws-Request-Id", j.id)
	w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(deadline.UnixMilli(), 10))
	w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", s.fn.arn)
	w.Write(j.payload)
}

// finish ends the event that the process has. It returns false if that event has no answer yet.
func (s *sandbox) finish() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.init == 0 {
		s.init = time.Since(s.start)
	}
	if s.job == nil {
		return true
	}
	if s.job.answer == nil {
		return false
	}
	close(s.job.finished)
	s.job = nil
	return true
}

func (s *sandbox) answer(w http.ResponseWriter, r *http.Request, functionError string) {
	j := s.inHand(w, r)
	if j == nil {
		return
	}
	read := j.read
	if functionError != "" { // an error is no part of an answer
		read = (&job{}).read
	}
	payload, err := read(w, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.job != j || j.answer != nil: // its time was up meanwhile
		runtimeError(w, http.StatusForbidden, "InvalidStateTransition", "the event is over")
	case err != nil:
		j.answer = new(failure(j.id, "Function.ResponseSizeTooLarge", "the answer is too large or broke off"))
		runtimeError(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", err.Error())
	default:
		if j.answer = brokenOff(r.Trailer); j.answer == nil {
			j.answer = &Result{Payload: payload, FunctionError: functionError}
		}
		accepted(w)
	}
}

// inHand is the event that a request answers, or nil: then the request has got its error.
func (s *sandbox) inHand(w http.ResponseWriter, r *http.Request) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.job == nil || s.job.id != r.PathValue("id"):
		runtimeError(w, http.StatusBadRequest, "InvalidRequestID", "no such event in hand")
		return nil
	case s.job.answer != nil:
		runtimeError(w, http.StatusForbidden, "InvalidStateTransition", "the event is answered already")
		return nil
	}
	return s.job
}

// initFailed keeps the reason that the process gives before it exits.
func (s *sandbox) initFailed(w http.ResponseWriter, r *http.Request) {
	reason, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	if err != nil {
		runtimeError(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.initError = reason
	accepted(w)
}

// register registers an internal extension. Lambda sends SIGTERM only to a process that has registered one.
func (s *sandbox) register(w http.ResponseWriter, r *http.Request) {
	var request struct{ Events []string }
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPayload)).Decode(&request)
	if err != nil || r.Header.Get("Lambda-Extension-Name") == "" || len(request.Events) > 0 {
		runtimeError(w, http.StatusBadRequest, "InvalidExtension", "want a named extension without events")
		return
	}
	s.mu.Lock()
	s.sigterm = true
	s.mu.Unlock()
	w.Header().Set("Lambda-Extension-Identifier", requestID())
	writeJSON(w, http.StatusOK, map[string]string{
		"functionName": s.fn.Name, "functionVersion": "$LATEST", "handler": "bootstrap",
	})
}

// extensionNext never has an event to give.
func (s *sandbox) extensionNext(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
}

func accepted(w http.ResponseWriter) {
	writeJSON(w, http.StatusAccepted, map[string]string{"status": "OK"})
}

func runtimeError(w http.ResponseWriter, status int, errorType, message string) {
	writeJSON(w, status, map[string]string{"errorType": errorType, "errorMessage": message})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
