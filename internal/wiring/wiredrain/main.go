package wiredrain

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
)

// Main is the drain function's process: it takes the environment, asks Lambda for events and does not return. The function's
// main calls it, and so does dormouse dev, which is its own drain.
func Main() {
	began := time.Now()
	environ := config.Environ()
	config.Scrub()
	registered := extension.Register(environ["AWS_LAMBDA_RUNTIME_API"])
	loaded := roots.Load(environ)
	log := lambdacontext.NewLogHandler() // JSON and the request id: the template sets the format
	function, err := New(environ, log)
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
