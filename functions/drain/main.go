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

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/awsconf"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
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
	log.Info("no table is configured: what is journalled dies with this process, so a buffered message is acked when its turn is done")

	answerer, _, err := agent.New(settings.Agent)
	if err != nil {
		log.Error("DORMOUSE_AGENT is not usable", "error", err)
		os.Exit(1)
	}
	drainer := drain.New(settings, drain.Parts{
		Ledger: ledger.NewMemory(),
		Agent:  answerer,
		Again:  again(lambdaservice.NewFromConfig(awsconf.New(environ)), settings.FunctionName),
		Log:    log,
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
