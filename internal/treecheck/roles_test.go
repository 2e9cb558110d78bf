package treecheck

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"
)

// translated is what the SAM translator makes of template.yaml. Numbers do not matter here.
type translated struct {
	Parameters map[string]struct {
		Type    string
		Default any
	}
	Rules map[string]struct {
		RuleCondition any
		Assertions    []struct {
			Assert            any
			AssertDescription string
		}
	}
	Raw        map[string]any `json:"-"` // all of it
	Conditions map[string]any
	Mappings   map[string]map[string]map[string]any
	Resources  map[string]struct {
		Type       string
		Condition  string
		Properties map[string]any
	}
}

func translate(t *testing.T) translated {
	t.Helper()
	python := os.Getenv("DORMOUSE_TEST_SAM")
	if python == "" {
		t.Skip("DORMOUSE_TEST_SAM is not set: make lint-template sets it to the SAM CLI's Python")
	}
	is := is.New(t)
	cmd := exec.CommandContext(t.Context(), python, filepath.Join(root, "scripts", "translate.py"), filepath.Join(root, "template.yaml"))
	cmd.Env = append(os.Environ(), "AWS_DEFAULT_REGION=eu-central-1", "AWS_EC2_METADATA_DISABLED=true")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err, errs.String())
	}
	var tpl translated
	is.NoErr(json.Unmarshal(out, &tpl))
	is.NoErr(json.Unmarshal(out, &tpl.Raw))
	return tpl
}

// deployment is a translated template with its parameters filled in: it does what CloudFormation does with intrinsic
// functions.
type deployment struct {
	translated
	parameters map[string]string
}

func (tpl translated) deploy(parameters map[string]string) deployment {
	d := deployment{tpl, map[string]string{
		"AWS::StackName": "dory", "AWS::AccountId": "123456789012", "AWS::Region": "eu-central-1", "AWS::Partition": "aws",
		"AWS::URLSuffix": "amazonaws.com",
		"AWS::StackId":   "arn:aws:cloudformation:eu-central-1:123456789012:stack/dory/0a1b2c3d-1111-2222-3333-444444444444",
	}}
	for name, p := range tpl.Parameters {
		if p.Default != nil {
			d.parameters[name] = fmt.Sprint(p.Default)
		}
	}
	maps.Copy(d.parameters, parameters)
	return d
}

type noValue struct{}

func (d deployment) value(v any) any {
	switch v := v.(type) {
	case []any:
		var list []any
		for _, element := range v {
			if e := d.value(element); e != (noValue{}) {
				list = append(list, e)
			}
		}
		return list
	case map[string]any:
		if len(v) == 1 {
			for function, argument := range v {
				if strings.HasPrefix(function, "Fn::") || function == "Ref" || function == "Condition" {
					return d.call(function, argument)
				}
			}
		}
		object := map[string]any{}
		for name, field := range v {
			if f := d.value(field); f != (noValue{}) {
				object[name] = f
			}
		}
		return object
	}
	return v
}

