// Package dynamo is the ledger in one DynamoDB table. Package drain acquires the lease here, package turn writes the
// journal through it, the command line reads it as an operator. Every call makes requests to DynamoDB and blocks until
// they are answered or its context ends; a journal write also waits for the transaction that is under way.
//
// # Items
//
// The partition key pk is the instance. The sort key sk is "state" for lease, standing, budget and plan (lease.go), "d#"
// and the key for a delivery (journal.go), "p#" and the id for a prompt (prompts.go), "m#" and a hash for the last state of a
// message (claim.go), "c#", platform and chat for what is remembered of a chat (chats.go). The local secondary index "open" holds the deliveries that are not finished, KEYS_ONLY: "o#", epoch
// and arrival number, or for the dead "x#" and the time
// of death. It is read consistently, so an empty recovery is one read. "expires" is the table's TTL; DynamoDB deletes late,
// so reads look at it, too.
//
// # Fence
//
// A journal write must fail once a later epoch has begun, and a condition sees only its own item. So every journal write
// is a transaction of the write and a condition on state. That is exact: it depends on no clock and on no takeover
// procedure. It costs twice the write units, and two transactions under way on one item may cancel each other (AWS
// documents no exception for conditions alone). So only one is under way at a time; writes that come meanwhile gather and
// leave together in the next one, up to 99 (commit.go). An ordinary message makes three such writes, and shares their
// transactions with others as soon as there is more than one. Fencing each delivery by an epoch of its own would be
// cheaper, but then a stalled drain could still create entries that its successor does not know of.
//
// # Clocks
//
// Only the lease depends on clocks. Lambda's follow NTP and are taken to be within margin (10 s, or a third of a life if
// that is less) of each other: a lease is free that long after its life is over, so at most 4/3 lives after the last
// heartbeat. The holder stops by itself two thirds of a life after the start of its last good heartbeat. A clock that is
// further off can at worst let a second drain begin early; the epoch still keeps the first one from writing.
//
// # Writes that were made and reported as failed
//
// The SDK sends a request again after a lost answer. Each write that may not be made twice, or that would be refused the
// second time, leaves a tag of its own in the item (owner, freed, w), and a refusal by an item with that tag is a success.
// And a request that took too long may arrive behind later ones: an acquisition is then older than the end of its run, and a
// clear has a number that has passed.
package dynamo

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
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

// Client is what a Ledger uses of a *dynamodb.Client.
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

	run    string // names this Ledger in the tags of its writes
	writes atomic.Int64

	committing chan struct{} // full while a transaction is under way
	counted    ledger.Day    // as the last transaction that counted has written it; whoever fills committing has it
	mu         sync.Mutex
	queue      []*group // what waits for the next transaction
}

var _ ledger.Ledger = (*Ledger)(nil)

// New returns the ledger of an instance. It touches no network.
func New(client Client, table, instance string) *Ledger {
	return &Ledger{
		Now: time.Now, client: client, table: table, instance: instance, run: crand.Text()[:10], committing: make(chan struct{}, 1),
	}
}

// attempts is how often a request is sent whose failure may pass.
const attempts = 7

// NewClient makes a client from cfg. A request without an answer fails within seconds and is sent again: a sandbox that was
// frozen may hold connections that nobody answers any more. A request that fails at once is sent again within
// milliseconds, for a second or two: all writes wait for the one that is under way, and the SDK's own back-off takes half
// a second at first. No quota limits the retries, as there are never many requests at once.
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

func (l *Ledger) key(sk string) item { return item{"pk": text(l.instance), "sk": text(sk)} }

// now is in whole milliseconds, as the table keeps times.
func (l *Ledger) now() time.Time { return l.Now().Truncate(time.Millisecond) }

// tag is unique to one write.
func (l *Ledger) tag() string { return l.run + "/" + strconv.FormatInt(l.writes.Add(1), 36) }

// change is a conditional write. In its expressions #name is an attribute, since many names are reserved words, and :name
// one of its values.
type change struct {
	sk     string
	update string
	when   string
	values item
}

const letters = "abcdefghijklmnopqrstuvwxyz"

// names maps the #names of expressions to what they stand for.
func names(expressions ...string) map[string]string {
	found := map[string]string{}
	for _, e := range expressions {
		for at := strings.IndexByte(e, '#'); at >= 0; at = strings.IndexByte(e, '#') {
			e = e[at+1:]
			if name := e[:len(e)-len(strings.TrimLeft(e, letters))]; name != "" {
				found["#"+name] = name
			}
		}
	}
	return found
}

// apply makes a conditional write. found is the item after it; or, with ok false, the item for which the condition did not
// hold, nil if there is none.
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
	return nil, false, fmt.Errorf("ledger: writing %s: each of %d tries met a transaction: try again", c.sk, patience)
}

// get reads an item consistently; nil if there is none.
func (l *Ledger) get(ctx context.Context, sk string) (item, error) {
	out, err := l.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &l.table, Key: l.key(sk), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, l.failed("reading "+sk, err)
	}
	return out.Item, nil
}

// patience is how often a write is tried that meets a transaction, over about 3 s. The SDK does not try those again.
const patience = 20

func pause(ctx context.Context, try int) error {
	select {
	case <-time.After(jitter(min(5*time.Millisecond<<min(try, 8), 250*time.Millisecond))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// jitter is at least half of d, and at most d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }

// failed is err with what was being done. If there is no such table it says so, and what to check.
func (l *Ledger) failed(act string, err error) error {
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
		return fmt.Errorf("ledger: %s: there is no table %s: check DORMOUSE_TABLE, AWS_REGION and the account: %w", act, l.table, err)
	}
	return fmt.Errorf("ledger: %s: %w", act, err)
}
