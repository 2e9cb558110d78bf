package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cftypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
)

const (
	stackTime = 10 * time.Minute // for what CloudFormation does with a stack
	mostPages = 50               // of a left-over table that are looked through for its instances
)

// tableOf is the name that the template gives a stack's table.
func tableOf(stack string) string { return stack + "-ledger" }

// leftOver looks for a table that an earlier stack of this name left. A new stack could not make its own then: the table has to
// be imported or deleted first.
func (p *preparation) leftOver(ctx context.Context, cloud aws.Config) error {
	looking, cancel := context.WithTimeout(ctx, awsTime)
	defer cancel()
	stacks, tables := cloudformation.NewFromConfig(cloud), dynamodb.NewFromConfig(cloud)
	there, err := during(p.errs, "looking for a table of an earlier stack", func() (bool, error) {
		if there, err := stackExists(looking, stacks, p.stack); err != nil || there {
			return false, err
		}
		return tableExists(looking, tables, tableOf(p.stack))
	})
	if err != nil {
		p.warn("whether an earlier stack left a table was not looked up: %v", err)
		return nil
	}
	if !there {
		return nil
	}
	what := p.cmd.String("left-over")
	if what == "" && !p.cmd.Bool("yes") {
		what, err = p.ask(question{
			flag: "--left-over",
			text: "An earlier stack left the table " + tableOf(p.stack) + ", with what it did not answer. import it into the new one, or delete it?",
		}, "import", false)
		if err != nil {
			return err
		}
	}
	switch what {
	case "import":
		return p.importTable(ctx, stacks, tables)
	case "delete":
		return p.deleteTable(ctx, tables)
	case "":
		p.warn("an earlier stack left the table %s: the deployment will fail until it is taken over (--left-over import) or deleted "+
			"(--left-over delete)", tableOf(p.stack))
		return nil
	}
	return misuse(fmt.Errorf("--left-over is %.40q: want import or delete", what))
}

// stackExists says whether a stack is there that a deployment would update.
func stackExists(ctx context.Context, client *cloudformation.Client, stack string) (bool, error) {
	found, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &stack})
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "ValidationError" && strings.Contains(api.ErrorMessage(), "does not exist") {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking up the stack %s: %w", stack, err)
	}
	status := found.Stacks[0].StackStatus
	return status != cftypes.StackStatusReviewInProgress && status != cftypes.StackStatusDeleteComplete, nil
}

func tableExists(ctx context.Context, client *dynamodb.Client, table string) (bool, error) {
	_, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	if _, missing := errors.AsType[*dbtypes.ResourceNotFoundException](err); missing {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking up the table %s: %w", table, err)
	}
	return true, nil
}

// importTable makes the stack with the table alone, which sam deploy then completes. The gateway's id becomes that of the
// instance in the table, so that what waits there is taken up.
func (p *preparation) importTable(ctx context.Context, stacks *cloudformation.Client, tables *dynamodb.Client) error {
	ctx, cancel := context.WithTimeout(ctx, stackTime)
	defer cancel()
	table := tableOf(p.stack)
	instances, err := instancesIn(ctx, tables, table)
	if err != nil {
		return err
	}
	template, err := tableAlone(table)
	if err != nil {
		return err
	}
	_, err = during(p.errs, "importing the table "+table, func() (struct{}, error) {
		return struct{}{}, importStack(ctx, stacks, p.stack, table, template)
	})
	if err != nil {
		return fmt.Errorf("importing the table %s: %w: see the stack's events, or use --left-over delete", table, err)
	}
	fmt.Fprintf(p.out, "  the table %s is now in the stack %s; sam deploy adds the rest\n", table, p.stack)
	switch {
	case p.parameters["InstanceId"] != "" || p.parameters["RelayId"] != "" || len(instances) == 0:
	case len(instances) == 1:
		p.parameters["RelayId"] = instances[0]
		fmt.Fprintf(p.out, "  it holds the instance %s, which the new stack goes on as (RelayId)\n", instances[0])
	default:
		p.warn("the table holds several instances: %s; --parameter RelayId=... says which one to go on as", strings.Join(instances, ", "))
	}
	return nil
}

