// Package dynamo is the ledger in one DynamoDB table.
//
// The partition key pk is the instance. The sort key sk is "state" for lease, standing, budget and plan, "d#" and the key
// for a delivery, "p#" and the id for a pending prompt. The local secondary index "open" holds the deliveries that are
// not finished, KEYS_ONLY: "o#", epoch and arrival number, or "x#" and the time of death. It is read consistently, so an
// empty recovery is one read. "expires" is the table's TTL; DynamoDB deletes late, so it is looked at on reading, too.
//
// # Fence
//
// A journal write must fail once a later epoch has begun, and a condition sees only its own item. So every journal write
// is a transaction of the write and a condition on state, which is exact: no clock and no takeover procedure takes part.
// What that costs: twice the write units, and two transactions under way on one item may cancel each other (AWS
// documents no exception for conditions alone). Hence only one is under way at a time; what comes meanwhile gathers and
// leaves together in the next one, up to 99 writes. An ordinary message makes three, and shares them with others as
// soon as there is more than one. Fencing each delivery by an epoch of its own would be cheaper, but a stalled drain
// could still create entries that its successor does not know of.
//
// # Clocks
//
// The lease is the only thing that depends on them. Lambda's clocks follow NTP and are taken to be within margin (10 s,
// or a third of a life if that is less) of each other: a lease is free that long after its life is over, so at most 4/3
// lives after the last heartbeat. The holder stops by itself two thirds of a life after the start of its last good
// heartbeat. A clock that is further off can at worst let a second drain begin early; the epoch still keeps the first
// one from writing.
//
// # Writes that were applied and reported as failed
//
// The SDK tries again after a lost answer. Each write that may not be applied twice, or that would be refused the second
// time, leaves a mark of its own in the item (owner, freed, w), and a refusal by an item with that mark is a success.
package dynamo

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// Index is the table's local secondary index, TTL the attribute that holds the time to live.
const (
	Index = "open"
	TTL   = "expires"
)

const (
	keepFinished = 7 * 24 * time.Hour
	keepDead     = 90 * 24 * time.Hour
)

type option = func(*dynamodb.Options)

// Client is what of *dynamodb.Client is used.
type Client interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...option) (*dynamodb.GetItemOutput, error)
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...option) (*dynamodb.BatchGetItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...option) (*dynamodb.QueryOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...option) (*dynamodb.UpdateItemOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...option) (*dynamodb.TransactWriteItemsOutput, error)
}

// Ledger is an instance's ledger. All methods may be called from any goroutine.
type Ledger struct {
	// Now is the clock. Tests set another before the first call.
	Now func() time.Time

	client   Client
	table    string
	instance string

	run    string // names this Ledger in the marks of its writes
	writes atomic.Int64

	turn  chan struct{} // held by whoever has a transaction under way
	mu    sync.Mutex
	queue []*group // waiting for the next transaction
}

var _ ledger.Ledger = (*Ledger)(nil)

// New returns the ledger of an instance. It touches no network.
func New(client Client, table, instance string) *Ledger {
	return &Ledger{
		Now: time.Now, client: client, table: table, instance: instance, run: crand.Text()[:10], turn: make(chan struct{}, 1),
	}
}

// attempts are how often a request is made that fails as the next may not.
const attempts = 7

// NewClient makes a client from cfg whose requests fail, and are tried again, after seconds: a sandbox that was frozen
// may hold connections that nobody answers any more. After an error that comes at once they are tried again within
// milliseconds, for a second or two: all writes wait for the one that is under way, and the SDK's own backoff takes half a
// second at first. No quota ends that, as there are never many at once.
func NewClient(cfg aws.Config) *dynamodb.Client {
	return dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		if cfg.Retryer == nil {
			o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts, o.RateLimiter = attempts, ratelimit.None
				o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
					return jitter(25 * time.Millisecond << (attempt - 1)), nil // attempt counts from 1
				})
			})
		}
		if cfg.HTTPClient == nil {
			o.HTTPClient = awshttp.NewBuildableClient().
				WithDialerOptions(func(d *net.Dialer) { d.Timeout = 2 * time.Second }).
				WithTransportOptions(func(t *http.Transport) {
					t.TLSHandshakeTimeout = 2 * time.Second
					t.ResponseHeaderTimeout = 3 * time.Second
				})
		}
	})
}