func (d deployment) call(function string, argument any) any {
	list, _ := argument.([]any)
	switch function {
	case "Ref":
		name := argument.(string)
		if name == "AWS::NoValue" {
			return noValue{}
		}
		if d.Parameters[name].Type == "CommaDelimitedList" {
			var elements []any
			for _, element := range strings.Split(d.parameters[name], ",") {
				elements = append(elements, element)
			}
			return elements
		}
		return d.lookUp(name)
	case "Fn::GetAtt":
		return fmt.Sprint(list[0], ".", list[1])
	case "Fn::If":
		if d.condition(list[0].(string)) {
			return d.value(list[1])
		}
		return d.value(list[2])
	case "Fn::Sub":
		text, own := argument, map[string]any{}
		if list != nil {
			text, own = list[0], d.value(list[1]).(map[string]any)
		}
		return regexp.MustCompile(`\$\{[^}]+\}`).ReplaceAllStringFunc(text.(string), func(variable string) string {
			name := variable[2 : len(variable)-1]
			if value, ok := own[name]; ok {
				return value.(string)
			}
			return d.lookUp(name)
		})
	case "Fn::Join":
		var parts []string
		for _, part := range d.value(list[1]).([]any) {
			parts = append(parts, part.(string))
		}
		return strings.Join(parts, list[0].(string))
	case "Fn::Split":
		var parts []any
		for _, part := range strings.Split(d.value(list[1]).(string), list[0].(string)) {
			parts = append(parts, part)
		}
		return parts
	case "Fn::FindInMap":
		return d.Mappings[list[0].(string)][d.value(list[1]).(string)][list[2].(string)]
	case "Fn::Select":
		return d.value(list[1]).([]any)[int(list[0].(float64))]
	case "Condition":
		return d.condition(argument.(string))
	case "Fn::Equals":
		return d.value(list[0]) == d.value(list[1])
	case "Fn::Not":
		return !d.value(list[0]).(bool)
	case "Fn::And":
		return !slices.Contains(d.value(list).([]any), any(false))
	case "Fn::Or":
		return slices.Contains(d.value(list).([]any), any(true))
	}
	panic("treecheck: no " + function + " here: teach it")
}

// lookUp is a parameter's value, or the name of something that is only known once it is deployed.
func (d deployment) lookUp(name string) string {
	if value, ok := d.parameters[name]; ok {
		return value
	}
	return name
}

func (d deployment) condition(name string) bool { return d.value(d.Conditions[name]).(bool) }

// grants are the statements of a role's policies, each as "actions on resources if conditions".
func (d deployment) grants(t *testing.T, role string) (list []string) {
	t.Helper()
	is := is.New(t)
	add := func(document any) {
		for _, s := range d.value(document).(map[string]any)["Statement"].([]any) {
			statement := s.(map[string]any)
			is.Equal(statement["Effect"], "Allow")
			for name := range statement {
				is.True(slices.Contains([]string{"Effect", "Action", "Resource", "Condition"}, name))
			}
			grant := fmt.Sprint(statement["Action"], " on ", statement["Resource"])
			if statement["Condition"] != nil {
				condition, err := json.Marshal(statement["Condition"])
				is.NoErr(err)
				grant += " if " + string(condition)
			}
			list = append(list, grant)
		}
	}
	properties := d.Resources[role].Properties
	is.Equal(properties["ManagedPolicyArns"], nil)
	for _, policy := range d.value(properties["Policies"]).([]any) {
		add(policy.(map[string]any)["PolicyDocument"])
	}
	for _, name := range slices.Sorted(maps.Keys(d.Resources)) {
		res := d.Resources[name]
		if res.Type != "AWS::IAM::RolePolicy" || d.value(res.Properties["RoleName"]) != role {
			continue
		}
		if res.Condition == "" || d.condition(res.Condition) {
			add(res.Properties["PolicyDocument"])
		}
	}
	return list
}

