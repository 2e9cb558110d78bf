package treecheck

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/goccy/go-yaml"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/prices"
	"github.com/dormouse-relay/dormouse/internal/version"
)

// template is what the tests read of template.yaml. The parser drops the tags of intrinsic functions and keeps what
// stands behind them: !Ref Lease reads as the string Lease.
type template struct {
	Metadata struct {
		Application struct {
			Name            string `yaml:"Name"`
			SpdxLicenseID   string `yaml:"SpdxLicenseId"`
			LicenseURL      string `yaml:"LicenseUrl"`
			ReadmeURL       string `yaml:"ReadmeUrl"`
			SemanticVersion string `yaml:"SemanticVersion"`
		} `yaml:"AWS::ServerlessRepo::Application"`
		Interface struct {
			ParameterGroups []struct {
				Label      map[string]string `yaml:"Label"`
				Parameters []string          `yaml:"Parameters"`
			} `yaml:"ParameterGroups"`
			ParameterLabels map[string]map[string]string `yaml:"ParameterLabels"`
		} `yaml:"AWS::CloudFormation::Interface"`
	} `yaml:"Metadata"`
	Parameters map[string]struct {
		Description   string `yaml:"Description"`
		Default       any    `yaml:"Default"`
		AllowedValues []any  `yaml:"AllowedValues"`
		NoEcho        bool   `yaml:"NoEcho"`
	} `yaml:"Parameters"`
	Mappings map[string]map[string]map[string]string `yaml:"Mappings"`
	Globals  struct {
		Function struct {
			Runtime       string   `yaml:"Runtime"`
			Architectures []string `yaml:"Architectures"`
		} `yaml:"Function"`
	} `yaml:"Globals"`
	Resources map[string]resource `yaml:"Resources"`
	Outputs   map[string]struct {
		Value any `yaml:"Value"`
	} `yaml:"Outputs"`
}

type resource struct {
	Type       string            `yaml:"Type"`
	Condition  string            `yaml:"Condition"`
	Deletion   string            `yaml:"DeletionPolicy"`
	Replace    string            `yaml:"UpdateReplacePolicy"`
	Metadata   map[string]string `yaml:"Metadata"`
	Properties map[string]any    `yaml:"Properties"`
}

func readTemplate(t *testing.T) template {
	t.Helper()
	is := is.New(t)
	content, err := os.ReadFile(filepath.Join(root, "template.yaml"))
	is.NoErr(err)
	var tpl template
	is.NoErr(yaml.Unmarshal(content, &tpl))
	return tpl
}

// at walks down the maps and lists of a resource's properties; a step that is not there gives nil.
func (r resource) at(steps ...any) any {
	var value any = r.Properties
	for _, step := range steps {
		switch step := step.(type) {
		case string:
			object, _ := value.(map[string]any)
			value = object[step]
		case int:
			list, _ := value.([]any)
			if step >= len(list) {
				return nil
			}
			value = list[step]
		}
	}
	return value
}

func (r resource) variables() map[string]any {
	variables, _ := r.at("Environment", "Variables").(map[string]any)
	return variables
}

