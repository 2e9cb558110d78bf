// Command bareroots is the smallest function on aws-lambda-go that loads the system's certificate roots, of the bundle alone,
// and registers for SIGTERM, one after the other. It is the second comparator for the start of drain.
package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
)

func main() {
	os.Setenv("SSL_CERT_DIR", os.DevNull) // as a careful function does: the folders hold the bundle's roots again
	x509.SystemCertPool()
	lambda.StartWithOptions(
		func(_ context.Context, event json.RawMessage) (json.RawMessage, error) { return event, nil },
		lambda.WithEnableSIGTERM(func() {}))
}