// What CloudFormation is given, once the transform is done and the parameters are filled in: all that each role may do.
func TestTranslatedRolesMayDoWhatTheirConfigurationNeeds(t *testing.T) {
	tpl := translate(t)
	const (
		drain   = "arn:aws:lambda:eu-central-1:123456789012:function:dory-drain"
		invoke  = "lambda:InvokeFunction on " + drain
		ledger  = "[dynamodb:GetItem dynamodb:BatchGetItem dynamodb:ConditionCheckItem dynamodb:PutItem dynamodb:UpdateItem dynamodb:Query] on [LedgerTable.Arn LedgerTable.Arn/index/open]"
		keys    = ` if {"ForAllValues:StringEquals":{"dynamodb:LeadingKeys":"%s"}}`
		token   = `sts:GetWebIdentityToken on * if {"ForAllValues:StringEquals":{"sts:IdentityTokenAudience":"%s"},"Null":{"sts:IdentityTokenAudience":"false"},"NumericLessThanEquals":{"sts:DurationSeconds":"300"}}`
		secrets = "[ssm:GetParameter secretsmanager:GetSecretValue] on [%s]"
		ssm     = "arn:aws:ssm:eu-central-1:123456789012:parameter/dormouse/gw-1"
		manager = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gw-1-AbCdEf"
		key     = "arn:aws:kms:eu-central-1:123456789012:key/1"
		byStack = "gw-dory-0a1b2c3d"
		xray    = "[xray:PutTraceSegments xray:PutTelemetryRecords] on *"
		vpc     = "[ec2:CreateNetworkInterface ec2:DescribeNetworkInterfaces ec2:DescribeSubnets ec2:DeleteNetworkInterface " +
			"ec2:AssignPrivateIpAddresses ec2:UnassignPrivateIpAddresses] on *"
		resource = "arn:aws:lambda:eu-central-1:123456789012:function:"
	)
	with := func(instance string, more ...string) []string {
		return append([]string{
			"[logs:CreateLogStream logs:PutLogEvents] on DrainLog.Arn", invoke, ledger + fmt.Sprintf(keys, instance),
		}, more...)
	}
	tests := map[string]struct {
		parameters map[string]string
		want       []string // of drain's role
	}{
		"nothing but what is required": {nil, with(byStack)},
		"identity aws":                 {map[string]string{"Identity": "aws"}, with(byStack, fmt.Sprintf(token, "https://connector.example:8443"))},
		"identity aws, over wss": {map[string]string{"Identity": "aws", "RelayUrl": "wss://connector.example/relay"},
			with(byStack, fmt.Sprintf(token, "https://connector.example"))},
		"an audience": {map[string]string{"IdentityAudience": "aud"}, with(byStack, fmt.Sprintf(token, "aud"))},
		"an audience that is not used, for oidc": {map[string]string{"IdentityAudience": "aud", "IdpTokenUrl": "https://idp.example/token"},
			with(byStack)},
		"an audience that is not used, for a token": {map[string]string{"IdentityAudience": "aud", "IdentityTokenArn": ssm},
			with(byStack, fmt.Sprintf(secrets, ssm))},
		"pinned, not aws":  {map[string]string{"Identity": "aws", "CredentialsArn": ssm}, with(byStack, fmt.Sprintf(secrets, ssm))},
		"a client secret":  {map[string]string{"IdpClientSecretArn": manager}, with(byStack, fmt.Sprintf(secrets, manager))},
		"secrets of all":   {map[string]string{"IdpClientSecretArn": manager, "AgentSecretArn": ssm}, with(byStack, fmt.Sprintf(secrets, manager+" "+ssm))},
		"a key of nothing": {map[string]string{"SecretsKeyArn": key}, with(byStack)},
		"a key of one's own": {map[string]string{"CredentialsArn": ssm, "SecretsKeyArn": key}, with(byStack,
			`kms:Decrypt on `+key+` if {"StringLike":{"kms:ViaService":["ssm.*.amazonaws.com","secretsmanager.*.amazonaws.com"]}}`,
			fmt.Sprintf(secrets, ssm))},
		"an agent's function": {map[string]string{"Agent": "lambda:answers"}, with(byStack, "lambda:InvokeFunction on "+resource+"answers")},
		"an alias of it":      {map[string]string{"Agent": "lambda:answers:live"}, with(byStack, "lambda:InvokeFunction on "+resource+"answers:live")},
		"an agent's URL":      {map[string]string{"Agent": "https://agent.example/lambda:x"}, with(byStack)},
		"an id of one's own":  {map[string]string{"RelayId": "gw-1"}, with("gw-1")},
		"alarms":              {map[string]string{"Alarms": "ops@example.com"}, with(byStack, "sqs:SendMessage on DroppedEvents.Arn")},
		"a key for the table": {map[string]string{"KmsKeyArn": key}, with(byStack,
			`[kms:Encrypt kms:Decrypt kms:ReEncryptFrom kms:ReEncryptTo kms:GenerateDataKey kms:DescribeKey] on `+key+
				` if {"StringEquals":{"kms:ViaService":"dynamodb.eu-central-1.amazonaws.com"}}`)},
		"tracing":     {map[string]string{"Tracing": "on"}, with(byStack, xray)},
		"a VPC":       {map[string]string{"VpcSubnetIds": "subnet-1,subnet-2", "VpcSecurityGroupIds": "sg-1"}, with(byStack, vpc)},
		"an instance": {map[string]string{"RelayId": "gw-1", "InstanceId": "inst-1"}, with("inst-1")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			parameters := map[string]string{"RelayUrl": "https://connector.example:8443/base", "WakePath": "0123456789abcdef"}
			maps.Copy(parameters, tt.parameters)
			d := tpl.deploy(parameters)
			got := d.grants(t, "DrainRole")
			slices.Sort(got)
			slices.Sort(tt.want)
			is.Equal(got, tt.want)
			wake := []string{"[logs:CreateLogStream logs:PutLogEvents] on WakeLog.Arn", invoke}
			for _, both := range []string{vpc, xray} {
				if slices.Contains(tt.want, both) {
					wake = append(wake, both)
				}
			}
			is.Equal(d.grants(t, "WakeRole"), wake)
			is.Equal(d.grants(t, "ScheduleRole"), []string{invoke})
		})
	}

	is := is.New(t)
	var roles []string
	for name, res := range tpl.Resources {
		switch res.Type {
		case "AWS::IAM::Role":
			roles = append(roles, name)
		case "AWS::IAM::RolePolicy": // seen above
		case "AWS::Lambda::Function":
			role := map[string]any{"Fn::GetAtt": []any{strings.TrimSuffix(name, "Function") + "Role", "Arn"}}
			is.Equal(res.Properties["Role"], role)
		case "AWS::Lambda::Permission":
			if res.Condition != "" {
				is.True(strings.HasSuffix(res.Condition, "MaySay")) // below
				break
			}
			is.Equal(name, "WakePermission") // nobody but the API may invoke anything, unless the deployment says who
			is.Equal(res.Properties["Principal"], "apigateway.amazonaws.com")
		default:
			is.True(!strings.HasPrefix(res.Type, "AWS::IAM::")) // no other way to a permission
		}
	}
	slices.Sort(roles)
	is.Equal(roles, []string{"DrainRole", "ScheduleRole", "WakeRole"}) // SAM adds none of its own
}

