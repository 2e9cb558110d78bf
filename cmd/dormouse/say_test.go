package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/say"
)

// speaking stands in for Lambda, and returns what drain is invoked with.
func speaking(t *testing.T, answer string) (invocations func() []string) {
	t.Helper()
	var mu sync.Mutex
	var list []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/functions/gw-drain/configuration"):
			json.NewEncoder(w).Encode(map[string]any{"FunctionName": "gw-drain"})
		case strings.HasSuffix(r.URL.Path, "/functions/gw-drain/invocations"):
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			list = append(list, r.Header.Get("X-Amz-Invocation-Type")+" "+string(body))
			mu.Unlock()
			if r.Header.Get("X-Amz-Invocation-Type") == "Event" {
				w.WriteHeader(http.StatusAccepted)
				return
			}
			io.WriteString(w, answer)
		default:
			t.Error("unexpected:", r.Method, r.URL.Path)
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(srv.Close)
	noAccount(t, map[string]string{"AWS_ENDPOINT_URL": srv.URL})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}

func TestSayInvokesDrain(t *testing.T) {
	answer := filepath.Join(t.TempDir(), "answer.json")
	if err := os.WriteFile(answer, []byte(`{"actions":[{"op":"send","content":"one"},{"op":"send","content":"two"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args []string
		want string // what drain is invoked with
	}{
		"a text": {[]string{"--chat", "telegram:-1001", "--key", "k", "Hello", "there"},
			`Event {"chat":{"chat_id":"-1001","platform":"telegram"},"key":"k","reason":"say","text":"Hello there"}`},
		"a place": {[]string{"--chat", "discord:1:2", "--key", "k", "--thread", "t", "--type", "group", "--scope", "g", "--user", "u", "Hello"},
			`Event {"chat":{"chat_id":"1:2","chat_type":"group","platform":"discord","scope_id":"g","thread_id":"t","user_id":"u"},"key":"k","reason":"say","text":"Hello"}`},
		"a question": {[]string{"--chat", "slack:C1", "--key", "k", "--ask", "What is due?"},
			`Event {"ask":{"text":"What is due?"},"chat":{"chat_id":"C1","platform":"slack"},"key":"k","reason":"say"}`},
		"an answer's file": {[]string{"--chat", "slack:C1", "--key", "k", "--file", answer},
			`Event {"actions":[{"content":"one","op":"send"},{"content":"two","op":"send"}],"chat":{"chat_id":"C1","platform":"slack"},"key":"k","reason":"say"}`},
		"standard input": {[]string{"--chat", "slack:C1", "--key", "k", "--file", "-"},
			`Event {"chat":{"chat_id":"C1","platform":"slack"},"key":"k","reason":"say","text":"from a pipe"}`},
		"a late answer": {[]string{"--reply-to", "d1", "Done."}, `Event {"reason":"say","reply_to_delivery":"d1","text":"Done."}`},
		"a part of one": {[]string{"--reply-to", "d1", "--part", "2", "Half."},
			`Event {"last":false,"n":2,"reason":"say","reply_to_delivery":"d1","text":"Half."}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			invoked := speaking(t, "")
			var out, errs buffer
			code := run(t.Context(), append([]string{"dormouse", "say", "--stack", "gw"}, tt.args...), strings.NewReader("from a pipe\n"), &out, &errs)
			is.Equal(errs.String(), "")
			is.Equal(code, 0)
			is.Equal(invoked(), []string{tt.want})
			is.True(strings.HasPrefix(out.String(), "accepted under the key "))
		})
	}
}

func TestEachSayHasAKeyOfItsOwn(t *testing.T) {
	is := is.New(t)
	invoked := speaking(t, "")
	for range 2 {
		code, _, errs := dormouse(t.Context(), "say", "--stack", "gw", "--chat", "slack:C1", "Hello")
		is.Equal(errs, "")
		is.Equal(code, 0)
	}
	is.Equal(len(invoked()), 2)
	is.True(invoked()[0] != invoked()[1])
}

