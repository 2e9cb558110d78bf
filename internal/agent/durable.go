package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const maxEvent = 1 << 20 // bytes that Lambda takes in an asynchronous invocation

// Durable starts a durable function of Lambda's with each turn, and does not wait for it: the answer comes later, as a say. The
// execution has the delivery's key as its name, so that a delivery starts it once however often it is asked about.
type Durable struct {
	*Lambda
	within time.Duration
}

// NewDurable returns the agent that is a durable function, named with a version or alias. Its answers come within that time.
func NewDurable(function string, client Invoker, within time.Duration) *Durable {
	return &Durable{NewLambda(function, client, nil), within}
}

// Answer starts the function, or finds that an earlier attempt has: what differs of the turn is the attempt.
func (d *Durable) Answer(ctx context.Context, t Turn) (Answer, error) {
	payload, err := json.Marshal(t)
	if err == nil && len(payload) > maxEvent && len(t.Media) > 0 {
		payload, err = json.Marshal(t.withoutFiles())
	}
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("agent: encoding the turn: %w", err)
	case len(payload) > maxEvent:
		return Answer{}, refusedf("agent: the turn has %d bytes, Lambda takes %d to be worked on later", len(payload), maxEvent)
	}
	var c contact
	name := executionName(t.Delivery.Key)
	_, err = d.client.Invoke(c.watch(ctx), &lambda.InvokeInput{
		FunctionName: &d.function, Payload: payload, InvocationType: types.InvocationTypeEvent, DurableExecutionName: &name,
	}, d.once)
	if _, started := errors.AsType[*types.DurableExecutionAlreadyStartedException](err); err != nil && !started {
		return Answer{}, d.fault(ctx, &c, err)
	}
	return Answer{Later: d.within}, nil
}

// An execution's name has up to mostName of the characters of nameable.
const (
	mostName = 64
	nameable = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
)

// executionName is the name of the execution for a delivery: its key, or what stands for one that is no name.
func executionName(key string) string {
	if key != "" && len(key) <= mostName && strings.Trim(key, nameable) == "" {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}