// Whoever may say may invoke drain, and do nothing else: each role of MaySay is in one permission of that function, and in
// nothing else of the template.
func TestTranslatedRolesThatMaySayMayDoNothingElse(t *testing.T) {
	tpl := translate(t)
	role := func(name string) string { return "arn:aws:iam::123456789012:role/ci/" + name }
	for name, given := range map[string][]string{
		"nobody": nil, "one": {role("a")}, "two": {role("a"), role("b")}, "four": {role("a"), role("b"), role("c"), role("d")},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			d := tpl.deploy(map[string]string{"RelayUrl": "https://c.example", "MaySay": strings.Join(given, ",")})
			var may []string
			for name, res := range d.Resources {
				if res.Condition != "" && !d.condition(res.Condition) {
					continue
				}
				properties, _ := d.value(res.Properties).(map[string]any)
				if res.Type == "AWS::Lambda::Permission" && name != "WakePermission" {
					is.Equal(properties["Action"], "lambda:InvokeFunction")
					is.Equal(properties["FunctionName"], "DrainFunction")
					is.Equal(len(properties), 3)
					may = append(may, properties["Principal"].(string))
					continue
				}
				raw, err := json.Marshal(properties)
				is.NoErr(err)
				is.True(!strings.Contains(string(raw), "role/ci/"))
			}
			slices.Sort(may)
			is.Equal(may, given)
		})
	}
	is := is.New(t)
	pattern := regexp.MustCompile(fmt.Sprint(tpl.Raw["Parameters"].(map[string]any)["MaySay"].(map[string]any)["AllowedPattern"]))
	is.True(pattern.MatchString(""))
	is.True(pattern.MatchString(role("a") + "," + role("b")))
	for _, wrong := range []string{"*", "123456789012", "arn:aws:iam::123456789012:user/a", "arn:aws:iam::123456789012:role/*", role("a") + ", " + role("b")} {
		is.True(!pattern.MatchString(wrong))
	}
	events := tpl.Resources["DrainEvents"].Properties
	is.Equal(events["MaximumEventAgeInSeconds"], 21600.0) // what is to be said waits while drain is busy
	is.Equal(tpl.Resources["SaySchedules"].Type, "AWS::Scheduler::ScheduleGroup")
}