func importStack(ctx context.Context, client *cloudformation.Client, stack, table, template string) error {
	made, err := client.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{
		StackName: &stack, ChangeSetName: aws.String("import-table"), ChangeSetType: cftypes.ChangeSetTypeImport, TemplateBody: &template,
		ResourcesToImport: []cftypes.ResourceToImport{{
			ResourceType: aws.String("AWS::DynamoDB::Table"), LogicalResourceId: aws.String("LedgerTable"),
			ResourceIdentifier: map[string]string{"TableName": table},
		}},
	})
	if err != nil {
		return err
	}
	if err := cloudformation.NewChangeSetCreateCompleteWaiter(client, func(o *cloudformation.ChangeSetCreateCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Second, 10*time.Second
	}).Wait(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: made.Id, StackName: &stack}, stackTime); err != nil {
		return err
	}
	if _, err := client.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: made.Id, StackName: &stack}); err != nil {
		return err
	}
	return cloudformation.NewStackImportCompleteWaiter(client, func(o *cloudformation.StackImportCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Second, 10*time.Second
	}).Wait(ctx, &cloudformation.DescribeStacksInput{StackName: &stack}, stackTime)
}

// tableAlone is a template with the ledger's table and nothing else, as template.yaml has it.
func tableAlone(table string) (string, error) {
	d := dynamo.Definition(table)
	keys := func(schema []dbtypes.KeySchemaElement) (list []map[string]string) {
		for _, e := range schema {
			list = append(list, map[string]string{"AttributeName": *e.AttributeName, "KeyType": string(e.KeyType)})
		}
		return list
	}
	var attributes []map[string]string
	for _, a := range d.AttributeDefinitions {
		attributes = append(attributes, map[string]string{"AttributeName": *a.AttributeName, "AttributeType": string(a.AttributeType)})
	}
	index := d.LocalSecondaryIndexes[0]
	raw, err := json.Marshal(map[string]any{
		"AWSTemplateFormatVersion": "2010-09-09",
		"Resources": map[string]any{"LedgerTable": map[string]any{
			"Type": "AWS::DynamoDB::Table", "DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain",
			"Properties": map[string]any{
				"TableName": table, "BillingMode": string(d.BillingMode), "AttributeDefinitions": attributes, "KeySchema": keys(d.KeySchema),
				"LocalSecondaryIndexes": []any{map[string]any{
					"IndexName": *index.IndexName, "KeySchema": keys(index.KeySchema),
					"Projection": map[string]string{"ProjectionType": string(index.Projection.ProjectionType)},
				}},
				"TimeToLiveSpecification": map[string]any{"AttributeName": dynamo.TTL, "Enabled": true},
			},
		}},
	})
	return string(raw), err
}

// instancesIn are the instances that have something in a table, sorted: all of a small one, and the first few of a large one.
func instancesIn(ctx context.Context, client *dynamodb.Client, table string) ([]string, error) {
	found := map[string]bool{}
	pages := dynamodb.NewScanPaginator(client, &dynamodb.ScanInput{TableName: &table, ProjectionExpression: aws.String("pk")})
	for n := 0; n < mostPages && pages.HasMorePages(); n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading whose work is in the table %s: %w", table, err)
		}
		for _, item := range page.Items {
			if pk, ok := item["pk"].(*dbtypes.AttributeValueMemberS); ok {
				found[pk.Value] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// deleteTable deletes the stack's table and all that waits in it.
func (p *preparation) deleteTable(ctx context.Context, client *dynamodb.Client) error {
	table := tableOf(p.stack)
	if _, err := during(p.errs, "deleting the table "+table, func() (struct{}, error) {
		return struct{}{}, dropTable(ctx, client, table)
	}); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "  the table %s is deleted\n", table)
	return nil
}

// dropTable deletes a table, a protected one, too, and waits until it is gone.
func dropTable(ctx context.Context, client *dynamodb.Client, table string) error {
	ctx, cancel := context.WithTimeout(ctx, stackTime)
	defer cancel()
	there, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	if _, gone := errors.AsType[*dbtypes.ResourceNotFoundException](err); gone {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking up the table %s: %w", table, err)
	}
	if aws.ToBool(there.Table.DeletionProtectionEnabled) {
		if _, err := client.UpdateTable(ctx, &dynamodb.UpdateTableInput{TableName: &table, DeletionProtectionEnabled: aws.Bool(false)}); err != nil {
			return fmt.Errorf("taking the protection off the table %s: %w", table, err)
		}
	}
	if _, err := client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &table}); err != nil {
		return fmt.Errorf("deleting the table %s: %w", table, err)
	}
	if err := dynamodb.NewTableNotExistsWaiter(client, func(o *dynamodb.TableNotExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Second, 10*time.Second
	}).Wait(ctx, &dynamodb.DescribeTableInput{TableName: &table}, stackTime); err != nil {
		return fmt.Errorf("waiting until the table %s is gone: %w", table, err)
	}
	return nil
}
