package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
)

// account is an AWS account of moto's, and the variables with which a command reaches it.
type account struct {
	cloud  aws.Config
	stacks *cloudformation.Client
	tables *dynamodb.Client
	env    []string
}

func newAccount(t *testing.T) account {
	t.Helper()
	endpoint := os.Getenv("DORMOUSE_TEST_MOTO")
	if endpoint == "" {
		t.Skip("DORMOUSE_TEST_MOTO is not set: make test starts a server for this test")
	}
	cloud := aws.Config{
		Region: "eu-central-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
	}
	return account{cloud, cloudformation.NewFromConfig(cloud), dynamodb.NewFromConfig(cloud), []string{
		"AWS_ENDPOINT_URL=" + endpoint, "AWS_REGION=eu-central-1", "AWS_MAX_ATTEMPTS=2",
	}}
}

// table makes the table that a stack leaves, protected as older stacks made theirs, with work of one instance in it.
func (a account) table(t *testing.T, stack string, instances ...string) {
	t.Helper()
	is := is.New(t)
	definition := dynamo.Definition(tableOf(stack))
	definition.DeletionProtectionEnabled = aws.Bool(true)
	_, err := a.tables.CreateTable(t.Context(), definition)
	is.NoErr(err)
	for _, instance := range instances {
		for _, sk := range []string{"lease", "m#1"} {
			_, err = a.tables.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: definition.TableName, Item: map[string]dbtypes.AttributeValue{
				"pk": &dbtypes.AttributeValueMemberS{Value: instance}, "sk": &dbtypes.AttributeValueMemberS{Value: sk},
			}})
			is.NoErr(err)
		}
	}
}

func (a account) hasTable(t *testing.T, stack string) bool {
	t.Helper()
	there, err := tableExists(t.Context(), a.tables, tableOf(stack))
	is.New(t).NoErr(err)
	return there
}

func TestInitFindsATableThatIsLeft(t *testing.T) {
	a := newAccount(t)
	is := is.New(t)
	d := newPrepared(t)
	d.env = append(d.env, a.env...)
	a.table(t, "left", "gw-left-0a1b2c3d")
	args := []string{"--stack", "left", "--connector", d.connector, "--bot", "discord=1", "--agent", "echo", "--identity", "none", "--alarms", "none"}

	code, out := d.run(t, append(args, "--yes")...)
	t.Log(out)
	is.Equal(code, 0) // only warns
	is.True(strings.Contains(out, "warning: an earlier stack left the table left-ledger: the deployment will fail until"))
	is.True(a.hasTable(t, "left"))
	code, out = d.run(t, append(args, "--left-over", "burn")...)
	is.Equal(code, 2)
	is.True(strings.Contains(out, `--left-over is "burn": want import or delete`))
	is.True(a.hasTable(t, "left"))

	code, screen := d.typed(t, [][2]string{{"An earlier stack left the table left-ledger", "delete"}}, args...)
	t.Log(screen)
	is.Equal(code, 0)
	is.True(strings.Contains(screen, "the table left-ledger is deleted")) // although it was protected
	is.True(!a.hasTable(t, "left"))

	code, out = d.run(t, append(args, "--yes")...)
	is.Equal(code, 0)
	is.True(!strings.Contains(out, "warning"))
}

