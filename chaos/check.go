package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// mostActions is more than one message's answer has, each attempt of a stream counted.
const mostActions = 100

// rest says what is left in the buffer and in the table; "" if nothing is.
func (r *run) rest(ctx context.Context) string {
	open, err := r.client.Query(ctx, &dynamodb.QueryInput{
		TableName: aws.String(table), IndexName: aws.String(dynamo.Index), ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk"), // the dead, too
		ExpressionAttributeValues: map[string]types.AttributeValue{":pk": &types.AttributeValueMemberS{Value: r.gateway}},
	})
	if err != nil {
		return err.Error()
	}
	state, err := r.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: aws.String(table), ConsistentRead: aws.Bool(true),
		Key: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: r.gateway}, "sk": &types.AttributeValueMemberS{Value: "state"},
		},
	})
	if err != nil {
		return err.Error()
	}
	_, held := state.Item["owner"]
	buffered := r.connector.Buffered(r.gateway)
	if buffered == 0 && len(open.Items) == 0 && !held {
		return ""
	}
	return fmt.Sprintf("%d buffered, %d open in the journal, lease held: %t", buffered, len(open.Items), held)
}

// answer is what came of one message.
type answer struct {
	requests map[string]int // how often each came
	lines    map[string]int // likewise, by content
	first    int            // place of the first action among all
}

// check looks at what reached the chats, and at what the table holds.
func (r *run) check(state devconnector.State) {
	answers := r.answers(state)
	unknown := r.unknown()
	last := map[int]message{} // of each session
	for _, m := range r.sent {
		r.seen["messages"]++
		a := answers[m.id()]
		if a == nil {
			r.checkUnanswered(m, unknown[m.key])
			continue
		}
		r.checkAnswer(m, a, unknown[m.key])
		if before := last[m.session]; before.number > 0 && a.first < answers[before.id()].first {
			r.fault("%s is answered before %s", m.id(), before.id())
		}
		last[m.session] = m
	}
	for _, breach := range state.Breaches {
		r.fault("breach of the contract: %s", breach)
	}
	for _, line := range r.log {
		if strings.Contains(line, `"status":"handed_off"`) {
			r.seen["drains that ran out of time and handed over"]++
		}
	}
	r.seen["sockets"] += len(state.Sockets)
	r.seen["sends"] += len(byOp(state, "send"))
	r.scan()
}

// answers puts the sends to the messages that they answer, by message id, and wants none after it was known to have been
// sent, and no other text than the agent's.
func (r *run) answers(state devconnector.State) map[string]*answer {
	answers := map[string]*answer{}
	messages, byRequest, h := r.written()
	for place, out := range state.Outbounds {
		if out.Op != "send" {
			continue
		}
		id, ok := byRequest[out.RequestID]
		if !ok {
			r.fault("a send of an unknown request: %s", out.Content)
			continue
		}
		a := answers[id]
		if a == nil {
			a = &answer{requests: map[string]int{}, lines: map[string]int{}, first: place}
			answers[id] = a
		}
		a.requests[out.RequestID]++
		a.lines[out.Content]++
		if a.requests[out.RequestID] > 1 {
			r.seen["actions that came twice, unconfirmed"]++
		}
		for what, at := range map[string]time.Time{
			"confirmed": h.confirmed[out.RequestID], "finished": h.finished[messages[id].key],
		} {
			if !at.IsZero() && out.At.After(at) && a.requests[out.RequestID] > 1 {
				r.fault("%s: sent once more %s after it was %s", id, out.At.Sub(at), what)
			}
		}
		if lines, _ := messages[id].lines(); !slices.Contains(lines, out.Content) {
			r.fault("%s: answered with %q", id, out.Content)
		}
	}
	return answers
}

// written are the messages by id, the ids of messages by request id, and what the table was told.
func (r *run) written() (messages map[string]message, byRequest map[string]string, h history) {
	messages, byRequest = map[string]message{}, map[string]string{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.sent {
		messages[m.id()] = m
		for n := range mostActions {
			byRequest[requestID(m.key, n)] = m.id()
		}
	}
	return messages, byRequest, r.history
}

// checkUnanswered is for a message that nothing came of. A process that has written an action to a socket that died does
// not write it again.
func (r *run) checkUnanswered(m message, unknown bool) {
	_, journalled := r.history.journalled[m.key]
	switch {
	case m.calm:
		r.fault("%s: not answered, although all was calm", m.id())
	case unknown:
		r.seen["messages with an action of unknown outcome, not repeated"]++
	case m.buffered || journalled:
		r.fault("%s: not answered; buffered %t, journalled %t", m.id(), m.buffered, journalled)
	default:
		r.seen["live messages lost with a socket"]++
	}
}

func (r *run) checkAnswer(m message, a *answer, unknown bool) {
	lines, streamed := m.lines()
	for _, line := range lines {
		if a.lines[line] == 0 && !unknown {
			r.fault("%s: %q did not come", m.id(), line)
		}
	}
	if !streamed && len(a.requests) > len(lines) { // a stream that was cut short makes new ones
		r.fault("%s: %d actions of %d", m.id(), len(a.requests), len(lines))
	}
	for line, times := range a.lines {
		if m.calm && times > 1 {
			r.fault("%s: %q came %d times, although all was calm", m.id(), line, times)
		}
	}
}

// unknown are the deliveries that had an action without an answer, by key, as the log says.
func (r *run) unknown() map[string]bool {
	keys := map[string]bool{}
	for _, line := range r.log {
		var entry struct{ Delivery string }
		if strings.Contains(line, logs.OutcomeUnknown) && json.Unmarshal([]byte(line), &entry) == nil {
			keys[entry.Delivery] = true
		}
	}
	return keys
}

func byOp(state devconnector.State, op string) (list []devconnector.Outbound) {
	for _, out := range state.Outbounds {
		if out.Op == op {
			list = append(list, out)
		}
	}
	return list
}

// scan looks for secrets in what the table holds at the end. The proxy has seen what it held before.
func (r *run) scan() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	pages := dynamodb.NewQueryPaginator(r.client, &dynamodb.QueryInput{
		TableName: aws.String(table), KeyConditionExpression: aws.String("pk = :pk"), ConsistentRead: aws.Bool(true),
		ExpressionAttributeValues: map[string]types.AttributeValue{":pk": &types.AttributeValueMemberS{Value: r.gateway}},
	})
	items := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			r.fault("reading the table: %v", err)
			return
		}
		items += len(page.Items)
		raw, err := json.Marshal(page.Items) // bytes as base64
		if err != nil {
			r.fault("reading the table: %v", err)
			return
		}
		r.searchSecrets(raw)
	}
	if items == 0 {
		r.fault("the table holds nothing")
	}
}
