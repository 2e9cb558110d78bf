// Command wake is the function behind the wake URL: a poke starts the drain function.
package main

import (
	"crypto/x509"
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
	settings, err := config.Wake(environ)
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: settings.LogLevel}))
	if err != nil {
		log.Error("settings refused", "err", err)
		os.Exit(1)
	}
	x509.SystemCertPool() // kept by the package: loaded here, the roots cost none of the throttled CPU of the first poke
	client := lambda.NewFromConfig(awsconf.New(environ))
	runtime.StartWithOptions(wake.New(client, settings.DrainFunction, log))
}
