package locallambda_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	runtime "github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/locallambda"
)

// kindVariable makes this test binary a function, of the kind that it names.
const kindVariable = "LOCALLAMBDA_TEST_KIND"

func TestMain(m *testing.M) {
	switch os.Getenv(kindVariable) {
	case "":
		// net/http lingers on a connection for half a second once it has refused a body that is too large.
		goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
	case "plain":
		runtime.StartWithOptions(answer)
	case "sigterm": // asks for SIGTERM and leaves when it comes
		runtime.StartWithOptions(answer, runtime.WithEnableSIGTERM(func() {
			fmt.Println("terminating")
			os.Exit(0)
		}))
	case "stubborn": // asks for SIGTERM and stays
		runtime.StartWithOptions(answer, runtime.WithEnableSIGTERM(func() { fmt.Println("terminating") }))
	case "unasked": // would take SIGTERM, but has not asked Lambda for it
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		go func() {
			<-signals
			fmt.Println("terminating")
		}()
		runtime.StartWithOptions(answer)
	case "web":
		runtime.StartWithOptions(answerHTTP)
	case "streaming":
		runtime.StartWithOptions(answerStreamed)
	case "init error":
		initError()
	case "init exit":
		os.Exit(7)
	case "init hang":
		time.Sleep(time.Hour)
	case "host":
		hostAndHang()
	}
}

// said is an answer that streams. The runtime's client passes on a reader that it cannot marshal, or marshals as {}.
type said struct{ out *io.PipeReader }

func (s said) Read(p []byte) (int, error) { return s.out.Read(p) }

func (said) ContentType() string { return "application/x-ndjson" }

func answerStreamed(_ context.Context, in ask) (io.Reader, error) {
	out, w := io.Pipe()
	go func() {
		fmt.Fprintln(w, "one")
		switch in.Do {
		case "two lines":
			if conn, err := net.Dial("tcp", in.Addr); err == nil {
				conn.Read(make([]byte, 1))
				conn.Close()
			}
			fmt.Fprintln(w, "two")
		case "fail":
			w.CloseWithError(errors.New("no more to say"))
		case "die":
			time.Sleep(100 * time.Millisecond) // so that the line has left
			os.Exit(3)
		}
		w.Close()
	}()
	return said{out}, nil
}

// ask is the test functions' event: what to do.
type ask struct {
	Do   string `json:"do"`
	Addr string `json:"addr,omitempty"`
	Name string `json:"name,omitempty"`
	MS   int    `json:"ms,omitempty"`
}

type info struct {
	PID         int           `json:"pid"`
	Invocations int           `json:"invocations"`
	RequestID   string        `json:"request_id"`
	ARN         string        `json:"arn"`
	Left        time.Duration `json:"left"`
	Memory      int           `json:"memory"`
	Dir         string        `json:"dir"`
	Env         []string      `json:"env"`
}

var (
	invocations int
	held        []net.Conn // open until the process dies
)

func answer(ctx context.Context, in ask) (any, error) {
	invocations++
	switch in.Do {
	case "error":
		return nil, errors.New("no can do")
	case "panic":
		panic("oh no")
	case "exit":
		os.Exit(3)
	case "exit 0":
		os.Exit(0)
	case "hang":
		time.Sleep(time.Hour)
	case "print":
		fmt.Print("one\ntw")
		fmt.Fprint(os.Stderr, "o\n\n")
		fmt.Print("the rest")
		os.Exit(0)
	case "gate": // runs until the test lets it
		conn, err := net.Dial("tcp", in.Addr)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
		return "through", err
	case "hold":
		conn, err := net.Dial("tcp", in.Addr)
		held = append(held, conn)
		return nil, err
	case "burn":
		burn(time.Duration(in.MS) * time.Millisecond)
	case "invoke":
		return nil, invokeOther(ctx, in.Name)
	}
	deadline, _ := ctx.Deadline()
	lc, _ := lambdacontext.FromContext(ctx)
	dir, err := os.Getwd()
	return info{
		PID: os.Getpid(), Invocations: invocations, RequestID: lc.AwsRequestID, ARN: lc.InvokedFunctionArn,
		Left: time.Until(deadline), Memory: lambdacontext.MemoryLimitInMB, Dir: dir, Env: os.Environ(),
	}, err
}

// answerHTTP sits behind Front.
func answerHTTP(_ context.Context, in events.APIGatewayV2HTTPRequest) (any, error) {
	switch in.RawPath {
	case "/event":
		event, err := json.Marshal(in)
		return events.APIGatewayV2HTTPResponse{
			StatusCode:      http.StatusTeapot,
			Headers:         map[string]string{"X-Tea": "yes"},
			Cookies:         []string{"a=b", "c=d"},
			Body:            base64.StdEncoding.EncodeToString(event),
			IsBase64Encoded: true,
		}, err
	case "/text":
		return events.APIGatewayV2HTTPResponse{StatusCode: 202, Body: "plain"}, nil
	case "/empty":
		return events.APIGatewayV2HTTPResponse{StatusCode: 204}, nil
	case "/odd-status":
		return events.APIGatewayV2HTTPResponse{StatusCode: 99}, nil
	case "/odd-body":
		return events.APIGatewayV2HTTPResponse{StatusCode: 200, Body: "%", IsBase64Encoded: true}, nil
	case "/error":
		return nil, errors.New("no can do")
	case "/gate":
		return answer(context.Background(), ask{Do: "gate", Addr: in.Headers["gate"]})
	}
	return []string{"no", "response"}, nil
}

func burn(cpu time.Duration) {
	used := func() time.Duration {
		var usage syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	for start := used(); used()-start < cpu; {
	}
}

// invokeOther uses nothing but the environment to find the Lambda API.
func invokeOther(ctx context.Context, name string) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	_, err = lambda.NewFromConfig(cfg).Invoke(ctx, &lambda.InvokeInput{
		FunctionName: &name, InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"do":"info"}`),
	})
	return err
}

func initError() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/init/error"
	if err := post(api, `{"errorType":"NoSuchSetting","errorMessage":"it is missing"}`); err != nil {
		fmt.Println(err)
	}
	os.Exit(1)
}

// hostAndHang is a host that never comes to its Close, with one sandbox that the test can see.
func hostAndHang() {
	host, err := locallambda.Start(locallambda.Config{Functions: []locallambda.Function{function("plain")}})
	if err != nil {
		panic(err)
	}
	event := fmt.Appendf(nil, `{"do":"hold","addr":%q}`, os.Getenv("LOCALLAMBDA_TEST_ADDR"))
	if _, err := host.Invoke(context.Background(), "plain", event); err != nil {
		panic(err)
	}
	fmt.Println("idle")
	io.Copy(io.Discard, os.Stdin)
	time.Sleep(time.Hour)
}