// With Alarms drain may write to the queue for wakes that were given up, and to no other; nothing of it is there without.
func TestTranslatedAlarms(t *testing.T) {
	tpl := translate(t)
	is := is.New(t)
	made := func(d deployment) (kinds map[string]int) {
		kinds = map[string]int{}
		for _, r := range d.Resources {
			if r.Condition == "" || d.condition(r.Condition) {
				kinds[r.Type]++
			}
		}
		return kinds
	}
	bare := made(tpl.deploy(map[string]string{"RelayUrl": "https://c.example"}))
	is.Equal(bare["AWS::CloudWatch::Alarm"]+bare["AWS::SNS::Topic"]+bare["AWS::SQS::Queue"]+bare["AWS::CloudWatch::Dashboard"], 0)
	mail := made(tpl.deploy(map[string]string{"RelayUrl": "https://c.example", "Alarms": "ops@example.com", "Dashboard": "on"}))
	is.Equal(mail["AWS::CloudWatch::Alarm"], 10)
	is.Equal(mail["AWS::SNS::Topic"]+mail["AWS::SQS::Queue"]+mail["AWS::CloudWatch::Dashboard"], 3)
	topic := tpl.deploy(map[string]string{"RelayUrl": "https://c.example", "Alarms": "arn:aws:sns:eu-central-1:123456789012:pages"})
	is.Equal(made(topic)["AWS::SNS::Topic"], 0)
	alarm, _ := topic.value(topic.Resources["DeadAlarm"].Properties).(map[string]any)
	is.Equal(alarm["AlarmActions"], []any{"arn:aws:sns:eu-central-1:123456789012:pages"})
}

// The rules refuse a stack that could not start, before anything is made.
func TestTranslatedRulesWantAnIdentity(t *testing.T) {
	tpl := translate(t)
	const arn = "arn:aws:ssm:eu-central-1:123456789012:parameter/x"
	tests := map[string]struct {
		parameters map[string]string
		want       string // what is refused; nothing if it is empty
	}{
		"nothing":           {nil, "Nothing proves who this gateway is"},
		"none":              {map[string]string{"Identity": "none"}, ""},
		"aws":               {map[string]string{"Identity": "aws"}, ""},
		"pinned":            {map[string]string{"CredentialsArn": arn}, ""},
		"an audience alone": {map[string]string{"IdentityAudience": "aud"}, ""},
		"a token alone":     {map[string]string{"IdentityTokenArn": arn}, ""},
		"an endpoint alone": {map[string]string{"IdpTokenUrl": "https://idp.example/token"}, ""},
		"oidc of nobody":    {map[string]string{"Identity": "oidc"}, "Identity is oidc, which wants IdpTokenUrl"},
		"oidc":              {map[string]string{"Identity": "oidc", "IdpTokenUrl": "https://idp.example/token"}, ""},
		"oidc, pinned":      {map[string]string{"Identity": "oidc", "CredentialsArn": arn}, ""},
		"no token":          {map[string]string{"Identity": "secret"}, "Identity is secret, which wants IdentityTokenArn"},
		"subnets alone":     {map[string]string{"Identity": "aws", "VpcSubnetIds": "subnet-1"}, "VpcSubnetIds and VpcSecurityGroupIds belong together"},
		"groups alone":      {map[string]string{"Identity": "aws", "VpcSecurityGroupIds": "sg-1"}, "VpcSubnetIds and VpcSecurityGroupIds belong together"},
		"a whole VPC":       {map[string]string{"Identity": "aws", "VpcSubnetIds": "subnet-1", "VpcSecurityGroupIds": "sg-1"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			d := tpl.deploy(tt.parameters)
			var refused []string
			for _, rule := range d.Rules {
				if rule.RuleCondition != nil && !d.value(rule.RuleCondition).(bool) {
					continue
				}
				for _, assertion := range rule.Assertions {
					if !d.value(assertion.Assert).(bool) {
						refused = append(refused, assertion.AssertDescription)
					}
				}
			}
			is.Equal(len(refused) > 0, tt.want != "")
			is.True(strings.HasPrefix(strings.Join(refused, ""), tt.want))
		})
	}
}

