package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/awsconf"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	tableLatency = time.Millisecond
	// lambdaTableLatency is that of a table as a function in the same region sees it.
	lambdaTableLatency = 4 * time.Millisecond

	ledgerRuns  = 5
	ledgerChats = 256
	unacked     = 100 // messages without an ack that a connector which pipelines allows
)

// ways are the ways in which messages come in figure (g), with the number of messages in a run.
var ways = []struct {
	name         string
	side, window int
	messages     int
}{
	{"serial", 1, 0, 300},
	{"lock-step, 16 side by side", 16, 1, 1000},
	{"pipelined, 16 side by side", 16, unacked, 6000},
}

// ledgers is figure (g): turns on the DynamoDB ledger against a table that answers after a millisecond.
func (b *bench) ledgers(ctx context.Context) ([]figure, error) {
	t := newSlowTable(tableLatency)
	defer t.close()
	rates, calls := make([][]float64, len(ways)), make([]float64, len(ways))
	var bare []float64
	for range ledgerRuns {
		rate, err := t.bare(ctx)
		if err != nil {
			return nil, fmt.Errorf("bare calls: %w", err)
		}
		bare = append(bare, rate)
		for i, way := range ways {
			t.calls.Store(0)
			rate, err := t.turns(ctx, way.side, way.window, way.messages)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", way.name, err)
			}
			log.Printf("    %s: %.0f messages/s", way.name, rate)
			rates[i] = append(rates[i], rate)
			calls[i] = float64(t.calls.Load()) / float64(way.messages)
		}
	}
	var figures []figure
	for i, way := range ways {
		f := figure{what: "(g) messages on the ledger, " + way.name, measured: spreadOf(rates[i]), unit: "/s"}
		f = f.against("single transactions, one after another", spreadOf(bare))
		if i == len(ways)-1 {
			f = f.against("serial", spreadOf(rates[0]))
			f = f.atLeast(f.ratio, 13, "times")
		}
		figures = append(figures, f)
	}
	for i, way := range ways[1:] {
		f := figure{what: "(g) table calls a message, " + way.name, measured: once(calls[i+1]), unit: "calls"}
		figures = append(figures, f.against("serial", once(calls[0])))
	}
	return figures, nil
}

// slowTable is a DynamoDB that answers every request with success after a time, and keeps nothing.
type slowTable struct {
	*httptest.Server
	client *dynamodb.Client
	calls  atomic.Int64
}

func newSlowTable(latency time.Duration) *slowTable {
	t := &slowTable{}
	t.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		due := time.Now().Add(latency)
		t.calls.Add(1)
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		answer := `{}`
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".UpdateItem") {
			answer = `{"Attributes":{"epoch":{"N":"1"}}}`
		}
		time.Sleep(time.Until(due))
		io.WriteString(w, answer)
	}))
	t.client = dynamo.NewClient(awsconf.New(map[string]string{
		"AWS_ENDPOINT_URL": t.URL, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
	}))
	return t
}

func (t *slowTable) close() { t.Close() }

// bare makes transactions of one write each, one after another, and returns how many a second there are.
func (t *slowTable) bare(ctx context.Context) (rate float64, err error) {
	const n = 300
	start := time.Now()
	for i := range n {
		_, err := t.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
			TransactItems: []types.TransactWriteItem{{Put: &types.Put{
				TableName: aws.String("bench"),
				Item: map[string]types.AttributeValue{
					"pk": &types.AttributeValueMemberS{Value: "bench"}, "sk": &types.AttributeValueMemberS{Value: fmt.Sprint(i)},
				},
			}}},
		})
		if err != nil {
			return 0, err
		}
	}
	return n / time.Since(start).Seconds(), nil
}

// turns gives messages of several chats to a worker and returns how many a second were answered. window is how many may be
// unacked; with 0, each message waits until the turn of the one before it has ended.
func (t *slowTable) turns(ctx context.Context, side, window, messages int) (rate float64, err error) {
	book := dynamo.New(t.client, "bench", "bench")
	lease, err := book.Acquire(ctx, ledger.Ask{Reason: ledger.Arm, Owner: "bench", Life: time.Hour})
	if err != nil {
		return 0, err
	}
	link := &ackLink{window: make(chan struct{}, max(window, 1))}
	w := turn.New(ctx, turn.Config{
		Journal: lease, Prompts: lease, Agent: agent.Echo{}, Link: link, Log: slog.New(slog.DiscardHandler),
		Instance: "bench", Concurrency: side, MaxAttempts: 3, AgentTimeout: time.Minute,
	})
	defer w.Close()
	w.Recover(ledger.Page{})
	start := time.Now()
	for i := range messages {
		link.window <- struct{}{}
		for i-link.sends() >= 4*ledgerChats { // of more than 8 in a session the rest is read from the table, which keeps nothing
			<-w.Changed()
		}
		event := &relay.Event{
			Text: strings.Repeat("x", 200), MessageType: "text", MessageID: fmt.Sprint("m", i),
			Source: relay.Source{Platform: "discord", ChatID: fmt.Sprint("c", i%ledgerChats), ChatType: "group", UserID: "u"},
		}
		err := w.Take(relay.Delivery{Kind: relay.KindInbound, BufferID: fmt.Sprint("b", i), Event: event, ReceivedAt: time.Now()})
		if err != nil {
			return 0, err
		}
		for window == 0 && w.Busy() {
			<-w.Changed()
		}
	}
	for w.Busy() {
		<-w.Changed()
	}
	took := time.Since(start)
	if err := w.Broken(); err != nil {
		return 0, err
	}
	if c := w.Counts(); c.Finished != messages || link.sends() != messages {
		report, _ := json.Marshal(c)
		return 0, fmt.Errorf("%d sends of %d: %s", link.sends(), messages, report)
	}
	return float64(messages) / took.Seconds(), nil
}

// ackLink is a connector that answers everything at once and sends the next message when there is room in its window.
type ackLink struct {
	window chan struct{}
	mu     sync.Mutex
	sent   int
}

func (l *ackLink) Do(context.Context, relay.Outbound) (relay.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	return relay.Result{Success: true, MessageID: "m"}, nil
}

func (l *ackLink) sends() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

func (l *ackLink) WaitDescriptors(context.Context) {}
func (l *ackLink) Post(relay.Outbound)             {}
func (l *ackLink) Ack(string)                      { <-l.window }
func (l *ackLink) Descriptor(platform string) relay.Descriptor {
	return relay.Descriptor{Platform: platform, MaxMessageLength: 2000, LenUnit: "chars"}
}
