// Package secretstore reads and writes secrets in AWS Systems Manager's Parameter Store, as SecureStrings, and in AWS
// Secrets Manager. An ARN tells which of the two holds a secret.
//
// Drain reads with it, and dormouse enroll and rotate write. Each call is one or two requests, and blocks until they are
// answered or the context ends. A Store keeps no secret and starts no goroutine. No error shows a secret. A Store may be
// used from several goroutines.
package secretstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	secrettypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	limit        = 15 * time.Second // of one call, its retries included
	maxParameter = 4096             // bytes, of a standard parameter
)

// ErrSecretUnusable means that the secret cannot be read until an operator changes something: trying again does not help.
var ErrSecretUnusable = errors.New("secretstore: the secret cannot be used")

// SSM is what is needed of the client of Parameter Store.
type SSM interface {
	GetParameter(context.Context, *ssm.GetParameterInput, ...func(*ssm.Options)) (*ssm.GetParameterOutput, error)
	PutParameter(context.Context, *ssm.PutParameterInput, ...func(*ssm.Options)) (*ssm.PutParameterOutput, error)
}

// SecretsManager is what is needed of the client of Secrets Manager.
type SecretsManager interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
	PutSecretValue(context.Context, *secretsmanager.PutSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error)
	DescribeSecret(context.Context, *secretsmanager.DescribeSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error)
	CreateSecret(context.Context, *secretsmanager.CreateSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.CreateSecretOutput, error)
}

// Store is both services. A client is made when it is first needed: most functions need one or none.
type Store struct {
	Key string // of KMS, for what is written; empty: AWS's own, but a secret that is there keeps the one that it has

	ssm     func() SSM
	secrets func() SecretsManager
}

// New returns the Store of an AWS configuration. It touches no network.
func New(cfg aws.Config) *Store {
	return &Store{
		ssm:     sync.OnceValue(func() SSM { return ssm.NewFromConfig(cfg) }),
		secrets: sync.OnceValue(func() SecretsManager { return secretsmanager.NewFromConfig(cfg) }),
	}
}

// place is what an ARN names.
type place struct {
	region    string
	parameter bool // of Parameter Store, else a secret of Secrets Manager
}

func locate(raw string) (place, bool) {
	a, err := arn.Parse(raw)
	if err != nil || a.Region == "" || a.AccountID == "" {
		return place{}, false
	}
	name, isParameter := strings.CutPrefix(a.Resource, "parameter/")
	if !isParameter {
		name, _ = strings.CutPrefix(a.Resource, "secret:")
	}
	ok := a.Service == "ssm" && isParameter || a.Service == "secretsmanager" && strings.HasPrefix(a.Resource, "secret:")
	return place{a.Region, isParameter}, ok && name != ""
}

// Get reads the secret of an ARN. An error that wraps ErrSecretUnusable stays until an operator changes something.
func (s *Store) Get(ctx context.Context, arn string) (relay.Secret, error) {
	at, ok := locate(arn)
	if !ok {
		return relay.Secret{}, fmt.Errorf("%w: want arn:aws:ssm:REGION:ACCOUNT:parameter/NAME or "+
			"arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME", ErrSecretUnusable)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var value string
	var err error
	if at.parameter {
		value, err = s.getParameter(limited, arn, at.region)
	} else {
		value, err = s.getSecret(limited, arn, at.region)
	}
	switch {
	case err != nil && ctx.Err() == nil && limited.Err() != nil:
		return relay.Secret{}, fmt.Errorf("secretstore: read %s: no answer within %v: try again", arn, limit)
	case err != nil:
		return relay.Secret{}, fault("read", arn, err)
	case strings.TrimSpace(value) == "":
		return relay.Secret{}, fmt.Errorf("%w: %s is blank", ErrSecretUnusable, arn)
	}
	return relay.NewSecret(value), nil
}

var errPlain = errors.New("it is a plain parameter: want a SecureString")

func (s *Store) getParameter(ctx context.Context, arn, region string) (string, error) {
	out, err := s.ssm().GetParameter(ctx, &ssm.GetParameterInput{Name: &arn, WithDecryption: aws.Bool(true)},
		func(o *ssm.Options) { o.Region = region })
	switch {
	case err != nil:
		return "", err
	case out.Parameter == nil:
		return "", nil
	case out.Parameter.Type != ssmtypes.ParameterTypeSecureString:
		return "", errPlain // anybody who may read parameters could read it without a key
	}
	return aws.ToString(out.Parameter.Value), nil
}

func (s *Store) getSecret(ctx context.Context, arn, region string) (string, error) {
	out, err := s.secrets().GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &arn},
		func(o *secretsmanager.Options) { o.Region = region })
	if err != nil {
		return "", err
	}
	return aws.ToString(out.SecretString), nil
}

