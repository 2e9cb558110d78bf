package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/rig"
)

// history is what the table has taken, by delivery key or request id, and when its answer was seen.
type history struct {
	journalled, kept, finished map[string]time.Time
	confirmed                  map[string]time.Time // by request id
}

// tableFault happens to a request to the table.
type tableFault int

const (
	passed tableFault = iota
	refusedFirst
	answerLost
	delayed
	killedFirst
	killedAfter
)

// serveTable is the proxy in front of the table.
func (r *run) serveTable(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.searchSecrets(body)
	fault := r.tableFault()
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
		r.note(req.Header.Get("X-Amz-Target"), body)
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

func (r *run) tableFault() tableFault {
	if r.calm.Load() {
		return passed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
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

var (
	confirmation = regexp.MustCompile(`#done\[(\d+)\] = `)
	keeping      = "#answer = :answer"
	finishing    = ":finished"
)

type attribute struct{ S string }

// note writes down what a journal write that was made says.
func (r *run) note(target string, body []byte) {
	if !strings.HasSuffix(target, ".TransactWriteItems") {
		return
	}
	var in struct {
		TransactItems []struct {
			Put struct {
				Item map[string]json.RawMessage
			}
			Update struct {
				Key              map[string]attribute
				UpdateExpression string
			}
		}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		r.fault("a transaction cannot be read: %v", err)
		return
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, write := range in.TransactItems {
		var sk attribute
		if raw := write.Put.Item["sk"]; raw != nil {
			json.Unmarshal(raw, &sk)
		}
		if key, ok := strings.CutPrefix(sk.S, "d#"); ok {
			r.history.journalled[key] = now
		}
		key, ok := strings.CutPrefix(write.Update.Key["sk"].S, "d#")
		if !ok {
			continue
		}
		update := write.Update.UpdateExpression
		if strings.Contains(update, keeping) {
			r.history.kept[key] = now
		}
		if strings.Contains(update, finishing) {
			r.history.finished[key] = now
		}
		if found := confirmation.FindStringSubmatch(update); found != nil {
			n, _ := strconv.Atoi(found[1])
			r.history.confirmed[requestID(key, n)] = now
		}
	}
}

// requestID is what design section 2 says of it.
func requestID(key string, action int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", key, action))
	return hex.EncodeToString(sum[:16])
}

// searchSecrets looks through what is written to the table.
func (r *run) searchSecrets(body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all any
	json.Unmarshal(body, &all)
	for text := range stringsIn(all) {
		raw, _ := base64.StdEncoding.DecodeString(text)
		for secret := range r.secrets {
			if strings.Contains(text, secret) || bytes.Contains(raw, []byte(secret)) {
				r.wrong = append(r.wrong, "a secret is written to the table")
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