// What an organisation asks for is there if it is asked for, and not otherwise; no variable is passed that was not given.
func TestTranslatedTemplatePassesOnlyWhatWasGiven(t *testing.T) {
	is := is.New(t)
	tpl := translate(t)
	required := map[string]string{"RelayUrl": "https://connector.example", "WakePath": "0123456789abcdef", "Identity": "aws"}
	property := func(d deployment, resource, name string) any {
		return d.value(d.Resources[resource].Properties).(map[string]any)[name]
	}
	variables := func(d deployment, function string) []string {
		return slices.Sorted(maps.Keys(property(d, function, "Environment").(map[string]any)["Variables"].(map[string]any)))
	}
	least := tpl.deploy(required)
	is.Equal(variables(least, "WakeFunction"), []string{"DORMOUSE_DRAIN_FUNCTION", "GOMEMLIMIT"})
	is.Equal(variables(least, "DrainFunction"), []string{
		"DORMOUSE_TABLE", "GATEWAY_RELAY_ID", "GATEWAY_RELAY_IDENTITY", "GATEWAY_RELAY_URL", "GATEWAY_RELAY_WAKE_URL", "GOMEMLIMIT",
	})
	const key, boundary = "arn:aws:kms:eu-central-1:123456789012:key/1", "arn:aws:iam::123456789012:policy/b"
	given := maps.Clone(required)
	maps.Copy(given, map[string]string{
		"VpcSubnetIds": "subnet-1,subnet-2", "VpcSecurityGroupIds": "sg-1", "KmsKeyArn": key, "PermissionsBoundary": boundary,
		"Tracing": "on", "LogRetention": "90", "Settings": `{"DORMOUSE_STOP":"/halt"}`, "BotIds": "discord=1,slack=2",
	})
	all := tpl.deploy(given)
	for _, function := range []string{"WakeFunction", "DrainFunction"} {
		is.Equal(property(least, function, "VpcConfig"), nil)
		is.Equal(property(least, function, "TracingConfig"), map[string]any{"Mode": "PassThrough"})
		is.Equal(property(all, function, "TracingConfig"), map[string]any{"Mode": "Active"})
		is.Equal(property(all, function, "VpcConfig"), map[string]any{
			"SubnetIds": []any{"subnet-1", "subnet-2"}, "SecurityGroupIds": []any{"sg-1"},
		})
		is.Equal(property(all, function, "LoggingConfig").(map[string]any)["LogFormat"], "JSON")
		is.True(slices.Contains(variables(all, function), "DORMOUSE_SETTINGS"))
	}
	is.True(slices.Contains(variables(all, "DrainFunction"), "GATEWAY_RELAY_BOT_IDS"))
	for _, role := range []string{"WakeRole", "DrainRole", "ScheduleRole"} {
		is.Equal(property(least, role, "PermissionsBoundary"), nil)
		is.Equal(property(all, role, "PermissionsBoundary"), boundary)
	}
	for _, log := range []string{"WakeLog", "DrainLog"} {
		is.Equal(property(least, log, "KmsKeyId"), nil)
		is.Equal(property(all, log, "KmsKeyId"), key)
		is.Equal(property(all, log, "RetentionInDays"), "90")
	}
	is.Equal(property(least, "LedgerTable", "SSESpecification"), nil)
	is.Equal(property(all, "LedgerTable", "SSESpecification").(map[string]any)["KMSMasterKeyId"], key)
}
