package dynamo_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/devtable"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
)

// endpointVariable names a DynamoDB that the tests may use: http:// and a loopback address. Without it, or with ownTable, they
// use the development table.
const (
	endpointVariable = "DORMOUSE_TEST_DYNAMODB"
	ownTable         = "devtable"
)

// endpoint is where the tests' DynamoDB is.
var endpoint string

func TestMain(m *testing.M) {
	endpoint = os.Getenv(endpointVariable)
	if endpoint != "" && endpoint != ownTable {
		goleak.VerifyTestMain(m)
		return
	}
	if endpoint == "" && os.Getenv("CI") != "" {
		fmt.Println(endpointVariable + " is not set: in CI these tests want moto")
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "devtable")
	if err != nil {
		panic(err)
	}
	store, err := devtable.Open(filepath.Join(dir, "table.db"))
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	endpoint = "http://" + listener.Addr().String()
	store.Serve(listener)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		store.Close()
		os.RemoveAll(dir)
		os.Exit(code)
	}), goleak.IgnoreCurrent()) // the table's own
}

// table is a table of its own in the server that the tests may use.
type table struct {
	client *dynamodb.Client
	name   string
	http   *loopback
}

var tables atomic.Int64

// newTable makes a table; through is what requests pass on their way, nil for none.
func newTable(t *testing.T, through func(http.RoundTripper) http.RoundTripper) *table {
	t.Helper()
	is := is.New(t)
	u, err := url.Parse(endpoint)
	is.NoErr(err)
	is.True(net.ParseIP(u.Hostname()).IsLoopback()) // no test leaves this machine
	wire := &loopback{host: u.Host, transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	t.Cleanup(wire.transport.CloseIdleConnections)
	direct := client(endpoint, wire)
	tbl := &table{client: direct, http: wire, name: fmt.Sprintf("test-%d-%d", time.Now().UnixNano(), tables.Add(1))}
	if through != nil {
		tbl.client = client(endpoint, through(wire))
	}
	_, err = direct.CreateTable(t.Context(), dynamo.Definition(tbl.name))
	if _, made := errors.AsType[*types.ResourceInUseException](err); !made { // its answer came too late, and it was sent again
		is.NoErr(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		direct.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &tbl.name})
	})
	return tbl
}

func client(endpoint string, through http.RoundTripper) *dynamodb.Client {
	return dynamo.NewClient(aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: &endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:   &http.Client{Transport: through},
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.RateLimiter = ratelimit.None
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
			})
		},
	})
}

// ledger is an instance's, with a clock of its own.
func (tbl *table) ledger(instance string) (*dynamo.Ledger, *clock) {
	c := &clock{}
	l := dynamo.New(tbl.client, tbl.name, instance)
	l.Now = c.now
	return l, c
}

// item reads an item as it is stored.
func (tbl *table) item(t *testing.T, instance, sk string) map[string]types.AttributeValue {
	t.Helper()
	out, err := tbl.client.GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: &tbl.name, ConsistentRead: aws.Bool(true), Key: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: instance}, "sk": &types.AttributeValueMemberS{Value: sk},
		},
	})
	is.New(t).NoErr(err)
	return out.Item
}

// loopback lets requests to one address pass, if they read consistently, and counts them by operation.
type loopback struct {
	host      string
	transport *http.Transport

	mu    sync.Mutex
	calls []string
}

func (l *loopback) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != l.host {
		return nil, fmt.Errorf("test: a request to %s", req.URL.Host)
	}
	_, op, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	if op == "Query" || strings.HasSuffix(op, "GetItem") {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(body, []byte(`"ConsistentRead":true`)) {
			return nil, fmt.Errorf("test: %s may read what is out of date", op)
		}
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	if strings.HasPrefix(req.Header.Get("Amz-Sdk-Request"), "attempt=1;") { // the SDK's own repeats are the network's affair
		l.mu.Lock()
		l.calls = append(l.calls, op)
		l.mu.Unlock()
	}
	return l.transport.RoundTrip(req)
}

// take returns the operations since the last take.
func (l *loopback) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.calls
	l.calls = nil
	return calls
}

// clock is a clock that stands still until it is advanced.
type clock struct{ ahead atomic.Int64 }

var epoch = time.Date(2026, 5, 1, 12, 0, 0, 123_456_789, time.UTC)

func (c *clock) now() time.Time          { return epoch.Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func TestConformance(t *testing.T) {
	conformance(t, nil)
}

// Each subject has a table of its own: moto copies a whole table for each transaction.
func conformance(t *testing.T, through func(http.RoundTripper) http.RoundTripper) {
	ledgertest.Run(t, func(t *testing.T, test func(*testing.T, ledgertest.Subject)) {
		l, c := newTable(t, through).ledger("instance")
		test(t, ledgertest.Subject{Ledger: l, Now: c.now, Advance: c.advance})
	})
}

// TestConformanceWithLostAnswers has the SDK make every write a second time, under another idempotency token: the tags
// in the items alone must tell that the first was made.
func TestConformanceWithLostAnswers(t *testing.T) {
	conformance(t, func(next http.RoundTripper) http.RoundTripper { return loser{next} })
}

// loser lets the first request of each write arrive and loses its answer.
type loser struct{ next http.RoundTripper }

func (l loser) RoundTrip(req *http.Request) (*http.Response, error) {
	_, op, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	if op != "UpdateItem" && op != "TransactWriteItems" {
		return l.next.RoundTrip(req)
	}
	if strings.HasPrefix(req.Header.Get("Amz-Sdk-Request"), "attempt=1") {
		resp, err := l.next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return nil, errors.Join(err, resp.Body.Close(), syscall.ECONNRESET)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	body = token.ReplaceAll(body, []byte(`"ClientRequestToken":"`+rand.Text()+`"`))
	again := req.Clone(req.Context())
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return l.next.RoundTrip(again)
}

var token = regexp.MustCompile(`"ClientRequestToken":"[^"]*"`)