func TestWaitingForASaySaysWhatBecameOfIt(t *testing.T) {
	tests := map[string]struct {
		answer, out, errs string
		code              int
	}{
		"said":     {`{"status":"drained","said":1}`, "said under the key k (drained)", "", 0},
		"accepted": {`{"status":"accepted"}`, "accepted under the key k", "", 0},
		"dead":     {`{"status":"drained","said":1,"dead":1}`, "drained under", "1 were given up in this run: dormouse dead list --stack gw", 3},
		"off":      {`{"status":"disabled"}`, "disabled under", "the gateway is off", 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			speaking(t, tt.answer)
			code, out, errs := dormouse(t.Context(), "say", "--stack", "gw", "--chat", "slack:C1", "--key", "k", "--wait", "Hello")
			is.Equal(code, tt.code)
			is.True(strings.HasPrefix(out, tt.out))
			is.True(strings.Contains(errs, tt.errs))
		})
	}
}

func TestWhatIsWrongWithASaysCommandLine(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"no stack":            {[]string{"--chat", "slack:C1", "t"}, "give --stack"},
		"no chat":             {[]string{"--stack", "gw", "t"}, "--chat: want PLATFORM:ID"},
		"no id":               {[]string{"--stack", "gw", "--chat", "slack", "t"}, "--chat: want PLATFORM:ID"},
		"no such platform":    {[]string{"--stack", "gw", "--chat", "myspace:1", "t"}, `chat.platform: "myspace" is no platform`},
		"nothing":             {[]string{"--stack", "gw", "--chat", "slack:C1"}, "text: is blank"},
		"two texts":           {[]string{"--stack", "gw", "--chat", "slack:C1", "--file", "x", "t"}, "give one of them"},
		"no such file":        {[]string{"--stack", "gw", "--chat", "slack:C1", "--file", "/no/such/file"}, "--file: open /no/such/file"},
		"two times":           {[]string{"--stack", "gw", "--chat", "slack:C1", "--at", "2099-01-01T00:00", "--every", "2h", "t"}, "give one of them"},
		"a time that is over": {[]string{"--stack", "gw", "--chat", "slack:C1", "--at", "2020-01-01T00:00", "t"}, "is over"},
		"no time":             {[]string{"--stack", "gw", "--chat", "slack:C1", "--at", "soon", "t"}, `--at: "soon" is no time`},
		"no such day":         {[]string{"--stack", "gw", "--chat", "slack:C1", "--every", "mondays 09:00", "t"}, "--every:"},
		"no time of day":      {[]string{"--stack", "gw", "--chat", "slack:C1", "--every", "monday 29:00", "t"}, "no time of day"},
		"seconds":             {[]string{"--stack", "gw", "--chat", "slack:C1", "--every", "90s", "t"}, "whole minutes"},
		"no such zone":        {[]string{"--stack", "gw", "--chat", "slack:C1", "--every", "2h", "--timezone", "Mars/Base", "t"}, "--timezone:"},
		"a key of a schedule": {[]string{"--stack", "gw", "--chat", "slack:C1", "--every", "2h", "--key", "k", "t"}, "--key:"},
		"a zone of now":       {[]string{"--stack", "gw", "--chat", "slack:C1", "--timezone", "UTC", "t"}, "are for --at and --every"},
		"a late one's chat":   {[]string{"--stack", "gw", "--chat", "slack:C1", "--reply-to", "d", "t"}, "leave out --chat"},
		"a late schedule":     {[]string{"--stack", "gw", "--reply-to", "d", "--every", "2h", "t"}, "is said now"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			speaking(t, "")
			code, _, errs := dormouse(t.Context(), append([]string{"say"}, tt.args...)...)
			is.Equal(code, exitMisuse)
			if !strings.Contains(errs, tt.want) {
				t.Errorf("got %q, want %q in it", errs, tt.want)
			}
		})
	}
}

