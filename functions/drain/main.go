// Drain is the function that dials the connector, answers what was buffered, and goes idle again.
package main

import (
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/extension"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/roots"
	"github.com/dormouse-relay/dormouse/internal/wiring/wiredrain"
)

func main() {
	began := time.Now()
	environ := config.Environ()
	config.Scrub()
	registered := extension.Register(environ["AWS_LAMBDA_RUNTIME_API"])
	loaded := roots.Load(environ)
	log := lambdacontext.NewLogHandler() // JSON and the request id: the template sets the format
	function, err := wiredrain.New(environ, log)
	if err != nil {
		slog.New(log).Error(logs.SettingsUnusable, logs.KeyError, err)
		os.Exit(1)
	}
	loaded()
	if err := registered(function.Terminate); err != nil {
		slog.New(log).Warn(logs.NoSIGTERM, logs.KeyError, err)
	}
	function.Started(time.Since(began))
	lambda.Start(function.Handle)
}
