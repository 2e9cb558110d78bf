package page

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	beat  = 15 * time.Second      // between comments on a stream on which nothing happens
	batch = 15 * time.Millisecond // changes that come together are sent together
)

// serveEvents sends the entries, and then each change. The id of an event names a revision: who gives it as Last-Event-ID goes
// on behind it. The first event is a reset if the browser has to forget what it knows.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	if s.closing.Err() != nil {
		failed(w, http.StatusServiceUnavailable, "the page is closing")
		return
	}
	s.streams.Add(1)
	defer s.streams.Done()
	w.Header().Set("Content-Type", "text/event-stream")
	rev, goesOn := s.revision(r)
	if !goesOn {
		w.Write([]byte("event: reset\ndata: {}\n\n"))
	}
	flush := http.NewResponseController(w)
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		changes, now, changed := s.cfg.Model.entries.since(rev)
		if len(changes) > 0 || rev == 0 {
			raw, _ := json.Marshal(changes)
			if changes == nil {
				raw = []byte("[]")
			}
			w.Write([]byte("id: " + s.epoch + "-" + strconv.FormatInt(now, 10) + "\ndata: "))
			w.Write(raw)
			w.Write([]byte("\n\n"))
		}
		rev = now
		if flush.Flush() != nil {
			return
		}
		select {
		case <-changed:
			select {
			case <-time.After(batch):
			case <-r.Context().Done():
				return
			}
		case <-ticker.C:
			w.Write([]byte(": still there\n\n"))
		case <-r.Context().Done():
			return
		case <-s.closing.Done():
			return
		}
	}
}

// revision is what a browser has seen. ok is false if it has seen nothing of this Model.
func (s *Server) revision(r *http.Request) (rev int64, ok bool) {
	epoch, number, _ := strings.Cut(r.Header.Get("Last-Event-ID"), "-")
	rev, err := strconv.ParseInt(number, 10, 64)
	if epoch != s.epoch || err != nil || rev < 0 {
		return 0, false
	}
	return rev, true
}