func TestDeploymentKeepsItsPromises(t *testing.T) {
	tpl := readTemplate(t)
	wake, drain := tpl.Resources["WakeFunction"], tpl.Resources["DrainFunction"]
	throttle, _ := tpl.Resources["ApiStage"].at("DefaultRouteSettings").(map[string]any)
	schedule, events := tpl.Resources["DrainSchedule"], tpl.Resources["DrainEvents"]
	tests := map[string]struct{ got, want any }{
		"runtime":                        {tpl.Globals.Function.Runtime, "provided.al2023"},
		"architecture":                   {tpl.Globals.Function.Architectures, []string{"arm64"}},
		"wake is built by make":          {wake.Metadata["BuildMethod"], "makefile"},
		"drain is built by make":         {drain.Metadata["BuildMethod"], "makefile"},
		"wake's memory":                  {wake.at("MemorySize"), uint64(prices.WakeMemory)},
		"drain's memory":                 {tpl.Parameters["DrainMemory"].Default, uint64(prices.DrainMemory)},
		"drain's timeout":                {drain.at("Timeout"), uint64(900)},
		"wake starts this stack's drain": {wake.variables()["DORMOUSE_DRAIN_FUNCTION"], drain.at("FunctionName")},
		"pokes are throttled":            {throttle["ThrottlingRateLimit"], 0.2},
		"bursts are throttled":           {throttle["ThrottlingBurstLimit"], uint64(20)},
		"the path is a parameter":        {tpl.Resources["WakeRoute"].at("RouteKey"), "ANY /w/${WakePath}"},
		"Lambda keeps a chain of drains": {drain.at("RecursiveLoop"), "Allow"},
		"a failed drain is retried once": {events.at("MaximumRetryAttempts"), uint64(1)},
		"what is to be said waits":       {events.at("MaximumEventAgeInSeconds"), uint64(21600)},
		"the schedule's interval":        {schedule.at("ScheduleExpression"), "rate(5 minutes)"},
		"the schedule is not retried":    {schedule.at("Target", "RetryPolicy", "MaximumRetryAttempts"), uint64(0)},
		"the schedule's name is its own": {schedule.at("Name"), "${AWS::StackName}-drain"},
		"wake's log is kept":             {tpl.Resources["WakeLog"].at("RetentionInDays"), "LogRetention"},
		"drain's log is kept":            {tpl.Resources["DrainLog"].at("RetentionInDays"), "LogRetention"},
		"for 30 days":                    {tpl.Parameters["LogRetention"].Default, uint64(30)},
		"what waits outlives the stack":  {tpl.Resources["LedgerTable"].Deletion, "RetainExceptOnCreate"},
		"and a replaced table":           {tpl.Resources["LedgerTable"].Replace, "Retain"},
		"the table's name":               {tpl.Resources["LedgerTable"].at("TableName"), "${AWS::StackName}-ledger"},
		"the wake URL to register":       {tpl.Outputs["WakeUrl"].Value, drain.variables()["GATEWAY_RELAY_WAKE_URL"]},
		"the id to register":             {tpl.Outputs["GatewayId"].Value, drain.variables()["GATEWAY_RELAY_ID"]},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			is.True(tt.want != nil)
			is.Equal(tt.got, tt.want)
		})
	}
}

func TestPoliciesGrantNoMoreThanIsUsed(t *testing.T) {
	is := is.New(t)
	tpl := readTemplate(t)
	drain := "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-drain"
	log := []any{"logs:CreateLogStream", "logs:PutLogEvents"}
	ledger := []any{
		"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:ConditionCheckItem", "dynamodb:PutItem", "dynamodb:UpdateItem",
		"dynamodb:Query",
	}
	want := map[string][][2]any{
		"WakeRole": {{log, "WakeLog.Arn"}, {"lambda:InvokeFunction", drain}},
		"DrainRole": {{log, "DrainLog.Arn"}, {"lambda:InvokeFunction", drain},
			{ledger, []any{"LedgerTable.Arn", "${LedgerTable.Arn}/index/open"}},
			{"sqs:SendMessage", "DroppedEvents.Arn"},
		},
		"ScheduleRole": {{"lambda:InvokeFunction", drain}},
		"SecretsPolicy": {{[]any{"ssm:GetParameter", "secretsmanager:GetSecretValue"}, []any{ // what an ARN is given for
			[]any{"CredentialsArnIsGiven", "CredentialsArn", "AWS::NoValue"},
			[]any{"IdentityTokenArnIsGiven", "IdentityTokenArn", "AWS::NoValue"},
			[]any{"IdpClientSecretArnIsGiven", "IdpClientSecretArn", "AWS::NoValue"},
			[]any{"AgentSecretArnIsGiven", "AgentSecretArn", "AWS::NoValue"},
		}}},
		"SecretsKeyPolicy": {{"kms:Decrypt", "SecretsKeyArn"}},
		"TableKeyPolicy": {{[]any{
			"kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:DescribeKey",
		}, "KmsKeyArn"}},
		"IdentityPolicy": {{"sts:GetWebIdentityToken", "*"}},
		"AgentPolicy": {{"lambda:InvokeFunction", []any{ // the function that Agent names
			"arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${Function}",
			map[string]any{"Function": []any{uint64(1), []any{"lambda:", "${Agent}lambda:"}}},
		}}},
	}
	got := map[string][][2]any{}
	for name, res := range tpl.Resources {
		is.Equal(res.at("ManagedPolicyArns"), nil) // a managed policy grants more
		if res.Type == "AWS::Serverless::Function" {
			is.Equal(res.at("Policies"), nil)
			is.True(res.at("Role") != nil) // without a role of its own SAM adds a managed policy
		}
		if res.Type == "AWS::IAM::RolePolicy" {
			is.Equal(res.at("PolicyDocument", "Statement", 1), nil)
			statement, _ := res.at("PolicyDocument", "Statement", 0).(map[string]any)
			got[name] = append(got[name], [2]any{statement["Action"], statement["Resource"]})
		}
		if res.Type != "AWS::IAM::Role" {
			continue
		}
		more, _ := res.at("Policies").([]any)
		for _, policy := range more[1:] { // conditional: [condition, policy, AWS::NoValue]
			choice, _ := policy.([]any)
			is.Equal(len(choice), 3)
			is.True(slices.Contains([]any{"VpcIsUsed", "TracingIsOn"}, choice[0]) && choice[2] == "AWS::NoValue")
		}
		statements, _ := res.at("Policies", 0, "PolicyDocument", "Statement").([]any)
		for _, statement := range statements {
			if choice, is := statement.([]any); is && choice[0] == "AlarmsAreAsked" && choice[2] == "AWS::NoValue" {
				statement = choice[1]
			}
			statement, _ := statement.(map[string]any)
			is.Equal(statement["Effect"], "Allow")
			got[name] = append(got[name], [2]any{statement["Action"], statement["Resource"]})
		}
	}
	is.Equal(got, want)
}