// A stack that is there updates its own table.
func TestInitLeavesTheTableOfAStackThatIsThere(t *testing.T) {
	a := newAccount(t)
	is := is.New(t)
	d := newPrepared(t)
	d.env = append(d.env, a.env...)
	template, err := tableAlone(tableOf("there"))
	is.NoErr(err)
	_, err = a.stacks.CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: aws.String("there"), TemplateBody: &template})
	is.NoErr(err)
	is.True(a.hasTable(t, "there"))
	code, out := d.run(t, "--stack", "there", "--connector", d.connector, "--identity", "none", "--yes", "--left-over", "delete")
	t.Log(out)
	is.Equal(code, 0)
	is.True(a.hasTable(t, "there"))

	remove := func(in string, args ...string) (int, string) {
		var out, errs buffer
		for _, pair := range append(a.env, "AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any") {
			name, value, _ := strings.Cut(pair, "=")
			t.Setenv(name, value)
		}
		code := run(t.Context(), append([]string{"dormouse", "remove"}, args...), strings.NewReader(in), &out, &errs)
		return code, out.String() + errs.String()
	}
	code, out = remove("no\n", "--stack", "there")
	is.Equal(code, 2)
	is.True(strings.Contains(out, "This deletes the stack there in eu-central-1. Type the stack's name to go on"))
	is.True(strings.Contains(out, "nothing was deleted"))
	exists, err := stackExists(t.Context(), a.stacks, "there")
	is.NoErr(err)
	is.True(exists)

	code, out = remove("there\n", "--stack", "there")
	t.Log(out)
	is.Equal(code, 0)
	is.True(strings.Contains(out, "The stack there is deleted."))
	is.True(strings.Contains(out, "What stays:"))
	is.True(strings.Contains(out, "the connector's record of this gateway"))
	if !a.hasTable(t, "there") { // moto knows no deletion policy
		a.table(t, "there")
	}
	code, out = remove("", "--stack", "there")
	is.Equal(code, 1)
	is.True(strings.Contains(out, "its table there-ledger is still there: --table deletes it"))
	code, out = remove("", "--stack", "there", "--table", "--yes")
	t.Log(out)
	is.Equal(code, 0)
	is.True(strings.Contains(out, "The table there-ledger is deleted, with all that waited in it."))
	is.True(!strings.Contains(out, "- the table"))
	is.True(!a.hasTable(t, "there"))
	code, out = remove("", "--stack", "there", "--yes")
	is.Equal(code, 1)
	is.True(strings.Contains(out, "there is no stack there in eu-central-1: check the name"))
	code, out = remove("")
	is.Equal(code, 2)
	is.True(strings.Contains(out, "which gateway: give --stack"))
}

func TestWhoseWorkIsInATable(t *testing.T) {
	a := newAccount(t)
	is := is.New(t)
	a.table(t, "several", "gw-b", "gw-a")
	got, err := instancesIn(t.Context(), a.tables, tableOf("several"))
	is.NoErr(err)
	is.Equal(got, []string{"gw-a", "gw-b"})
	is.NoErr(dropTable(t.Context(), a.tables, tableOf("several")))
}

// The table alone is the one of template.yaml, and stays when the stack goes.
func TestTheTableThatIsImportedIsTheTemplates(t *testing.T) {
	is := is.New(t)
	raw, err := tableAlone("bot-ledger")
	is.NoErr(err)
	var template struct {
		Resources map[string]struct {
			Type, DeletionPolicy string
			Properties           map[string]any
		}
	}
	is.NoErr(json.Unmarshal([]byte(raw), &template))
	table := template.Resources["LedgerTable"] // by the name that template.yaml has
	is.Equal(table.Type, "AWS::DynamoDB::Table")
	is.Equal(table.DeletionPolicy, "RetainExceptOnCreate")
	is.Equal(table.Properties["TableName"], "bot-ledger")
	var names []string
	for name := range table.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	is.Equal(names, []string{
		"AttributeDefinitions", "BillingMode", "KeySchema", "LocalSecondaryIndexes", "TableName", "TimeToLiveSpecification",
	})
}

// importer stands in for CloudFormation, as moto imports nothing. It knows one stack.
type importer struct {
	mu       sync.Mutex
	status   string // of the stack; empty: there is none
	template string
	fail     bool
}

func (c *importer) failing(fail bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = fail
}

func (c *importer) state() (status, template string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status, c.template
}