func TestTimesOfSchedules(t *testing.T) {
	for text, want := range map[string]string{
		"2h": "rate(120 minutes)", "1m": "rate(1 minute)", "1d": "rate(1 day)", "7d": "rate(7 days)",
		"monday 09:00": "cron(0 9 ? * MON *)", "Weekday 8:30": "cron(30 8 ? * MON-FRI *)", "day 23:05": "cron(5 23 ? * * *)",
		"cron(0 9 1 * ? *)": "cron(0 9 1 * ? *)", "rate(5 minutes)": "rate(5 minutes)",
	} {
		got, err := again(text)
		if err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", text, got, err, want)
		}
	}
	is := is.New(t)
	berlin, err := time.LoadLocation("Europe/Berlin")
	is.NoErr(err)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2026-12-24T18:00": "at(2026-12-24T18:00:00)", "2026-12-24 18:00": "at(2026-12-24T18:00:00)", "2026-12-24T18:00:00Z": "at(2026-12-24T19:00:00)",
	} {
		got, err := atOnce(text, berlin, now)
		is.NoErr(err)
		is.Equal(got, want)
	}
}

func TestWhatIsNoTimeThatComesAgain(t *testing.T) {
	for _, text := range []string{
		"0h", "-2h", "30s", "0d", "rate(0 minutes)", "rate(1 minutes)", "rate(2 minute)", "rate(5 weeks)", "cron()", "cron(0 9 * * *)",
		"cron(0 9 ? * MON *", "monday 25:00", "sunday 24:00", "every monday",
	} {
		if got, err := again(text); err == nil || !strings.Contains(err.Error(), "--every: ") {
			t.Errorf("%s is %q, %v; want an error that names --every", text, got, err)
		}
	}
	is := is.New(t)
	got, err := atOnce("2026-03-01T00:30+02:00", time.UTC, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	is.NoErr(err)
	is.Equal(got, "at(2026-02-28T22:30:00)")
}

func TestTheHostHasNoSchedules(t *testing.T) {
	is := is.New(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"FunctionName": "gw-drain", "FunctionArn": "arn:aws:lambda:local:000000000000:function:gw-drain"})
	}))
	t.Cleanup(srv.Close)
	noAccount(t, map[string]string{"AWS_ENDPOINT_URL": srv.URL})
	for _, args := range [][]string{
		{"say", "--stack", "gw", "--chat", "slack:C1", "--every", "2h", "Hello"}, {"say", "list", "--stack", "gw"}, {"say", "remove", "x", "--stack", "gw"},
	} {
		code, _, errs := dormouse(t.Context(), args...)
		is.Equal(code, 1)
		is.True(strings.Contains(errs, "dormouse host has no EventBridge"))
	}
}

