package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/urfave/cli/v3"
)

func removeCommand() *cli.Command {
	return &cli.Command{
		Name:     "remove",
		Category: categoryDeploy,
		Usage:    "delete a deployed stack, and its table if asked, and say what stays",
		Description: `Deletes the stack. Its table stays, with what was not answered and with an opt-out; --table deletes it, too. What else
stays, and where, is printed at the end. The stack's name is asked for once more, unless --yes is given.`,
		Metadata: example("dormouse remove --stack dormouse", "dormouse remove --stack dormouse --table --yes", "dormouse remove --stack dormouse --yes --json"),
		Flags: []cli.Flag{
			stackFlag(), &cli.BoolFlag{Name: "json", Usage: "print JSON, for programs; with --yes"},
			&cli.BoolFlag{Name: "table", Usage: "delete the table, too"},
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if err := noArguments(cmd); err != nil {
				return err
			}
			stack := cmd.String("stack")
			if stack == "" {
				return misuse(errors.New("which gateway: give --stack"))
			}
			if cmd.Bool("json") && !cmd.Bool("yes") {
				return misuse(errors.New("--json asks nothing: give --yes as well"))
			}
			cloud, err := operatorConfig(ctx)
			if err != nil {
				return err
			}
			r := removal{cmd.Root().Reader, cmd.Root().Writer, cmd.Root().ErrWriter, stack, cmd.Bool("table"), cmd.Bool("yes")}
			if !cmd.Bool("json") {
				_, err := r.run(ctx, cloud)
				return err
			}
			r.out = io.Discard
			done, err := r.run(ctx, cloud)
			return errors.Join(printJSON(cmd.Root().Writer, done), err)
		},
	}
}

type removal struct {
	in        io.Reader
	out, errs io.Writer
	stack     string
	table     bool // delete it, too
	yes       bool
}

// removed is what was deleted, for programs, and what is still there. Without a stack it was not there to begin with.
type removed struct {
	Stack       bool   `json:"stack_deleted"`
	Table       bool   `json:"table_deleted"`
	TableStays  string `json:"table_stays,omitempty"`      // its name
	Credentials string `json:"credentials_stay,omitempty"` // their ARN
}

func (r removal) run(ctx context.Context, cloud aws.Config) (done removed, err error) {
	stacks, tables := cloudformation.NewFromConfig(cloud), dynamodb.NewFromConfig(cloud)
	stackThere, err := stackExists(ctx, stacks, r.stack)
	if err != nil {
		return done, err
	}
	tableThere, err := tableExists(ctx, tables, tableOf(r.stack))
	if err != nil {
		return done, err
	}
	if !stackThere && (!tableThere || !r.table) {
		more := ""
		if tableThere {
			more = "; its table " + tableOf(r.stack) + " is still there: --table deletes it"
		}
		return done, fmt.Errorf("there is no stack %s in %s: check the name, and that AWS_REGION and the AWS profile are the stack's%s",
			r.stack, cloud.Region, more)
	}
	if err := r.confirm(stackThere, tableThere, cloud.Region); err != nil {
		return done, err
	}
	if stackThere {
		done.Credentials = credentialsOf(ctx, stacks, r.stack)
		if err := r.deleteStack(ctx, stacks); err != nil {
			return done, err
		}
		done.Stack = true
		fmt.Fprintf(r.out, "The stack %s is deleted.\n", r.stack)
		if tableThere, err = tableExists(ctx, tables, tableOf(r.stack)); err != nil { // stacks of old took theirs with them
			return done, err
		}
	}
	if tableThere && r.table {
		if _, err := during(r.errs, "deleting the table "+tableOf(r.stack), func() (struct{}, error) {
			return struct{}{}, dropTable(ctx, tables, tableOf(r.stack))
		}); err != nil {
			return done, err
		}
		fmt.Fprintf(r.out, "The table %s is deleted, with all that waited in it.\n", tableOf(r.stack))
		tableThere, done.Table = false, true
	}
	if tableThere {
		done.TableStays = tableOf(r.stack)
	}
	r.stays(tableThere, done.Credentials)
	return done, nil
}

func (r removal) confirm(stack, table bool, region string) error {
	if r.yes {
		return nil
	}
	var what []string
	if stack {
		what = append(what, "the stack "+r.stack)
	}
	if table && r.table {
		what = append(what, "the table "+tableOf(r.stack)+" with all that waits in it")
	}
	fmt.Fprintf(r.out, "This deletes %s in %s. Type the stack's name to go on: ", strings.Join(what, ", and "), region)
	line, _ := bufio.NewReader(r.in).ReadString('\n')
	if strings.TrimSpace(line) != r.stack {
		return misuse(errors.New("nothing was deleted: that is not the stack's name (--yes asks nothing)"))
	}
	return nil
}

// credentialsOf is where the stack's pinned credentials are; empty if there are none, or if it cannot be said.
func credentialsOf(ctx context.Context, client *cloudformation.Client, stack string) string {
	found, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &stack})
	if err != nil || len(found.Stacks) == 0 {
		return ""
	}
	for _, parameter := range found.Stacks[0].Parameters {
		if aws.ToString(parameter.ParameterKey) == "CredentialsArn" {
			return aws.ToString(parameter.ParameterValue)
		}
	}
	return ""
}

func (r removal) deleteStack(ctx context.Context, client *cloudformation.Client) error {
	ctx, cancel := context.WithTimeout(ctx, stackTime)
	defer cancel()
	_, err := during(r.errs, "deleting the stack "+r.stack, func() (struct{}, error) {
		if _, err := client.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: &r.stack}); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, cloudformation.NewStackDeleteCompleteWaiter(client, func(o *cloudformation.StackDeleteCompleteWaiterOptions) {
			o.MinDelay, o.MaxDelay = time.Second, 10*time.Second
		}).Wait(ctx, &cloudformation.DescribeStacksInput{StackName: &r.stack}, stackTime)
	})
	if err != nil {
		return fmt.Errorf("deleting the stack %s: %w: its events say what stands in the way", r.stack, err)
	}
	return nil
}

// stays says what is still there, and how to be rid of it.
func (r removal) stays(table bool, credentials string) {
	fmt.Fprintln(r.out, "\nWhat stays:")
	if table {
		fmt.Fprintf(r.out, "- the table %s, with what was not answered and an opt-out, if there is one:\n  dormouse init takes it over, "+
			"dormouse remove --stack %s --table deletes it\n", tableOf(r.stack), r.stack)
	}
	if credentials != "" {
		fmt.Fprintf(r.out, "- the gateway's credentials at %s\n", credentials)
	}
	fmt.Fprint(r.out, "- the connector's record of this gateway: it buffers for it and pokes its old wake URL until its operator ends that\n"+
		"- secrets that you stored yourself, the account's identity federation, and what sam uploaded (the bucket of the stack\n"+
		"  aws-sam-cli-managed-default)\n- samconfig.toml in this directory, if dormouse init wrote one\n")
}