// Definition is the table as template.yaml makes it, for tests and development. The TTL is a call of its own.
func Definition(table string) *dynamodb.CreateTableInput {
	key := func(name string, kind types.KeyType) types.KeySchemaElement {
		return types.KeySchemaElement{AttributeName: &name, KeyType: kind}
	}
	text := func(name string) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: types.ScalarAttributeTypeS}
	}
	return &dynamodb.CreateTableInput{
		TableName:            &table,
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{text("pk"), text("sk"), text("open")},
		KeySchema:            []types.KeySchemaElement{key("pk", types.KeyTypeHash), key("sk", types.KeyTypeRange)},
		LocalSecondaryIndexes: []types.LocalSecondaryIndex{{
			IndexName:  aws.String(Index),
			KeySchema:  []types.KeySchemaElement{key("pk", types.KeyTypeHash), key("open", types.KeyTypeRange)},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		}},
	}
}

// item is what DynamoDB stores. A missing attribute reads as zero.
type item map[string]types.AttributeValue

func (i item) has(name string) bool { _, ok := i[name]; return ok }

func (i item) text(name string) string {
	v, _ := i[name].(*types.AttributeValueMemberS)
	if v == nil {
		return ""
	}
	return v.Value
}

func (i item) number(name string) int64 {
	v, _ := i[name].(*types.AttributeValueMemberN)
	if v == nil {
		return 0
	}
	n, _ := strconv.ParseInt(v.Value, 10, 64)
	return n
}

func (i item) bytes(name string) []byte {
	v, _ := i[name].(*types.AttributeValueMemberB)
	if v == nil {
		return nil
	}
	return v.Value
}

func (i item) list(name string) []types.AttributeValue {
	v, _ := i[name].(*types.AttributeValueMemberL)
	if v == nil {
		return nil
	}
	return v.Value
}

// time reads milliseconds since 1970; 0 is the zero time.
func (i item) time(name string) time.Time { return fromMillis(i.number(name)) }

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}
func moment(t time.Time) types.AttributeValue { return number(millis(t)) }
func binary(b []byte) types.AttributeValue    { return &types.AttributeValueMemberB{Value: b} }

func (l *Ledger) key(sk string) item { return item{"pk": text(l.instance), "sk": text(sk)} }

// now is in whole milliseconds, as the table keeps times.
func (l *Ledger) now() time.Time { return l.Now().Truncate(time.Millisecond) }

// mark is unique to one write.
func (l *Ledger) mark() string { return l.run + "/" + strconv.FormatInt(l.writes.Add(1), 36) }

// change is a conditional write: in its expressions #name is an attribute, as many names are reserved words, and :name
// one of its values.
type change struct {
	sk     string
	update string
	when   string
	values item
}

var attribute = regexp.MustCompile(`#[a-z]+`)

// names maps the #names of expressions to what they stand for.
func names(expressions ...string) map[string]string {
	found := map[string]string{}
	for _, e := range expressions {
		for _, name := range attribute.FindAllString(e, -1) {
			found[name] = name[1:]
		}
	}
	return found
}

// apply makes a conditional write. It returns the item as it is afterwards, or with ok false as it was when the condition
// refused it; then it is nil if there is none.
func (l *Ledger) apply(ctx context.Context, c change) (found item, ok bool, err error) {
	in := &dynamodb.UpdateItemInput{
		TableName:                           &l.table,
		Key:                                 l.key(c.sk),
		UpdateExpression:                    &c.update,
		ConditionExpression:                 &c.when,
		ExpressionAttributeNames:            names(c.update, c.when),
		ExpressionAttributeValues:           c.values,
		ReturnValues:                        types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	for try := range patience {
		out, err := l.client.UpdateItem(ctx, in)
		if err == nil {
			return out.Attributes, true, nil
		}
		if refused, is := errors.AsType[*types.ConditionalCheckFailedException](err); is {
			return refused.Item, false, nil
		}
		if _, is := errors.AsType[*types.TransactionConflictException](err); !is {
			return nil, false, l.failed("writing "+c.sk, err)
		}
		if err := pause(ctx, try); err != nil {
			return nil, false, err
		}
	}
	return nil, false, fmt.Errorf("ledger: writing %s: transactions kept getting in the way", c.sk)
}

// get reads an item consistently; nil if there is none.
func (l *Ledger) get(ctx context.Context, sk string) (item, error) {
	out, err := l.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &l.table, Key: l.key(sk), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, l.failed("reading "+sk, err)
	}
	return out.Item, nil
}

// patience is how often a write that a transaction got in the way of is tried, over about 3 s. The SDK does not.
const patience = 20

func pause(ctx context.Context, try int) error {
	select {
	case <-time.After(jitter(min(5*time.Millisecond<<min(try, 8), 250*time.Millisecond))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// jitter is the latter half of d, by chance.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }

// failed names what was being done, and the table where there is none of that name.
func (l *Ledger) failed(act string, err error) error {
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
		return fmt.Errorf("ledger: %s: there is no table %s: check DORMOUSE_TABLE, AWS_REGION and the account: %w", act, l.table, err)
	}
	return fmt.Errorf("ledger: %s: %w", act, err)
}
