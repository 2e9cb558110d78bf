package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/logs"
)

// logGroups makes the groups of a stack in moto and returns how to write to them.
func logGroups(t *testing.T) (stack string, write func(function string, at time.Time, lines ...string)) {
	t.Helper()
	moto := os.Getenv("DORMOUSE_TEST_MOTO")
	if moto == "" {
		t.Skip("DORMOUSE_TEST_MOTO is not set: make test sets it where there is Python")
	}
	noAccount(t, map[string]string{"AWS_ENDPOINT_URL": moto})
	is := is.New(t)
	cloud, err := operatorConfig(t.Context())
	is.NoErr(err)
	client := cloudwatchlogs.NewFromConfig(cloud)
	stack = "logs-" + rand.Text()
	for _, function := range []string{"wake", "drain"} {
		group := aws.String("/aws/lambda/" + stack + "-" + function)
		_, err := client.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group})
		is.NoErr(err)
		_, err = client.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: aws.String("s")})
		is.NoErr(err)
	}
	return stack, func(function string, at time.Time, lines ...string) {
		t.Helper()
		in := &cloudwatchlogs.PutLogEventsInput{LogGroupName: aws.String("/aws/lambda/" + stack + "-" + function), LogStreamName: aws.String("s")}
		for i, line := range lines {
			at := at.Add(time.Duration(i) * time.Millisecond)
			text := fmt.Sprintf(`{"timestamp":%q,"level":"INFO",%s}`, at.UTC().Format(time.RFC3339Nano), line)
			in.LogEvents = append(in.LogEvents, types.InputLogEvent{Message: &text, Timestamp: aws.Int64(at.UnixMilli())})
		}
		_, err := client.PutLogEvents(t.Context(), in)
		is.NoErr(err)
	}
}

func TestLogsFollowOneMessageFromThePokeToTheReply(t *testing.T) {
	is := is.New(t)
	stack, write := logGroups(t)
	at := time.Now().Add(-10 * time.Minute)
	write("wake", at, `"message":"`+logs.Poke+`","method":"POST","requestId":"w-1"`)
	write("drain", at.Add(time.Second),
		`"message":"lease","requestId":"d-1"`,
		`"message":"journalled","delivery":"k-1","session":"s","requestId":"d-1"`,
		`"message":"journalled","delivery":"k-2","session":"s","requestId":"d-1"`,
		`"message":"turn","delivery":"k-1","attempt":1,"requestId":"d-1"`,
		`"message":"reply","delivery":"k-1","op":"send","error":"\u001b[2Jtold","requestId":"d-1"`,
		`"message":"released","requestId":"d-1"`)
	write("drain", at.Add(time.Minute), `"message":"lease","requestId":"d-2"`)

	code, out, errs := dormouse(t.Context(), "logs", "--stack", stack, "--delivery", "k-1")
	is.Equal(errs, "")
	is.Equal(code, 0)
	var messages []string
	for l := range strings.Lines(out) {
		messages = append(messages, strings.Fields(l)[3])
	}
	is.Equal(strings.Join(messages, " "), "poke lease journalled turn reply released") // its own, and those of its run
	is.True(!strings.Contains(out, "k-2") && !strings.Contains(out, "\x1b"))
	is.True(strings.Contains(out, " drain INFO  turn  attempt=1"))

	code, out, _ = dormouse(t.Context(), "logs", "--stack", stack)
	is.Equal(code, 0)
	is.Equal(strings.Count(out, "\n"), 8)
	_, out, _ = dormouse(t.Context(), "logs", "--stack", stack, "--delivery", "k-2", "--json")
	is.True(strings.Contains(out, `{"timestamp":`))
}

func TestLogsSayWhyThereIsNothing(t *testing.T) {
	is := is.New(t)
	stack, _ := logGroups(t)
	code, _, errs := dormouse(t.Context(), "logs", "--stack", stack, "--delivery", "k-9")
	is.Equal(code, exitFound)
	is.True(strings.Contains(errs, "is about the message k-9: is the key whole"))
	code, _, errs = dormouse(t.Context(), "logs", "--stack", "other")
	is.Equal(code, exitFailed)
	is.True(strings.Contains(errs, "there is no log group /aws/lambda/other-wake in eu-central-1: check --stack"))
	code, _, _ = dormouse(t.Context(), "logs")
	is.Equal(code, exitMisuse)
}

func TestLogsGoOnWithWhatIsLogged(t *testing.T) {
	stack, write := logGroups(t)
	following := start(t, "logs", "--stack", stack, "--follow")
	write("drain", time.Now(), `"message":"lease","requestId":"d-1"`)
	following.until(`drain INFO  lease`)
}

func TestALocalGatewaysLogIsWhereItRuns(t *testing.T) {
	is := is.New(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/functions/local-drain/configuration") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		io.WriteString(w, `{"FunctionName":"local-drain","FunctionArn":"arn:aws:lambda:eu-central-1:000000000000:function:local-drain"}`)
	}))
	t.Cleanup(srv.Close)
	noAccount(t, map[string]string{"AWS_ENDPOINT_URL": srv.URL})
	code, _, errs := dormouse(t.Context(), "logs", "--stack", "local")
	is.Equal(code, 1)
	is.Equal(errs, "dormouse: dormouse host runs local, and prints its log itself, in the shell in which it was started\n")
}
