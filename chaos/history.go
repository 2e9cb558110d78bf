package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// history is what the table has taken, and when its answer was seen; each the first time.
type history struct {
	journalled, kept, finished, dead map[string]time.Time // by delivery key
	confirmed                        map[string]time.Time // by request id: its outcome is written
	sets                             map[string][]string  // by the key of a leader: those that are one turn with it
	takeovers                        []time.Time          // of a lease that was not given back
	holder                           int                  // the process that took the lease last
	tokens                           map[string]bool      // of transactions that were made: one is made once
}

func newHistory() history {
	return history{
		journalled: map[string]time.Time{}, kept: map[string]time.Time{}, finished: map[string]time.Time{},
		dead: map[string]time.Time{}, confirmed: map[string]time.Time{}, sets: map[string][]string{},
		tokens: map[string]bool{},
	}
}

// request is what a request to the table asks for.
type request struct {
	journal bool // it writes to the journal
	writes  []write
	acquire bool   // it takes the lease
	token   string // that two tries of one transaction share
}

// write is one write of a transaction.
type write struct {
	key    string // of the delivery
	put    bool
	dead   bool // it is put aside, or given up
	keep   bool
	finish bool
	action int      // whose outcome it writes; -1: none's
	set    []string // the keys of those that are one turn with it from then on
}

var confirmation = regexp.MustCompile(`#done\[(\d+)\] = `)

type attribute struct{ S string }

// read reads a request.
func read(target string, body []byte) (what request) {
	var in struct {
		UpdateExpression, ClientRequestToken string
		TransactItems                        []struct {
			Put struct {
				Item map[string]json.RawMessage
			}
			Update struct {
				Key                       map[string]attribute
				UpdateExpression          string
				ExpressionAttributeValues map[string]json.RawMessage
			}
		}
	}
	switch {
	case strings.HasSuffix(target, ".UpdateItem"):
		what.acquire = json.Unmarshal(body, &in) == nil && strings.Contains(in.UpdateExpression, "#owner = :owner")
		return what
	case !strings.HasSuffix(target, ".TransactWriteItems"), json.Unmarshal(body, &in) != nil:
		return what
	}
	text := func(raw json.RawMessage) string {
		var a attribute
		json.Unmarshal(raw, &a)
		return a.S
	}
	for _, item := range in.TransactItems {
		if key, ok := strings.CutPrefix(text(item.Put.Item["sk"]), "d#"); ok {
			what.writes = append(what.writes, write{key: key, put: true, dead: text(item.Put.Item["state"]) == "dead", action: -1})
		}
		key, ok := strings.CutPrefix(item.Update.Key["sk"].S, "d#")
		if !ok {
			continue
		}
		update := item.Update.UpdateExpression
		w := write{
			key: key, keep: strings.Contains(update, "#answer = :answer") && !strings.Contains(update, "#single"), finish: strings.Contains(update, ":finished"),
			dead: strings.Contains(update, "#died = :died"), action: -1,
		}
		if found := confirmation.FindStringSubmatch(update); found != nil && text(item.Update.ExpressionAttributeValues[":outcome"]) != "" {
			w.action, _ = strconv.Atoi(found[1])
		}
		if raw, ok := item.Update.ExpressionAttributeValues[":members"]; ok {
			var members struct{ L []attribute }
			json.Unmarshal(raw, &members)
			for _, member := range members.L {
				w.set = append(w.set, member.S)
			}
		}
		what.writes = append(what.writes, w)
	}
	what.journal, what.token = len(what.writes) > 0, in.ClientRequestToken
	return what
}

// confirms reports whether the outcome of an action is written.
func (what request) confirms() bool {
	for _, w := range what.writes {
		if w.action >= 0 {
			return true
		}
	}
	return false
}

// ends reports whether an outcome or a finish is written.
func (what request) ends() bool {
	for _, w := range what.writes {
		if w.action >= 0 || w.finish {
			return true
		}
	}
	return false
}

// ofSet reports whether a step of several messages that are one turn is written; or of several turns at once, which looks alike.
func (what request) ofSet() bool {
	changes := 0
	for _, w := range what.writes {
		if !w.put {
			changes++
		}
	}
	return changes > 1
}

// underWay is called before a process's request is made, and what it returns once it was made.
func (r *run) underWay(what request, pid int) (made func(answer []byte)) {
	r.mu.Lock()
	holder := r.history.holder
	r.mu.Unlock()
	return func(answer []byte) {
		now := time.Now()
		r.mu.Lock()
		defer r.mu.Unlock()
		if what.acquire {
			r.noteAcquired(now, pid, answer)
		}
		if what.journal && holder != 0 && pid != 0 && holder != pid && !r.history.tokens[what.token] {
			r.wrong = append(r.wrong, fmt.Sprintf("the journal takes a write of a process whose lease another one has taken: process %d, "+
				"holder %d, at %s: %+v", pid, holder, now.Format("15:04:05.000"), what))
		}
		r.history.tokens[what.token] = true
		for _, w := range what.writes {
			r.history.note(now, w)
		}
	}
}

func (r *run) noteAcquired(now time.Time, pid int, answer []byte) {
	var out struct {
		Attributes map[string]json.RawMessage
	}
	var before attribute
	json.Unmarshal(answer, &out)
	json.Unmarshal(out.Attributes["before"], &before)
	if before.S != "" {
		r.history.takeovers = append(r.history.takeovers, now)
		r.seen["leases taken over"]++
	}
	r.history.holder = pid
}

func (h *history) note(now time.Time, w write) {
	set := func(times map[string]time.Time, key string) {
		if times[key].IsZero() {
			times[key] = now
		}
	}
	if w.set != nil {
		h.sets[w.key] = w.set
	}
	switch {
	case w.put:
		set(h.journalled, w.key)
	case w.keep:
		set(h.kept, w.key)
	case w.finish:
		set(h.finished, w.key)
	case w.action >= 0:
		set(h.confirmed, requestID(w.key, w.action))
	}
	if w.dead {
		set(h.dead, w.key)
	}
}

// takenOver reports whether the lease went from one process to another between two times without being given back. What
// the first one knew and had not written down is lost then.
func (h *history) takenOver(from, to time.Time) bool {
	for _, at := range h.takeovers {
		if at.After(from) && at.Before(to) {
			return true
		}
	}
	return false
}

// requestID is what design section 2 says of it.
func requestID(key string, action int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", key, action))
	return hex.EncodeToString(sum[:16])
}
