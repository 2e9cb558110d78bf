package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
)

// Each recipe of examples/say against dormouse host, which runs the built functions: what EventBridge, GitHub's workflow and an
// alarm's rule send to Lambda reaches the chat of the development connector, once, also if it is sent twice.
func TestTheRecipesReachTheChatOfTheLocalHost(t *testing.T) {
	is := is.New(t)
	noAccount(t, map[string]string{
		"GATEWAY_RELAY_ID": "gw-1", "GATEWAY_RELAY_PLATFORMS": "slack", "GATEWAY_RELAY_BOT_IDS": `{"slack":{"botId":"1"}}`,
		"GATEWAY_RELAY_IDENTITY_TOKEN": defaultIdentity, "DORMOUSE_ALLOW_ENV_SECRETS": "1", "DORMOUSE_EMPTY_AFTER": "100ms",
		"DORMOUSE_IDLE_AFTER": "100ms", "DORMOUSE_POKE_COOLDOWN": "0",
	})
	monday := mondaysInvocation(t)
	connector := start(t, append([]string{"connector", "--poke-cooldown", "0s"}, loopback[1:]...)...)
	t.Setenv("GATEWAY_RELAY_URL", connector.until(`GATEWAY_RELAY_URL=(\S+)`)[1])
	control := strings.TrimSuffix(connector.until(`(?s)curl (\S+/deliver) -d`)[1], "/deliver")
	host := start(t, "host", "--dir", t.TempDir(), "--functions", rigtest.Functions(t), "--listen", "127.0.0.1:0", "--lambda", "127.0.0.1:0")
	lambdaURL := host.until(`(?m)^  export AWS_ENDPOINT_URL_LAMBDA=(\S+)`)[1]
	t.Setenv("AWS_ENDPOINT_URL_LAMBDA", lambdaURL)
	code, _, errs := dormouse(t.Context(), "arm", "--stack", "local")
	is.Equal(errs, "")
	is.Equal(code, 0)

	said := func() (list []string) {
		res, err := http.Get(control + "/state")
		is.NoErr(err)
		defer res.Body.Close()
		var state devconnector.State
		is.NoErr(json.NewDecoder(res.Body).Decode(&state))
		for _, out := range state.Outbounds {
			if out.Op == "send" && out.Applied {
				list = append(list, out.ChatID+" "+out.Content)
			}
		}
		return list
	}
	reaches := func(text string) {
		t.Helper()
		for end := time.Now().Add(patience); !slices.Contains(said(), text); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%q has not come: %q; host: %s", text, said(), host.out)
			}
		}
	}
	// As aws lambda invoke --invocation-type Event does, and EventBridge.
	invoke := func(payload string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, lambdaURL+"/2015-03-31/functions/local-drain/invocations", strings.NewReader(payload))
		is.NoErr(err)
		req.Header.Set("X-Amz-Invocation-Type", "Event")
		res, err := http.DefaultClient.Do(req)
		is.NoErr(err)
		is.NoErr(res.Body.Close())
		is.Equal(res.StatusCode, http.StatusAccepted)
	}
	status, _ := request(t, "POST", control+"/deliver", "", `{"gateway":"gw-1","event":{"text":"hello","message_id":"1","message_type":"text",`+
		`"source":{"platform":"slack","chat_id":"C0123","chat_type":"channel","scope_id":"T0123","user_id":"U1"}}}`)
	is.Equal(status, 200)
	reaches("C0123 hello") // the chat has written, and was answered

	invoke(monday)
	reaches("C0123 The week's releases are due on Thursday.")
	invoke(alarmsInvocation(t))
	reaches("C0123 ALARM: shop-latency (since 2026-11-27T09:00:00.000+0000)")
	want := 3
	if notice := workflowsInvocation(t); notice != "" {
		invoke(notice)
		reaches(`C0123 acme/shop "main": success`)
		invoke(notice)
		want++
	}
	invoke(monday) // EventBridge fires twice
	invoke(alarmsInvocation(t))
	code, out, errs := dormouse(t.Context(), "say", "--stack", "local", "--chat", "slack:C0123", "--key", "end", "--wait", "That is all.")
	is.Equal(errs, "")
	is.Equal(code, 0)
	is.True(strings.Contains(out, "under the key end"))
	reaches("C0123 That is all.")
	is.Equal(len(said()), want+1)
	code, out, errs = dormouse(t.Context(), "dead", "list", "--stack", "local")
	is.Equal(errs, "")
	is.Equal(code, 0)
	is.True(strings.HasSuffix(out, "no message is dead\n"))

	// One without a route, through the commands that operations.md names.
	code, _, errs = dormouse(t.Context(), "say", "--stack", "local", "--chat", "slack:C9", "--key", "nowhere", "Hello?")
	is.Equal(errs, "")
	is.Equal(code, 0)
	tells := func(want string, args ...string) {
		t.Helper()
		for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			code, out, errs := dormouse(t.Context(), append(args, "--stack", "local")...)
			if code == 0 && regexp.MustCompile(want).MatchString(out) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %d, %s%s", args, code, out, errs)
			}
		}
	}
	tells(`(?m)^say:nowhere .* slack:C9 .* the chat has never written`, "dead", "list")
	tells(`"content": "Hello\?"`, "dead", "show", "say:nowhere")
	tells("put back", "dead", "retry", "say:nowhere")
	tells("armed", "arm") // the connector has not heard of that chat either
	tells(`(?m)^say:nowhere .* slack:C9 `, "dead", "list")
	tells("dropped", "dead", "drop", "say:nowhere")
	tells("no message is dead", "dead", "list")
}

