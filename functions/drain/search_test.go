package main_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/dormouse-relay/dormouse/internal/awsconf"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
)

func tableClient(t *testing.T) *dynamodb.Client {
	return tableClientAt(t, os.Getenv("DORMOUSE_TEST_DYNAMODB"))
}

func tableClientAt(t *testing.T, endpoint string) *dynamodb.Client {
	cfg := awsconf.New(map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": region, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
	})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	cfg.HTTPClient = &http.Client{Transport: transport}
	return dynamo.NewClient(cfg)
}

// searchTable looks through all that drain has written down. What people wrote may be there until it is answered.
func (s *stack) searchTable() {
	table := s.env["DORMOUSE_TABLE"]
	if table == "" || s.setup.unsearched {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pages := dynamodb.NewScanPaginator(tableClientAt(s.t, s.env["AWS_ENDPOINT_URL_DYNAMODB"]), &dynamodb.ScanInput{TableName: &table})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			s.t.Errorf("looking through the table: %v", err)
			return
		}
		for _, item := range page.Items {
			for name, value := range item {
				s.search("the table's "+name, strings.ReplaceAll(plain(value), eventText, ""))
			}
		}
	}
}

// plain is an attribute as text, its bytes as they are.
func plain(value types.AttributeValue) string {
	switch value := value.(type) {
	case *types.AttributeValueMemberS:
		return value.Value
	case *types.AttributeValueMemberB:
		return string(value.Value)
	case *types.AttributeValueMemberL:
		var all []string
		for _, v := range value.Value {
			all = append(all, plain(v))
		}
		return strings.Join(all, " ")
	case *types.AttributeValueMemberM:
		var all []string
		for name, v := range value.Value {
			all = append(all, name, plain(v))
		}
		return strings.Join(all, " ")
	}
	return fmt.Sprintf("%v", value)
}