// The tests of the ledger make their table from dynamo.Definition.
func TestTableIsTheOneThatTheLedgerIsTestedOn(t *testing.T) {
	is := is.New(t)
	tpl := readTemplate(t)
	table := tpl.Resources["LedgerTable"]
	tested := dynamo.Definition("table")
	var attributes []any
	for _, a := range tested.AttributeDefinitions {
		attributes = append(attributes, map[string]any{"AttributeName": *a.AttributeName, "AttributeType": string(a.AttributeType)})
	}
	schema := func(elements []types.KeySchemaElement) (keys []any) {
		for _, e := range elements {
			keys = append(keys, map[string]any{"AttributeName": *e.AttributeName, "KeyType": string(e.KeyType)})
		}
		return keys
	}
	index := tested.LocalSecondaryIndexes[0]
	is.Equal(table.at("AttributeDefinitions"), attributes)
	is.Equal(table.at("KeySchema"), schema(tested.KeySchema))
	is.Equal(table.at("LocalSecondaryIndexes"), []any{map[string]any{
		"IndexName":  *index.IndexName,
		"KeySchema":  schema(index.KeySchema),
		"Projection": map[string]any{"ProjectionType": string(index.Projection.ProjectionType)},
	}})
	is.Equal(table.at("BillingMode"), string(tested.BillingMode))
	is.Equal(table.at("TimeToLiveSpecification"), map[string]any{"AttributeName": dynamo.TTL, "Enabled": true})
	is.Equal(table.at("DeletionProtectionEnabled"), false)      // the stack can be deleted; the table stays
	is.Equal(table.at("PointInTimeRecoverySpecification"), nil) // payloads are meant to be gone
	is.Equal(tpl.Resources["DrainFunction"].variables()["DORMOUSE_TABLE"], "LedgerTable")
	statement := tpl.Resources["DrainRole"].at("Policies", 0, "PolicyDocument", "Statement", 2, "Condition")
	is.True(statement != nil) // only this instance's items
}

// What no deployment needs unless it is configured is not granted, and what names no resource is held by conditions.
func TestPoliciesAreConditional(t *testing.T) {
	is := is.New(t)
	tpl := readTemplate(t)
	for name, condition := range map[string]string{
		"SecretsPolicy": "SecretsAreRead", "SecretsKeyPolicy": "SecretsKeyIsUsed", "IdentityPolicy": "IdentityIsAws",
		"AgentPolicy": "AgentIsFunction", "TableKeyPolicy": "KeyIsOurs",
	} {
		is.Equal(tpl.Resources[name].Condition, condition)
		is.Equal(tpl.Resources[name].at("RoleName"), "DrainRole")
	}
	is.Equal(tpl.Resources["IdentityPolicy"].at("PolicyDocument", "Statement", 0, "Condition"), map[string]any{
		"ForAllValues:StringEquals": map[string]any{"sts:IdentityTokenAudience": []any{
			"AudienceIsGiven", "IdentityAudience",
			[]any{"https://${Host}", map[string]any{"Host": []any{uint64(2), []any{"/", "RelayUrl"}}}},
		}},
		"Null":                  map[string]any{"sts:IdentityTokenAudience": "false"}, // ForAllValues holds for none at all, too
		"NumericLessThanEquals": map[string]any{"sts:DurationSeconds": "300"},
	})
	is.Equal(tpl.Resources["SecretsKeyPolicy"].at("PolicyDocument", "Statement", 0, "Condition"), map[string]any{
		"StringLike": map[string]any{"kms:ViaService": []any{"ssm.*.amazonaws.com", "secretsmanager.*.amazonaws.com"}},
	})
}

