package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go/logging"
	"github.com/urfave/cli/v3"

	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
)

// deployed is a gateway as the operator's commands reach it: on AWS, or with dormouse host on this machine.
type deployed struct {
	cloud     aws.Config
	stack     string // empty if only its table is known
	function  string // drain's; likewise
	role      string
	memory    int32
	variables map[string]string // those of operatorVariables that are set
	table     string            // empty: the ledger is in the function's memory
	instance  string
	local     bool // dormouse host runs it
}

// deployedFlags say which gateway a command is about.
func deployedFlags() []cli.Flag {
	return []cli.Flag{
		stackFlag(),
		&cli.StringFlag{Name: "table", Usage: "`NAME` of its table, instead; with --instance"},
		&cli.StringFlag{Name: "instance", Usage: "`ID` of the instance, else the gateway id, in that table"},
	}
}

// deployedAt finds the gateway that a command line means.
func deployedAt(ctx context.Context, cmd *cli.Command) (deployed, error) {
	stack, table, instance := cmd.String("stack"), cmd.String("table"), cmd.String("instance")
	if stack == "" && (table == "" || instance == "") {
		return deployed{}, misuse(errors.New("which gateway: give --stack, or --table and --instance"))
	}
	cloud, err := operatorConfig(ctx)
	if err != nil {
		return deployed{}, err
	}
	p := deployed{cloud: cloud, table: table, instance: instance}
	if stack == "" {
		return p, nil
	}
	return p, p.find(ctx, stack)
}

// find looks up a stack's drain function.
func (p *deployed) find(ctx context.Context, stack string) error {
	return p.findFunction(ctx, stack+"-drain")
}

// findFunction looks up a drain function by its name or ARN.
func (p *deployed) findFunction(ctx context.Context, function string) error {
	found, err := lookUp(ctx, lambda.NewFromConfig(p.cloud), function)
	if err != nil {
		return err
	}
	p.function = cmp.Or(aws.ToString(found.FunctionName), function)
	p.stack = strings.TrimSuffix(p.function, "-drain")
	p.role, p.memory = aws.ToString(found.Role), aws.ToInt32(found.MemorySize)
	p.local = strings.Contains(aws.ToString(found.FunctionArn), ":000000000000:")
	p.variables = shownVariables(found)
	p.table = cmp.Or(p.table, p.variables["DORMOUSE_TABLE"])
	p.instance = cmp.Or(p.instance, p.variables["GATEWAY_RELAY_INSTANCE_ID"], p.variables["GATEWAY_RELAY_ID"], "gw-"+p.function)
	return nil
}

// ledger is the gateway's, or an error if it has none that can be read from here.
func (p *deployed) ledger() (*dynamo.Ledger, error) {
	if p.table == "" {
		return nil, fmt.Errorf("%s has no table: its ledger is in its memory and cannot be read from here", p.function)
	}
	cloud := p.cloud
	if at := p.variables[tableEndpoint]; p.local && at != "" {
		cloud.BaseEndpoint = &at
	}
	return dynamo.New(dynamo.NewClient(cloud), p.table, p.instance), nil
}

// lookUp finds a deployed function.
func lookUp(ctx context.Context, client *lambda.Client, function string) (*lambda.GetFunctionConfigurationOutput, error) {
	found, err := client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &function})
	if _, missing := errors.AsType[*types.ResourceNotFoundException](err); missing {
		return nil, fmt.Errorf("there is no function %s in %s: check the name, and that AWS_REGION and the AWS profile are the stack's",
			function, client.Options().Region)
	}
	if err != nil {
		return nil, fmt.Errorf("looking up the function %s: %w", function, err)
	}
	return found, nil
}

// credentialsTime is how long credentials may take: those of an instance profile, or of a process, come over the network.
const credentialsTime = 20 * time.Second

// operatorConfig is the SDK's configuration for the operator's commands: that of the AWS command line.
func operatorConfig(ctx context.Context) (aws.Config, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithLogger(logging.Nop{})) // it warns of connections on stderr
	switch {
	case err != nil:
		return cfg, fmt.Errorf("reading the AWS configuration: %w", err)
	case cfg.Region == "":
		return cfg, errors.New("no AWS region: set AWS_REGION, or region in the AWS profile")
	}
	ctx, cancel := context.WithTimeout(ctx, credentialsTime)
	defer cancel()
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return cfg, fmt.Errorf("no AWS credentials: set AWS_PROFILE (after aws sso login or aws configure), or AWS_ACCESS_KEY_ID and "+
			"AWS_SECRET_ACCESS_KEY: %w", err)
	}
	return cfg, nil
}
