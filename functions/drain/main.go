// Drain is the function that dials the connector, answers what was buffered, and goes idle again.
package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	lambdaservice "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/awsconf"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/secretstore"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// goodbye is how long the last words on a socket may take: Lambda kills 500 ms after its SIGTERM.
const goodbye = 300 * time.Millisecond

func main() {
	environ := config.Environ()
	roots := config.LoadRoots(environ)
	settings, err := config.Drain(environ)
	config.Scrub()
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: settings.LogLevel}))
	if err != nil {
		log.Error("settings are not usable", "error", err)
		os.Exit(1)
	}
	for _, warning := range settings.Warnings {
		log.Warn(warning)
	}

	cloud := awsconf.New(environ)
	lambdas := lambdaservice.NewFromConfig(cloud)
	secrets := secretstore.New(cloud)
	options := agent.Options{Secret: settings.AgentSecret, Lambda: lambdas}
	if arn := settings.AgentSecretARN; arn != "" {
		options.ReadSecret = func(ctx context.Context) (relay.Secret, error) { return secrets.Get(ctx, arn) }
	}
	answerer, _, err := agent.New(settings.Agent, options)
	if err != nil {
		log.Error("DORMOUSE_AGENT is not usable", "error", err)
		os.Exit(1)
	}
	var book ledger.Ledger
	if settings.Table != "" {
		book = dynamo.New(dynamo.NewClient(cloud), settings.Table, settings.Instance())
	} else {
		book = ledger.NewMemory()
		log.Info("no table is configured: what is journalled dies with this process, so a buffered message is acked when its turn is done")
	}
	drainer := drain.New(settings, drain.Parts{
		Ledger:  book,
		Agent:   answerer,
		Clients: identity.Clients{STS: sts.NewFromConfig(cloud), Secrets: secrets},
		Again:   again(lambdas, settings.FunctionName),
		Log:     log,
	})
	handle := func(ctx context.Context, payload json.RawMessage) (drain.Report, error) {
		return drainer.Run(ctx, drain.ParseRequest(payload))
	}
	terminate := func() {
		ctx, cancel := context.WithTimeout(context.Background(), goodbye)
		defer cancel()
		drainer.Terminate(ctx)
	}
	roots()
	lambda.StartWithOptions(handle, lambda.WithEnableSIGTERM(terminate))
}

// again invokes this function asynchronously.
func again(client *lambdaservice.Client, function string) func(context.Context, drain.Request) error {
	return func(ctx context.Context, req drain.Request) error {
		payload, err := json.Marshal(req)
		if err != nil {
			return err
		}
		_, err = client.Invoke(ctx, &lambdaservice.InvokeInput{
			FunctionName:   aws.String(function),
			InvocationType: types.InvocationTypeEvent,
			Payload:        payload,
		})
		return err
	}
}
