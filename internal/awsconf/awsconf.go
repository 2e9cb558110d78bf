// Package awsconf builds the AWS SDK's configuration from environment variables alone.
//
// The wiring of both functions calls it once, at the start. It touches no network, reads no file and starts no goroutine.
//
// The SDK's own config module also reads profiles, asks instance metadata and knows a dozen kinds of credentials. A Lambda
// function has none of these, and to import that module costs more than half of the function's start. For the same
// variables New makes a configuration that behaves like that module's; the tests compare the two.
package awsconf

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go/middleware"
)

const endpointVariable = "AWS_ENDPOINT_URL"

// Variables are what New reads, by their names. Lambda sets the first of them itself.
func Variables() []string {
	return []string{
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		endpointVariable, endpointVariable + "_LAMBDA", endpointVariable + "_DYNAMODB", endpointVariable + "_SSM",
		endpointVariable + "_SECRETS_MANAGER", endpointVariable + "_STS",
	}
}

// New makes the configuration for service clients from environ, variable to value. It touches no network, and no
// client made from it asks the network for a region or for credentials: if the variables lack them, each operation
// fails with an error that names what is missing.
func New(environ map[string]string) aws.Config {
	cfg := aws.Config{
		Region: environ["AWS_REGION"],
		Credentials: credentials.StaticCredentialsProvider{
			Value: aws.Credentials{
				AccessKeyID:     environ["AWS_ACCESS_KEY_ID"],
				SecretAccessKey: environ["AWS_SECRET_ACCESS_KEY"],
				SessionToken:    environ["AWS_SESSION_TOKEN"],
				Source:          "EnvConfigCredentials",
			},
			Source: []aws.CredentialSource{aws.CredentialSourceEnvVars},
		},
		ConfigSources: []any{endpoints(environ)},

		// The config module's defaults. It leaves the HTTP client and the retryer to the service clients, as we do.
		DefaultsMode:                aws.DefaultsModeLegacy,
		AccountIDEndpointMode:       aws.AccountIDEndpointModePreferred,
		RequestMinCompressSizeBytes: 10240,
		RequestChecksumCalculation:  aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation:  aws.ResponseChecksumValidationWhenSupported,
		RestrictFilePermissions:     aws.RestrictFilePermissionsUserReadWrite,
	}
	if cfg.Region == "" {
		cfg.Region = environ["AWS_DEFAULT_REGION"]
	}
	if endpoint := environ[endpointVariable]; endpoint != "" {
		cfg.BaseEndpoint = &endpoint
	}
	if err := missing(cfg.Region, environ); err != nil {
		cfg.APIOptions = append(cfg.APIOptions, func(*middleware.Stack) error { return err })
	}
	return cfg
}

func missing(region string, environ map[string]string) error {
	var faults []error
	if region == "" {
		faults = append(faults, errors.New("AWS_REGION is not set: want a region such as eu-central-1"))
	}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if environ[name] == "" {
			faults = append(faults, fmt.Errorf("%s is not set: Lambda sets it; elsewhere set it for the role to use", name))
		}
	}
	return errors.Join(faults...)
}

// endpoints is where a service client looks for an endpoint of its own.
type endpoints map[string]string

// GetServiceBaseEndpoint implements an interface of the SDK's internal/configsources.
func (e endpoints) GetServiceBaseEndpoint(_ context.Context, sdkID string) (string, bool, error) {
	endpoint := e[endpointVariable+"_"+strings.ReplaceAll(strings.ToUpper(sdkID), " ", "_")]
	return endpoint, endpoint != "", nil
}
