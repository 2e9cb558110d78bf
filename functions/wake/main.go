// Wake is the function behind the wake URL: a poke starts the drain function.
package main

import (
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/roots"
	"github.com/dormouse-relay/dormouse/internal/wiring/wirewake"
)

func main() {
	environ := config.Environ()
	loaded := roots.Load(environ)
	log := lambdacontext.NewLogHandler() // JSON and the request id: the template sets the format
	handler, err := wirewake.New(environ, log)
	if err != nil {
		slog.New(log).Error(logs.SettingsUnusable, logs.KeyError, err)
		os.Exit(1)
	}
	loaded()
	lambda.StartWithOptions(handler)
}