func TestMemoryLimitIsFourFifths(t *testing.T) {
	is := is.New(t)
	tpl := readTemplate(t)
	sizes := []string{fmt.Sprint(prices.WakeMemory)}
	for _, size := range tpl.Parameters["DrainMemory"].AllowedValues {
		if size := fmt.Sprint(size); !slices.Contains(sizes, size) {
			sizes = append(sizes, size)
		}
	}
	limits := tpl.Mappings["GoMemLimit"]
	is.Equal(slices.Sorted(maps.Keys(limits)), slices.Sorted(slices.Values(sizes))) // a limit for each size to choose
	for size, limit := range limits {
		mb, err := strconv.Atoi(size)
		is.NoErr(err)
		is.Equal(limit["Value"], fmt.Sprintf("%dMiB", mb*4/5))
	}
	for _, function := range []string{"WakeFunction", "DrainFunction"} {
		memory := tpl.Resources[function].at("MemorySize")
		if number, ok := memory.(uint64); ok {
			memory = fmt.Sprint(number)
		}
		is.Equal(tpl.Resources[function].variables()["GOMEMLIMIT"], []any{"GoMemLimit", memory, "Value"})
	}
}

// parameterOf is the parameter that a variable of a function is filled from: by itself, or in [condition, parameter, AWS::NoValue].
func parameterOf(value any) string {
	if choice, ok := value.([]any); ok && len(choice) == 3 && choice[2] == "AWS::NoValue" {
		value = choice[1]
	}
	name, _ := value.(string)
	return name
}

// Whoever fills in a parameter can look its variable up, learns whether it is theirs to fill in, and is asked for no secret.
func TestParametersNameTheirVariables(t *testing.T) {
	is := is.New(t)
	tpl := readTemplate(t)
	for _, function := range []string{"WakeFunction", "DrainFunction"} {
		for variable, value := range tpl.Resources[function].variables() {
			if parameter, ok := tpl.Parameters[parameterOf(value)]; ok {
				is.True(strings.HasPrefix(parameter.Description, variable+".")) // Description: VARIABLE. What it means.
				if parameter.Default != nil {
					choice, _ := value.([]any)
					is.Equal(len(choice), 3) // only what was given is passed on
				}
			}
		}
	}
	is.True(len(tpl.Parameters) <= 29)
	var grouped []string
	for _, group := range tpl.Metadata.Interface.ParameterGroups {
		is.True(group.Label["default"] != "")
		grouped = append(grouped, group.Parameters...)
	}
	is.Equal(slices.Sorted(slices.Values(grouped)), slices.Sorted(maps.Keys(tpl.Parameters))) // each is in one group
	for name, parameter := range tpl.Parameters {
		is.True(tpl.Metadata.Interface.ParameterLabels[name]["default"] != "")
		_, who, ok := strings.Cut(parameter.Description, " Needed by: ")
		if !ok || !strings.HasSuffix(who, ".") {
			t.Errorf("%s does not say at its end who needs it: %s", name, parameter.Description)
		}
		is.True(!parameter.NoEcho) // it would be asked for at every guided deployment, and land in a function's configuration
		if name != "RelayUrl" && name != "WakePath" {
			is.True(parameter.Default != nil)
		}
	}
	is.Equal(len(tpl.Metadata.Interface.ParameterLabels), len(tpl.Parameters))
}

func TestTheApplicationSaysWhatItIs(t *testing.T) {
	is := is.New(t)
	app := readTemplate(t).Metadata.Application
	is.Equal(app.SemanticVersion, version.Number)
	is.True(app.Name != "" && app.SpdxLicenseID == "MIT")
	for _, file := range []string{app.LicenseURL, app.ReadmeURL} {
		_, err := os.Stat(filepath.Join(root, file))
		is.NoErr(err)
	}
}
