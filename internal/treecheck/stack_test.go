package treecheck

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/matryer/is"
)

// chosen is a part of the translated template with each Fn::If decided, as moto keeps a null where AWS::NoValue stood, and each
// Fn::FindInMap.
func (d deployment) chosen(v any) any {
	switch v := v.(type) {
	case []any:
		list := []any{}
		for _, element := range v {
			if e := d.chosen(element); e != (noValue{}) {
				list = append(list, e)
			}
		}
		return list
	case map[string]any:
		if choice, ok := v["Fn::If"].([]any); ok && len(v) == 1 {
			if d.condition(choice[0].(string)) {
				return d.chosen(choice[1])
			}
			return d.chosen(choice[2])
		}
		if v["Fn::FindInMap"] != nil { // by a number moto finds nothing
			return d.value(v)
		}
		if v["Ref"] == "AWS::NoValue" {
			return noValue{}
		}
		object := map[string]any{}
		for name, field := range v {
			if f := d.chosen(field); f != (noValue{}) {
				object[name] = f
			}
		}
		return object
	}
	return v
}

// forMoto is the template that moto gets: the resources that are made. It passes over the types that it does not know.
func (d deployment) forMoto(t *testing.T) string {
	t.Helper()
	resources := map[string]any{}
	for name, r := range d.Resources {
		if r.Condition != "" && !d.condition(r.Condition) {
			continue
		}
		properties, _ := d.chosen(r.Properties).(map[string]any)
		if code, ok := properties["Code"].(map[string]any); ok {
			code["S3Bucket"], code["S3Key"] = "code-of-dory", "key"
		}
		resources[name] = map[string]any{"Type": r.Type, "Properties": properties}
	}
	raw, err := json.Marshal(map[string]any{
		"AWSTemplateFormatVersion": "2010-09-09", "Parameters": d.Raw["Parameters"], "Mappings": d.Raw["Mappings"],
		"Resources": resources, "Outputs": d.chosen(d.Raw["Outputs"]),
	})
	is.New(t).NoErr(err)
	return string(raw)
}

// The translated template goes up as a stack, as far as moto knows its resources: what one part says of another is there.
func TestTranslatedTemplateGoesUpAsAStack(t *testing.T) {
	endpoint := os.Getenv("DORMOUSE_TEST_MOTO")
	if endpoint == "" {
		t.Skip("DORMOUSE_TEST_MOTO is not set: make lint-template starts a server for this test")
	}
	is := is.New(t)
	tpl := translate(t)
	cloud := aws.Config{
		Region: "eu-central-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
	}
	putCode(t, endpoint)
	parameters := map[string]string{
		"RelayUrl": "https://connector.example", "WakePath": "0123456789abcdef", "Identity": "aws", "Alarms": "ops@example.com",
		"Dashboard": "on", "Settings": `{"DORMOUSE_STOP":"/halt"}`, "Agent": "lambda:answers",
	}
	d := tpl.deploy(parameters)
	client := cloudformation.NewFromConfig(cloud)
	body := d.forMoto(t)
	var given []types.Parameter
	for name, value := range parameters {
		given = append(given, types.Parameter{ParameterKey: &name, ParameterValue: &value})
	}
	_, err := client.CreateStack(t.Context(), &cloudformation.CreateStackInput{
		StackName: aws.String("dory"), TemplateBody: &body, Parameters: given, Capabilities: []types.Capability{types.CapabilityCapabilityIam},
	})
	is.NoErr(err)
	stacks, err := client.DescribeStacks(t.Context(), &cloudformation.DescribeStacksInput{StackName: aws.String("dory")})
	is.NoErr(err)
	is.Equal(string(stacks.Stacks[0].StackStatus), "CREATE_COMPLETE")
	outputs := map[string]string{}
	for _, o := range stacks.Stacks[0].Outputs {
		outputs[*o.OutputKey] = *o.OutputValue
	}
	is.Equal(outputs["DrainFunctionName"], "dory-drain")
	is.Equal(outputs["TableName"], "dory-ledger")
	is.True(strings.HasPrefix(outputs["GatewayId"], "gw-dory-"))
	function, err := lambda.NewFromConfig(cloud).GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{
		FunctionName: aws.String("dory-drain"),
	})
	is.NoErr(err)
	is.Equal(function.Environment.Variables["DORMOUSE_TABLE"], "dory-ledger")
	is.Equal(function.Environment.Variables["DORMOUSE_SETTINGS"], parameters["Settings"])
	is.Equal(function.Environment.Variables["GATEWAY_RELAY_WAKE_URL"], outputs["WakeUrl"])
	is.Equal(function.Environment.Variables["GATEWAY_RELAY_ID"], outputs["GatewayId"])
	is.Equal(*function.Role, outputs["DrainRoleArn"])
	table, err := dynamodb.NewFromConfig(cloud).DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: aws.String("dory-ledger")})
	is.NoErr(err)
	is.Equal(len(table.Table.LocalSecondaryIndexes), 1)
	resources, err := client.DescribeStackResources(t.Context(), &cloudformation.DescribeStackResourcesInput{StackName: aws.String("dory")})
	is.NoErr(err)
	t.Log(len(resources.StackResources), "resources")
	is.True(len(resources.StackResources) > 20)
	_, err = client.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: aws.String("dory")})
	is.NoErr(err)
}

// putCode puts a program where the translated functions look for theirs.
func putCode(t *testing.T, endpoint string) {
	t.Helper()
	is := is.New(t)
	var b bytes.Buffer
	archive := zip.NewWriter(&b)
	program, err := archive.Create("bootstrap")
	is.NoErr(err)
	program.Write([]byte("x"))
	is.NoErr(archive.Close())
	send(t, endpoint+"/code-of-dory", nil)
	send(t, endpoint+"/code-of-dory/key", b.Bytes())
}

func send(t *testing.T, url string, body []byte) {
	t.Helper()
	is := is.New(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(body))
	is.NoErr(err)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=any")
	res, err := http.DefaultClient.Do(req)
	is.NoErr(err)
	res.Body.Close()
	is.Equal(res.StatusCode, http.StatusOK)
}