// mondaysInvocation is what EventBridge Scheduler invokes drain with at one firing of the schedule that README's command makes.
func mondaysInvocation(t *testing.T) string {
	t.Helper()
	is := is.New(t)
	var input string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch body, _ := io.ReadAll(r.Body); {
		case strings.HasSuffix(r.URL.Path, "/configuration"):
			json.NewEncoder(w).Encode(map[string]any{"FunctionName": "dormouse-drain", "FunctionArn": "arn:aws:lambda:eu-central-1:123456789012:function:dormouse-drain"})
		case strings.Contains(string(body), "Action=DescribeStacks"):
			fmt.Fprint(w, `<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>dormouse</StackName>`+
				`<StackStatus>CREATE_COMPLETE</StackStatus><CreationTime>2026-01-01T00:00:00Z</CreationTime><Outputs><member>`+
				`<OutputKey>ScheduleRoleArn</OutputKey><OutputValue>arn:aws:iam::123456789012:role/speaks</OutputValue></member></Outputs>`+
				`</member></Stacks></DescribeStacksResult></DescribeStacksResponse>`)
		case strings.HasPrefix(r.URL.Path, "/schedules/"):
			var made struct{ Target struct{ Input string } }
			if err := json.Unmarshal(body, &made); err != nil {
				t.Error(err)
			}
			input = made.Target.Input
			fmt.Fprint(w, `{"ScheduleArn":"arn:aws:scheduler:eu-central-1:123456789012:schedule/dormouse/monday"}`)
		default:
			t.Error("unexpected:", r.Method, r.URL.Path, string(body))
		}
	}))
	defer srv.Close()
	before := os.Getenv("AWS_ENDPOINT_URL")
	t.Setenv("AWS_ENDPOINT_URL", srv.URL)
	readme, err := os.ReadFile("../../examples/say/README.md")
	is.NoErr(err)
	line := regexp.MustCompile(`(?s)build/dormouse (say --stack .*? --name monday) \\\n\s+"(.*?)"\n`).FindSubmatch(readme)
	args := strings.Fields(strings.Replace(string(line[1]), `"monday 09:00"`, "monday_09:00", 1))
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "_", " ")
	}
	code, _, errs := dormouse(t.Context(), append(args, string(line[2]))...)
	is.Equal(errs, "")
	is.Equal(code, 0)
	t.Setenv("AWS_ENDPOINT_URL", before)
	return strings.ReplaceAll(input, firingTime, "2026-11-30T08:00:00Z")
}

// alarmsInvocation is what the rule of alarm.yaml makes of an alarm's event.
func alarmsInvocation(t *testing.T) string {
	t.Helper()
	is := is.New(t)
	raw, err := os.ReadFile("../../examples/say/alarm.yaml")
	is.NoErr(err)
	var doc struct {
		Resources map[string]struct {
			Properties struct {
				Targets []struct {
					InputTransformer struct {
						InputPathsMap map[string]string `yaml:"InputPathsMap"`
						InputTemplate string            `yaml:"InputTemplate"`
					} `yaml:"InputTransformer"`
				} `yaml:"Targets"`
			} `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	is.NoErr(yaml.Unmarshal(regexp.MustCompile(`!(Sub|Ref|GetAtt) `).ReplaceAll(raw, nil), &doc))
	made := doc.Resources["Changed"].Properties.Targets[0].InputTransformer
	input := strings.NewReplacer("${Platform}", "slack", "${ChatId}", "C0123").Replace(made.InputTemplate)
	event := map[string]string{"$.id": "6a7e8feb", "$.detail.alarmName": "shop-latency", "$.detail.state.value": "ALARM",
		"$.detail.state.timestamp": "2026-11-27T09:00:00.000+0000"}
	for name, path := range made.InputPathsMap {
		is.True(event[path] != "")
		input = strings.ReplaceAll(input, "<"+name+">", event[path])
	}
	return input
}

// workflowsInvocation is what the last step of github-workflow.yml invokes drain with: the step is run, with aws in its place.
func workflowsInvocation(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("jq"); err != nil {
		t.Log("jq is not installed: GitHub's runners have it")
		return ""
	}
	is := is.New(t)
	raw, err := os.ReadFile("../../examples/say/github-workflow.yml")
	is.NoErr(err)
	var doc struct {
		Jobs map[string]struct {
			Steps []struct {
				Run string `yaml:"run"`
			} `yaml:"steps"`
		} `yaml:"jobs"`
	}
	is.NoErr(yaml.Unmarshal(raw, &doc))
	steps := doc.Jobs["say"].Steps
	dir := t.TempDir()
	aws := "#!/bin/sh\n" + `[ "$1 $2" = "lambda invoke" ] || exit 9
while [ $# -gt 0 ]; do
	case $1 in
	--payload) cp "${2#file://}" invoked.json ;;
	--invocation-type) [ "$2" = Event ] || exit 8 ;;
	esac
	shift
done
`
	rigtest.Script(t, filepath.Join(dir, "aws"), aws)
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", steps[len(steps)-1].Run)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "KEY=acme/shop-17-1", `TEXT=acme/shop "main": success`)
	out, err := cmd.CombinedOutput()
	t.Log(string(out))
	is.NoErr(err)
	invoked, err := os.ReadFile(filepath.Join(dir, "invoked.json"))
	is.NoErr(err)
	return string(invoked)
}
