package wirewake

import (
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/roots"
)

// Main is the wake function's process: it takes the environment, asks Lambda for pokes and does not return. The function's
// main calls it, and so does dormouse dev, which is its own wake.
func Main() {
	environ := config.Environ()
	config.Scrub()
	loaded := roots.Load(environ)
	log := lambdacontext.NewLogHandler() // JSON and the request id: the template sets the format
	handler, err := New(environ, log)
	if err != nil {
		slog.New(log).Error(logs.SettingsUnusable, logs.KeyError, err)
		os.Exit(1)
	}
	loaded()
	lambda.StartWithOptions(handler)
}