func (c *importer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.ParseForm()
	const ns = ` xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"`
	action := r.Form.Get("Action")
	result := func(body string) {
		fmt.Fprintf(w, "<%[1]sResponse%[2]s><%[1]sResult>%[3]s</%[1]sResult></%[1]sResponse>", action, ns, body)
	}
	refuse := func(message string) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "<ErrorResponse%s><Error><Type>Sender</Type><Code>ValidationError</Code><Message>%s</Message></Error></ErrorResponse>", ns, message)
	}
	switch {
	case action == "DescribeStacks" && c.status == "":
		refuse("Stack with id " + r.Form.Get("StackName") + " does not exist")
	case action == "DescribeStacks":
		result("<Stacks><member><StackName>x</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>" + c.status +
			"</StackStatus></member></Stacks>")
	case action == "CreateChangeSet" && c.fail:
		refuse("Resources [LedgerTable] are managed by another stack")
	case action == "CreateChangeSet" && r.Form.Get("ChangeSetType") == "IMPORT" &&
		r.Form.Get("ResourcesToImport.member.1.LogicalResourceId") == "LedgerTable" &&
		r.Form.Get("ResourcesToImport.member.1.ResourceIdentifier.entry.1.value") == r.Form.Get("StackName")+"-ledger":
		c.status, c.template = "REVIEW_IN_PROGRESS", r.Form.Get("TemplateBody")
		result("<Id>arn:aws:cloudformation:eu-central-1:1:changeSet/x</Id>")
	case action == "DescribeChangeSet":
		result("<Status>CREATE_COMPLETE</Status>")
	case action == "ExecuteChangeSet":
		c.status = "IMPORT_COMPLETE"
		result("")
	default:
		refuse("not understood: " + action)
	}
}

func TestInitTakesOverATable(t *testing.T) {
	a := newAccount(t)
	is := is.New(t)
	d := newPrepared(t)
	cf := &importer{}
	server := httptest.NewServer(cf)
	t.Cleanup(server.Close)
	d.env = append(append(d.env, a.env...), "AWS_ENDPOINT_URL_CLOUDFORMATION="+server.URL)
	a.table(t, "over", "gw-over-0a1b2c3d")
	args := []string{
		"--stack", "over", "--connector", d.connector, "--bot", "discord=1", "--agent", "echo", "--identity", "none", "--alarms", "none",
		"--left-over", "import",
	}
	cf.failing(true)
	code, out := d.run(t, args...)
	t.Log(out)
	is.Equal(code, 1)
	is.True(strings.Contains(out, "importing the table over-ledger: ") && strings.Contains(out, "managed by another stack"))

	cf.failing(false)
	code, out = d.run(t, args...)
	t.Log(out)
	is.Equal(code, 0)
	want, err := tableAlone("over-ledger")
	is.NoErr(err)
	status, template := cf.state()
	is.Equal(template, want)
	is.Equal(status, "IMPORT_COMPLETE")
	is.Equal(d.written(t)["RelayId"], "gw-over-0a1b2c3d") // what waits is taken up under the old id
	is.True(a.hasTable(t, "over"))
	code, out = d.run(t, args...)
	is.Equal(code, 0)
	is.True(!strings.Contains(out, "import")) // the stack is there now
	is.NoErr(dropTable(t.Context(), a.tables, tableOf("over")))
}

func TestWhatIsRemovedIsToldToPrograms(t *testing.T) {
	a := newAccount(t)
	is := is.New(t)
	noAccount(t, map[string]string{"AWS_ENDPOINT_URL": os.Getenv("DORMOUSE_TEST_MOTO")})
	template, err := tableAlone(tableOf("told"))
	is.NoErr(err)
	_, err = a.stacks.CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: aws.String("told"), TemplateBody: &template})
	is.NoErr(err)

	code, out, errs := dormouse(t.Context(), "remove", "--stack", "told", "--table", "--json")
	is.Equal(code, 2)
	is.Equal(out, "")
	is.True(strings.Contains(errs, "--json asks nothing: give --yes as well"))
	is.True(a.hasTable(t, "told"))

	code, out, errs = dormouse(t.Context(), "remove", "--stack", "told", "--json", "--yes")
	is.Equal(errs, "")
	is.Equal(code, 0)
	var done removed
	is.NoErr(json.Unmarshal([]byte(out), &done))
	is.True(done.Stack && !done.Table)
	is.Equal(done.TableStays != "", a.hasTable(t, "told"))

	code, out, _ = dormouse(t.Context(), "remove", "--stack", "told", "--json", "--yes")
	is.Equal(code, 1)
	done = removed{}
	is.NoErr(json.Unmarshal([]byte(out), &done))
	is.Equal(done, removed{}) // nothing was
}
