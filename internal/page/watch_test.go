package page_test

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/page/pagetest"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// cloud is moto with a stack in it: a table, and the log of a gateway that was woken, answered and slept again, as it was
// recorded (testdata/stack.jsonl). Its function answers here, as moto has none.
type cloud struct {
	url, stack string
	book       *dynamo.Ledger
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	moto := os.Getenv("DORMOUSE_TEST_MOTO")
	if moto == "" {
		t.Skip("DORMOUSE_TEST_MOTO is not set: make test sets it where there is Python")
	}
	to, err := url.Parse(moto)
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{stack: "watched-" + rand.Text()[:8]}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch function := "/functions/" + c.stack + "-drain/"; {
		case strings.Contains(r.URL.Path, function+"configuration"):
			json.NewEncoder(w).Encode(map[string]any{
				"FunctionName": c.stack + "-drain", "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:x", "MemorySize": 256,
				"Environment": map[string]any{"Variables": map[string]string{"DORMOUSE_TABLE": c.stack, "GATEWAY_RELAY_ID": "gw-1"}},
			})
		case strings.Contains(r.URL.Path, function):
			w.WriteHeader(http.StatusAccepted)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	c.url = front.URL
	config := aws.Config{
		Region: "us-east-1", BaseEndpoint: &c.url, Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	c.record(t, cloudwatchlogs.NewFromConfig(config))
	client := dynamo.NewClient(config)
	if _, err := client.CreateTable(t.Context(), dynamo.Definition(c.stack)); err != nil {
		t.Fatal(err)
	}
	c.book = dynamo.New(client, c.stack, "gw-1")
	return c
}

// record writes the log that was recorded into moto, as if it had been an hour ago.
func (c *cloud) record(t *testing.T, client *cloudwatchlogs.Client) {
	t.Helper()
	raw, err := os.ReadFile("testdata/stack.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	stamp := regexp.MustCompile(`"(timestamp|time)":"([^"]+)"`)
	begin, hourAgo := time.Time{}, time.Now().Add(-time.Hour)
	events := map[string][]types.InputLogEvent{}
	for line := range strings.Lines(string(raw)) {
		function, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp.FindStringSubmatch(text)[2])
		if err != nil {
			t.Fatal(err)
		}
		if begin.IsZero() {
			begin = at
		}
		at = hourAgo.Add(at.Sub(begin))
		text = stamp.ReplaceAllString(text, `"$1":"`+at.UTC().Format(time.RFC3339Nano)+`"`)
		events[function] = append(events[function], types.InputLogEvent{Message: &text, Timestamp: aws.Int64(at.UnixMilli())})
	}
	for function, list := range events {
		slices.SortStableFunc(list, func(a, b types.InputLogEvent) int { return cmp.Compare(*a.Timestamp, *b.Timestamp) }) // as CloudWatch wants it
		group, stream := aws.String("/aws/lambda/"+c.stack+"-"+function), aws.String("s")
		_, err := client.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group})
		if err == nil {
			_, err = client.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream})
		}
		if err == nil {
			_, err = client.PutLogEvents(t.Context(), &cloudwatchlogs.PutLogEventsInput{LogGroupName: group, LogStreamName: stream, LogEvents: list})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// bury puts a dead message into the table.
func (c *cloud) bury(t *testing.T, key, text string) {
	t.Helper()
	body, err := json.Marshal(relay.Delivery{Event: &relay.Event{Text: text, MessageType: "text", MessageID: "m-" + key, Source: relay.Source{
		Platform: "telegram", ChatID: "551823190", ChatType: "dm", UserID: "551823190", UserName: "Ada",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	lease, err := c.book.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "o", Life: time.Minute})
	if err == nil {
		_, err = lease.Receive(t.Context(), ledger.Entry{Key: key, State: ledger.New, Body: body})
	}
	if err == nil {
		err = lease.Fail(t.Context(), key, "agent: 500", true)
	}
	if err == nil {
		_, err = lease.HandOff(t.Context(), lease.Grant().Plan, true)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// command runs dormouse until the test ends, and returns the page's address.
func (c *cloud) command(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(rigtest.Build(t, "cmd/dormouse"), append(args, "--listen", "127.0.0.1:0")...)
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+c.url, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/none", "AWS_SHARED_CREDENTIALS_FILE=/none")
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = os.Stderr
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if address := strings.TrimSpace(lines.Text()); strings.HasPrefix(address, "http://127.0.0.1:") {
			return address
		}
	}
	t.Fatal("the command named no page")
	return ""
}

func TestADeployedGatewayInABrowser(t *testing.T) {
	c := newCloud(t)
	c.bury(t, "k-dead", "It never came back")
	b := pagetest.Start(t)
	b.Open(c.command(t, "watch", "--stack", c.stack))
	b.Until(`document.documentElement.dataset.word === "asleep"`)
	b.View("life")
	b.Says(".drain-list", "drained")
	b.Says(".timeline", "takes the lease")
	b.Says(".timeline", "descriptor: the link is up")
	b.Says(".timeline", "warm start") // as Lambda's report has no init
	b.Says(".facts", "$0.0000")
	b.Shoot("watch-life")
	b.View("messages")
	b.Says(".way-list", "answered")
	b.View("books")
	b.Says("section[aria-labelledby=b-dead]", "It never came back")
	b.Says("section[aria-labelledby=b-dead]", "agent: 500")
	b.Until(`!document.querySelector("section[aria-labelledby=b-dead] button[aria-label^=Retry]")`) // it only shows
	b.Shoot("watch-books")
	kept := pagetest.Eval[string](b, `fetch("/api/case/k-dead").then((r) => r.text())`)
	if !strings.Contains(kept, "It never came back") || !strings.Contains(kept, `"frames"`) {
		t.Errorf("the case file is %s", kept)
	}
	b.Open(c.command(t, "watch", "--stack", c.stack, "--act"))
	b.View("books")
	b.Click("section[aria-labelledby=b-dead] [aria-label='Retry It never came back']")
	b.Says("section[aria-labelledby=b-dead]", "Nothing is dead")
	if list := b.Complaints(); len(list) > 0 {
		t.Errorf("the browser complains: %q", list)
	}
}
