package turn

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// mostResults is how many turns of results follow a message.
const mostResults = 5

// resultsSuffix stands between the key of a message and the number of the turn of results that follows it.
const resultsSuffix = "/results/"

var errResultsChain = fmt.Errorf("the agent asks for results once more; at most %d turns of results follow a message", mostResults)

// resultsNumber is the number of a turn of results, from 1; 0: it is none. root is the key of the message that it follows.
func resultsNumber(key string) (root string, n int) {
	at := strings.LastIndex(key, resultsSuffix)
	if at < 0 {
		return key, 0
	}
	n, err := strconv.Atoi(key[at+len(resultsSuffix):])
	if err != nil { // a part of a late answer to such a turn
		return key, 0
	}
	return key[:at], n
}

// keptBody is a delivery as the journal keeps it. The version before knows the first part alone.
type keptBody struct {
	relay.Delivery
	Results map[string]agent.Result `json:"results,omitempty"`
	Say     *saying                 `json:"say,omitempty"`
}

// receive keeps an entry of our own, unless it is known.
func (j *journal) receive(e ledger.Entry) error {
	err := j.insist(func() error {
		ctx, cancel := j.run.recording()
		defer cancel()
		states, err := j.ledger.Receive(ctx, e)
		if err == nil && len(states) == 1 && states[0] == ledger.TooLarge {
			return ledger.ErrTooLarge
		}
		return err
	})
	return j.fits(err, logs.ResultsNotKept, e.Key)
}

// results are what has become of the actions whose results the agent has asked for.
func (a *answer) results() (all map[string]agent.Result) {
	for i, raw := range a.actions {
		var o action.Outgoing
		if !action.MayHaveResult(raw) || json.Unmarshal(raw, &o) != nil || o.Result == "" {
			continue
		}
		if all == nil {
			all = map[string]agent.Result{}
		}
		all[o.Result] = resultOf(o, a.outcomes[i])
	}
	return all
}

// resultOf is what an agent is told of an action.
func resultOf(o action.Outgoing, outcome string) agent.Result {
	word, told, _ := strings.Cut(outcome, ":")
	r := agent.Result{Op: o.Op(), Outcome: word, Success: word == outcomeOK, Class: classOf(word)}
	switch {
	case o.Op() == "get_chat_info":
		if json.Valid([]byte(told)) {
			r.ChatInfo = json.RawMessage(told)
		}
	case o.Op() == "thread_create":
		r.ThreadID = told
	default:
		r.MessageID = told
	}
	return r
}

// classOf is the class of a refusal that an outcome stands for (design 6).
func classOf(outcome string) string {
	switch outcome {
	case outcomeUnknown:
		return string(action.Unknown)
	case outcomeDeclined:
		return string(action.Declined)
	case outcomeRefused:
		return string(action.Permanent)
	}
	return ""
}

const mostChatInfo = 4 << 10 // bytes of what a connector knows of a chat that are kept

// accepted is the outcome of an action that the connector has taken: with the message's id, or what else it was for.
func accepted(o action.Outgoing, r relay.Result) string {
	told := r.MessageID
	switch o.Op() {
	case "get_chat_info":
		if told = ""; len(r.ChatInfo) <= mostChatInfo {
			told = strings.ToValidUTF8(string(r.ChatInfo), "\ufffd")
		}
	case "thread_create":
		if r.ThreadID != "" {
			told = r.ThreadID
		}
	}
	if told == "" {
		return outcomeOK
	}
	return outcomeOK + ":" + told
}