// Schedules are made, listed and removed in a stack's group, with what the template's outputs say; moto stands in for AWS.
func TestTranslatedSchedulesOfSays(t *testing.T) {
	endpoint := os.Getenv("DORMOUSE_TEST_MOTO")
	if endpoint == "" {
		t.Skip("DORMOUSE_TEST_MOTO is not set: make lint-template starts a server for this test")
	}
	is := is.New(t)
	cloud := aws.Config{Region: "eu-central-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("any", "any", "")}
	putProgram(t, endpoint)
	template := `{"Resources":{
		"Role":{"Type":"AWS::IAM::Role","Properties":{"AssumeRolePolicyDocument":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}}},
		"Drain":{"Type":"AWS::Lambda::Function","Properties":{"FunctionName":"speaker-drain","Runtime":"provided.al2023","Handler":"bootstrap",
			"Role":{"Fn::GetAtt":["Role","Arn"]},"Code":{"S3Bucket":"code-of-speaker","S3Key":"key"}}}},
		"Outputs":{"ScheduleRoleArn":{"Value":{"Fn::GetAtt":["Role","Arn"]}}}}`
	stacks := cloudformation.NewFromConfig(cloud)
	_, err := stacks.CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: aws.String("speaker"), TemplateBody: &template})
	is.NoErr(err)
	schedules := scheduler.NewFromConfig(cloud)
	noAccount(t, map[string]string{"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"})
	every := []string{"say", "--stack", "speaker", "--chat", "slack:C1", "--every", "monday 09:00", "--timezone", "Europe/Berlin", "--name", "monday", "--ask", "What is due?"}
	_, err = schedules.CreateScheduleGroup(t.Context(), &scheduler.CreateScheduleGroupInput{Name: aws.String("speaker")}) // as the template does
	is.NoErr(err)
	code, out, errs := dormouse(t.Context(), every...)
	is.Equal(errs, "")
	is.Equal(code, 0)
	is.Equal(out, "schedule monday: cron(0 9 ? * MON *) Europe/Berlin\n")
	code, _, errs = dormouse(t.Context(), every...)
	is.Equal(code, 1)
	is.True(strings.Contains(errs, "there is a schedule monday already"))
	code, _, errs = dormouse(t.Context(), "say", "--stack", "speaker", "--chat", "telegram:7", "--at", "2099-12-24T18:00", "Merry Christmas")
	is.Equal(errs, "")
	is.Equal(code, 0)
	made, err := schedules.GetSchedule(t.Context(), &scheduler.GetScheduleInput{Name: aws.String("monday"), GroupName: aws.String("speaker")})
	is.NoErr(err)
	is.True(strings.HasSuffix(*made.Target.Arn, ":function:speaker-drain"))
	is.True(strings.Contains(*made.Target.Input, `"key":"monday@<aws.scheduler.scheduled-time>"`)) // not escaped: EventBridge looks for it
	firing := strings.Replace(*made.Target.Input, "<aws.scheduler.scheduled-time>", "2026-11-30T08:00:00Z", 1)
	said, err := say.Parse([]byte(firing))
	is.NoErr(err)
	is.Equal(said.Key, "monday@2026-11-30T08:00:00Z")
	code, out, errs = dormouse(t.Context(), "say", "list", "--stack", "speaker")
	is.Equal(errs, "")
	is.Equal(code, 0)
	is.True(strings.Contains(out, "monday") && strings.Contains(out, `"asks: What is due?"`) && strings.Contains(out, "telegram:7"))
	code, out, _ = dormouse(t.Context(), "say", "list", "--stack", "speaker", "--json")
	is.Equal(code, 0)
	var list []scheduled
	is.NoErr(json.Unmarshal([]byte(out), &list))
	is.Equal(len(list), 2)
	is.Equal(list[0], scheduled{Name: "monday", When: "cron(0 9 ? * MON *)", Zone: "Europe/Berlin", Chat: "slack:C1", Says: "What is due?", Asks: true})
	for _, s := range list {
		code, out, errs = dormouse(t.Context(), "say", "remove", s.Name, "--stack", "speaker")
		is.Equal(errs, "")
		is.Equal(code, 0)
		is.Equal(out, "removed "+s.Name+"\n")
	}
	code, out, _ = dormouse(t.Context(), "say", "list", "--stack", "speaker")
	is.Equal(code, 0)
	is.Equal(out, "no schedules\n")
	code, _, errs = dormouse(t.Context(), "say", "remove", "monday", "--stack", "speaker")
	is.Equal(code, 1)
	is.True(strings.Contains(errs, "no such schedule"))
}

// putProgram puts a program where that stack's function looks for it.
func putProgram(t *testing.T, endpoint string) {
	t.Helper()
	is := is.New(t)
	var b bytes.Buffer
	archive := zip.NewWriter(&b)
	program, err := archive.Create("bootstrap")
	is.NoErr(err)
	_, err = program.Write([]byte("x"))
	is.NoErr(err)
	is.NoErr(archive.Close())
	put(t, endpoint+"/code-of-speaker", nil)
	put(t, endpoint+"/code-of-speaker/key", b.Bytes())
}

func put(t *testing.T, url string, body []byte) {
	t.Helper()
	is := is.New(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(body))
	is.NoErr(err)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=any")
	res, err := http.DefaultClient.Do(req)
	is.NoErr(err)
	is.NoErr(res.Body.Close())
	is.Equal(res.StatusCode, http.StatusOK)
}