// HasParameter says whether there is such a parameter. Its value is not read.
func (s *Store) HasParameter(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := s.ssm().GetParameter(ctx, &ssm.GetParameterInput{Name: &name}) // not decrypted
	if _, missing := errors.AsType[*ssmtypes.ParameterNotFound](err); missing {
		return false, nil
	}
	if err != nil {
		return false, fault("look for", name, err)
	}
	return true, nil
}

// HasSecret says whether there is such a secret. Its value is not read.
func (s *Store) HasSecret(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := s.secrets().DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &name})
	if _, missing := errors.AsType[*secrettypes.ResourceNotFoundException](err); missing {
		return false, nil
	}
	if err != nil {
		return false, fault("look for", name, err)
	}
	return true, nil
}

// PutParameter writes a SecureString of the standard tier, which is free, and returns its ARN. An earlier value is
// replaced.
func (s *Store) PutParameter(ctx context.Context, name string, secret relay.Secret) (arn string, err error) {
	if len(secret.Reveal()) > maxParameter {
		return "", fmt.Errorf("secretstore: the secret is over %d bytes, the most of a parameter: use Secrets Manager", maxParameter)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err = s.ssm().PutParameter(ctx, &ssm.PutParameterInput{
		Name:        &name,
		KeyId:       s.key(),
		Value:       aws.String(secret.Reveal()),
		Type:        ssmtypes.ParameterTypeSecureString,
		Overwrite:   aws.Bool(true),
		Description: aws.String("Credentials of a Dormouse gateway"),
	})
	if err != nil {
		return "", fault("write", name, err)
	}
	out, err := s.ssm().GetParameter(ctx, &ssm.GetParameterInput{Name: &name}) // for its ARN; not decrypted
	if err != nil {
		return "", fault("find the ARN of", name, err)
	}
	return aws.ToString(out.Parameter.ARN), nil
}

// PutSecret writes a secret of Secrets Manager, made if need be, and returns its ARN. An earlier value is replaced.
func (s *Store) PutSecret(ctx context.Context, name string, secret relay.Secret) (arn string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	put, err := s.secrets().PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &name, SecretString: aws.String(secret.Reveal()),
	})
	if err == nil {
		return aws.ToString(put.ARN), nil
	}
	if _, missing := errors.AsType[*secrettypes.ResourceNotFoundException](err); !missing {
		return "", fault("write", name, err)
	}
	made, err := s.secrets().CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: &name, SecretString: aws.String(secret.Reveal()), Description: aws.String("Credentials of a Dormouse gateway"),
		KmsKeyId: s.key(),
	})
	if err != nil {
		return "", fault("make", name, err)
	}
	return aws.ToString(made.ARN), nil
}

func (s *Store) key() *string {
	if s.Key == "" {
		return nil
	}
	return &s.Key
}

// fault explains an error of a service. The SDK's own text has the operation, the code and the request's id.
func fault(act, name string, err error) error {
	_, noParameter := errors.AsType[*ssmtypes.ParameterNotFound](err)
	_, noSecret := errors.AsType[*secrettypes.ResourceNotFoundException](err)
	api, _ := errors.AsType[smithy.APIError](err)
	switch {
	case noParameter || noSecret:
		return fmt.Errorf("%w: %s %s: it is not there: store it, or set another ARN", ErrSecretUnusable, act, name)
	case errors.Is(err, errPlain):
		return fmt.Errorf("%w: %s %s: %w", ErrSecretUnusable, act, name, err)
	case api != nil && (api.ErrorCode() == "AccessDeniedException" || api.ErrorCode() == "AccessDenied"):
		return fmt.Errorf("%w: %s %s: the role may not: allow it in its policy (%s)", ErrSecretUnusable, act, name, api.ErrorCode())
	}
	return fmt.Errorf("secretstore: %s %s: %w", act, name, err)
}
