// Command wake is the function behind the wake URL: a poke starts the drain function.
package main

import (
	"log/slog"
	"os"

	runtime "github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/dormouse-relay/dormouse/internal/awsconf"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/wake"
)

func main() {
	environ := config.Environ()
	roots := config.LoadRoots(environ)
	settings, err := config.Wake(environ)
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: settings.LogLevel}))
	if err != nil {
		log.Error("settings refused", "err", err)
		os.Exit(1)
	}
	client := lambda.NewFromConfig(awsconf.New(environ))
	roots()
	runtime.StartWithOptions(wake.New(client, settings.DrainFunction, log))
}
