package devstage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/awsconf"
	"github.com/dormouse-relay/dormouse/internal/devtable"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
)

// TableName is the development table's, as DORMOUSE_TABLE has it.
const TableName = "dormouse"

const tableTime = 10 * time.Second // for making it

// Table is the development table, served on loopback, with the ledger's table in it.
type Table struct {
	*devtable.Store
	URL string

	client *dynamodb.Client
	idle   *http.Transport
}

// OpenTable opens the file of a table, makes the ledger's table in it if it is not there, and serves it. Close it.
func OpenTable(ctx context.Context, path string) (_ *Table, err error) {
	store, err := devtable.Open(path)
	if errors.Is(err, devtable.ErrInUse) {
		return nil, fmt.Errorf("%w: end that one, or choose another folder with --dir", err)
	}
	if err != nil {
		return nil, err
	}
	t := &Table{Store: store, idle: &http.Transport{}}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the development table: %w", err)
	}
	t.URL = "http://" + listener.Addr().String()
	store.Serve(listener)
	cloud := awsconf.New(withKeys(t.Variables()))
	cloud.BaseEndpoint = &t.URL // whatever AWS_ENDPOINT_URL this process has, which the SDK looks at itself
	cloud.HTTPClient = &http.Client{Transport: t.idle}
	t.client = dynamo.NewClient(cloud)
	ctx, cancel := context.WithTimeout(ctx, tableTime)
	defer cancel()
	_, err = t.client.CreateTable(ctx, dynamo.Definition(TableName))
	if _, there := errors.AsType[*types.ResourceInUseException](err); err != nil && !there {
		return nil, fmt.Errorf("making the development table: %w", err)
	}
	_, err = t.client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName:               aws.String(TableName),
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String(dynamo.TTL), Enabled: aws.Bool(true)},
	})
	if err != nil {
		return nil, fmt.Errorf("making the development table: %w", err)
	}
	return t, nil
}

// Variables are those that lead a function and the command line to the table.
func (t *Table) Variables() map[string]string {
	return map[string]string{"DORMOUSE_TABLE": TableName, "AWS_ENDPOINT_URL_DYNAMODB": t.URL}
}

// withKeys adds what the SDK wants and the table does not look at.
func withKeys(environ map[string]string) map[string]string {
	environ["AWS_REGION"], environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"] = "us-east-1", "any", "any"
	return environ
}

// Ledger is that of an instance in the table.
func (t *Table) Ledger(instance string) *dynamo.Ledger {
	return dynamo.New(t.client, TableName, instance)
}

// Close ends the server and closes the file.
func (t *Table) Close() error {
	t.idle.CloseIdleConnections()
	return t.Store.Close()
}
