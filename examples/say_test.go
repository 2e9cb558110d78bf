package examples_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/say"
)

func recipe(t *testing.T, name string) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("say", name))
	is := is.New(t)
	is.NoErr(err)
	var doc map[string]any
	// CloudFormation's short forms are tags; !Sub alone matters here, and its text is what it is given.
	is.NoErr(yaml.Unmarshal([]byte(regexp.MustCompile(`!(Sub|Ref|GetAtt) `).ReplaceAllString(string(raw), "")), &doc))
	return doc
}

func at(doc any, path ...string) any {
	for _, name := range path {
		doc = doc.(map[string]any)[name]
	}
	return doc
}

// What the workflow's step makes of a run is a say; each run and attempt is another one. It is run as GitHub would run it.
func TestTheWorkflowsNoticeIsASay(t *testing.T) {
	if _, err := exec.LookPath("jq"); err != nil {
		t.Skip("jq is not installed: GitHub's runners have it")
	}
	is := is.New(t)
	steps := at(recipe(t, "github-workflow.yml"), "jobs", "say", "steps").([]any)
	script := at(steps[len(steps)-1], "run").(string)
	making, invoking, ok := strings.Cut(script, "aws lambda invoke")
	is.True(ok)
	is.True(strings.Contains(invoking, "--function-name dormouse-drain --invocation-type Event"))
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", making)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "KEY=acme/shop-17-1", `TEXT=acme/shop "main": success`)
	out, err := cmd.CombinedOutput()
	t.Log(string(out))
	is.NoErr(err)
	raw, err := os.ReadFile(filepath.Join(dir, "say.json"))
	is.NoErr(err)
	said, err := say.Parse(raw)
	is.NoErr(err)
	is.Equal(said.Key, "acme/shop-17-1")
	is.Equal(said.Actions[0]["content"], `acme/shop "main": success`)
	is.True(said.Chat.HasRoute()) // a chat of which the gateway may have heard nothing
	key := at(steps[len(steps)-1], "env", "KEY").(string)
	is.True(strings.Contains(key, "github.run_id") && strings.Contains(key, "github.run_attempt"))
}

// What EventBridge makes of an alarm's event is a say, under the event's id; the rule, and nothing else, may invoke drain.
func TestTheAlarmsNoticeIsASay(t *testing.T) {
	is := is.New(t)
	doc := recipe(t, "alarm.yaml")
	target := at(doc, "Resources", "Changed", "Properties", "Targets").([]any)[0]
	transformer := at(target, "InputTransformer").(map[string]any)
	event := map[string]any{
		"id":     "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
		"detail": map[string]any{"alarmName": "shop-latency", "state": map[string]any{"value": "ALARM", "timestamp": "2026-11-27T09:00:00.000+0000"}},
	}
	input := strings.NewReplacer("${Platform}", "slack", "${ChatId}", "C0123").Replace(transformer["InputTemplate"].(string))
	for name, path := range transformer["InputPathsMap"].(map[string]any) {
		value := at(event, strings.Split(strings.TrimPrefix(path.(string), "$."), ".")...)
		input = strings.ReplaceAll(input, "<"+name+">", value.(string))
	}
	is.True(json.Valid([]byte(input)))
	said, err := say.Parse([]byte(input))
	is.NoErr(err)
	is.Equal(said.Key, "alarm-6a7e8feb-b491-4cf7-a9f1-bf3703467718")
	is.Equal(said.Actions[0]["content"], "ALARM: shop-latency (since 2026-11-27T09:00:00.000+0000)")
	may := at(doc, "Resources", "MayInvoke", "Properties").(map[string]any)
	is.Equal(may["Action"], "lambda:InvokeFunction")
	is.Equal(may["Principal"], "events.amazonaws.com")
	is.Equal(may["SourceArn"], "Changed.Arn")
	is.Equal(may["FunctionName"], "${Gateway}-drain")
}
