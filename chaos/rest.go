package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
)

// rest is what is left in the buffer and in the table.
type rest struct {
	err      error
	buffered int
	inbox    int              // says that nobody has taken
	held     bool             // the lease
	open     map[string]entry // unfinished, by delivery key
	dead     map[string]entry
}

// entry is what the journal says of a delivery that is unfinished or dead.
type entry struct {
	reason   string
	due      time.Time // zero: it does not wait
	attempts int
}

// How far away the next try of a message must be at least that is left waiting at a run's end. Where the agent was away for up to a
// minute, all that waits for it is waited for.
const (
	nextTry       = 6 * time.Second
	desertNextTry = 2 * time.Minute
)

// quiet reports whether all has ended but what waits for a time that is far away, and what waits behind that in its session.
func (l rest) quiet(session func(key string) int, nextTry time.Duration) bool {
	if l.err != nil || l.buffered > 0 || l.inbox > 0 || l.held && len(l.open) == 0 {
		return false
	}
	soonest, blocked := time.Now().Add(nextTry), map[int]bool{}
	for key, e := range l.open {
		if e.due.After(soonest) {
			blocked[session(key)] = true
		}
	}
	for key := range l.open {
		if !blocked[session(key)] {
			return false
		}
	}
	return true
}

func (l rest) waits(key string) bool { _, ok := l.open[key]; return ok }

func (l rest) String() string {
	if l.err != nil {
		return l.err.Error()
	}
	waiting := []string{}
	for key, e := range l.open {
		due := "now"
		if !e.due.IsZero() {
			due = "in " + time.Until(e.due).Round(time.Millisecond).String()
		}
		waiting = append(waiting, fmt.Sprintf("%s due %s: %q", key[:8], due, e.reason))
	}
	return fmt.Sprintf("%d buffered, %d to be said, lease held: %t, open in the journal: [%s]", l.buffered, l.inbox, l.held, strings.Join(waiting, "; "))
}

// rest reads what is left.
func (r *run) rest(ctx context.Context) (left rest) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	left.buffered = r.connector.Buffered(r.gateway)
	left.open, left.dead = map[string]entry{}, map[string]entry{}
	state, err := r.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: aws.String(table), ConsistentRead: aws.Bool(true),
		Key: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: r.gateway}, "sk": &types.AttributeValueMemberS{Value: "state"},
		},
	})
	if err != nil {
		left.err = fmt.Errorf("reading the lease: %w", err)
		return left
	}
	_, left.held = state.Item["owner"]
	pages := dynamodb.NewQueryPaginator(r.client, &dynamodb.QueryInput{
		TableName: aws.String(table), IndexName: aws.String(dynamo.Index), ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk"), // the dead, too
		ProjectionExpression:      aws.String("sk, #open, #error, #due, attempts"),
		ExpressionAttributeNames:  map[string]string{"#open": "open", "#error": "error", "#due": "due"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":pk": &types.AttributeValueMemberS{Value: r.gateway}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			left.err = fmt.Errorf("reading the journal: %w", err)
			return left
		}
		for _, item := range page.Items {
			left.add(item)
		}
	}
	return left
}

func (l *rest) add(item map[string]types.AttributeValue) {
	text := func(name string) string {
		v, _ := item[name].(*types.AttributeValueMemberS)
		if v == nil {
			return ""
		}
		return v.Value
	}
	number := func(name string) int64 {
		v, _ := item[name].(*types.AttributeValueMemberN)
		if v == nil {
			return 0
		}
		n, _ := strconv.ParseInt(v.Value, 10, 64)
		return n
	}
	key, open := strings.TrimPrefix(text("sk"), "d#"), text("open")
	e := entry{reason: text("error"), attempts: int(number("attempts"))}
	if due := number("due"); due != 0 {
		e.due = time.UnixMilli(due)
	}
	switch {
	case strings.HasPrefix(open, "o#"):
		l.open[key] = e
	case strings.HasPrefix(open, "x#"):
		l.dead[key] = e
	case strings.HasPrefix(open, "s#"):
		l.inbox++
	}
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
