// Package wirewake makes the wake function from its environment. The function's main and tests call it. It is apart from
// wiredrain so that wake links nothing of drain's.
//
// New starts no goroutines, touches no network and blocks on nothing.
package wirewake

import (
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/dormouse-relay/dormouse/internal/awsconf"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/version"
	"github.com/dormouse-relay/dormouse/internal/wake"
)

// New returns the handler of pokes that environ, variable to value, describes. It logs to h. The error joins all faults
// of the settings.
func New(environ map[string]string, h slog.Handler) (*wake.Handler, error) {
	settings, err := config.Wake(environ)
	if err != nil {
		return nil, err
	}
	log := slog.New(logs.At(h, settings.LogLevel)).With(logs.KeyVersion, version.String())
	client := lambda.NewFromConfig(awsconf.New(environ))
	return wake.New(client, settings.DrainFunction, log), nil
}
