// Package wiredrain makes the drain function from its environment, and is its main. Tests and dormouse dev call it, too.
//
// New starts no goroutines, touches no network and blocks on nothing: a Function does so while it handles an event.
package wiredrain

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/awsconf"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/secretstore"
	"github.com/dormouse-relay/dormouse/internal/version"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// farewell is how long taking leave and giving the lease back may take after SIGTERM: Lambda kills the process 500 ms after it.
const farewell = 480 * time.Millisecond

// Function is the drain function: a drain.Drainer with the clients that a warm process keeps.
type Function struct{ drain *drain.Drainer }

// New returns the function that environ, variable to value, describes. It logs to h, the warnings of the settings first.
// The error joins all faults of the settings.
func New(environ map[string]string, h slog.Handler) (*Function, error) {
	settings, err := config.Drain(environ)
	if err != nil {
		return nil, err
	}
	log := slog.New(logs.At(h, settings.LogLevel)).With(logs.KeyVersion, version.String())
	for _, warning := range settings.Warnings {
		log.Warn(warning)
	}
	cloud := awsconf.New(environ)
	lambdas := lambda.NewFromConfig(cloud)
	secrets := secretstore.New(cloud)
	answerer, err := newAgent(settings, lambdas, secrets)
	if err != nil {
		return nil, err
	}
	return &Function{drain.New(settings, drain.Parts{
		Ledger:  newLedger(settings, cloud, log),
		Agent:   answerer,
		Clients: identity.Clients{STS: sts.NewFromConfig(cloud), Secrets: secrets},
		Again:   again(lambdas, settings.FunctionName),
		Log:     log,
	})}, nil
}

// Handle runs one drain for an event of any form. The error means that Lambda is to try again, which is of no use for a say
// that is none: its error names what is wrong with it.
func (f *Function) Handle(ctx context.Context, event json.RawMessage) (drain.Report, error) {
	req, err := drain.ParseRequest(event)
	if err != nil {
		return drain.Report{}, err
	}
	return f.drain.Run(ctx, req)
}

// Started tells the function how long its process took to start, which Lambda bills with the first invocation.
func (f *Function) Started(took time.Duration) { f.drain.Started(took) }

// Terminate takes leave of the connector within 300 ms, if a drain is running, and gives the lease back. It is for SIGTERM.
func (f *Function) Terminate() {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	f.drain.Terminate(ctx)
}

func newAgent(settings config.DrainSettings, lambdas *lambda.Client, secrets *secretstore.Store) (agent.Agent, error) {
	options := agent.Options{Secret: settings.AgentSecret, Lambda: lambdas, Durable: settings.AgentDurable}
	if settings.AgentStream {
		options.LambdaStreams = lambdas
	}
	if arn := settings.AgentSecretARN; arn != "" {
		options.ReadSecret = func(ctx context.Context) (relay.Secret, error) { return secrets.Get(ctx, arn) }
	}
	answerer, _, err := agent.New(settings.Agent, options)
	if err != nil {
		return nil, fmt.Errorf("DORMOUSE_AGENT is not usable: %w", err)
	}
	return answerer, nil
}

func newLedger(settings config.DrainSettings, cloud aws.Config, log *slog.Logger) ledger.Ledger {
	if settings.Table == "" {
		log.Info(logs.NoTable)
		return ledger.NewMemory()
	}
	return dynamo.New(dynamo.NewClient(cloud), settings.Table, settings.Instance())
}

// again returns what invokes this function asynchronously.
func again(client *lambda.Client, function string) func(context.Context, drain.Request) error {
	return func(ctx context.Context, req drain.Request) error {
		payload, err := json.Marshal(req)
		if err != nil {
			return err
		}
		_, err = client.Invoke(ctx, &lambda.InvokeInput{
			FunctionName:   aws.String(function),
			InvocationType: types.InvocationTypeEvent,
			Payload:        payload,
		})
		return err
	}
}
