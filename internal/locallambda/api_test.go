package locallambda_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
	"github.com/matryer/is"
)

// sdk is the real client of the Lambda API.
func sdk(t *testing.T, h *host) *lambda.Client {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	return lambda.New(lambda.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(h.URL()),
		Credentials:  credentials.NewStaticCredentialsProvider("any", "thing", ""),
		Retryer:      aws.NopRetryer{},
		HTTPClient:   &http.Client{Transport: transport},
	})
}

func TestSDKInvokesByNameAndARN(t *testing.T) {
	h := startFunctions(t, function("plain"))
	for _, name := range []string{
		"plain",
		"plain:live",
		"arn:aws:lambda:us-east-1:000000000000:function:plain",
		"arn:aws:lambda:eu-central-1:123456789012:function:plain:7",
		"000000000000:function:plain",
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			out, err := sdk(t, h).Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &name, Payload: []byte(`{"do":"x"}`)})
			is.NoErr(err)
			is.Equal(out.StatusCode, int32(200))
			is.Equal(out.FunctionError, nil)
			is.Equal(*out.ExecutedVersion, "$LATEST")
			var got info
			is.NoErr(json.Unmarshal(out.Payload, &got))
			is.True(got.PID > 0)
		})
	}
}

func TestSDKReadsTheConfiguration(t *testing.T) {
	is := is.New(t)
	h := startFunctions(t, function("plain"))
	out, err := sdk(t, h).GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("plain")})
	is.NoErr(err)
	is.Equal(*out.FunctionArn, "arn:aws:lambda:us-east-1:000000000000:function:plain")
	_, err = sdk(t, h).GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("other")})
	_, missing := errors.AsType[*types.ResourceNotFoundException](err)
	is.True(missing)
}

// Whoever is on this machine may ask, so a variable is a secret unless it is said to be none.
func TestTheConfigurationShowsNoOtherVariables(t *testing.T) {
	for name, tt := range map[string]struct {
		shown []string
		want  map[string]string
	}{
		"none is named": {nil, map[string]string{}},
		"one is named":  {[]string{"GATEWAY_RELAY_ID", "NOT_SET"}, map[string]string{"GATEWAY_RELAY_ID": "gw-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			fn := function("plain")
			fn.Shown = tt.shown
			fn.Env["GATEWAY_RELAY_ID"] = "gw-1"
			fn.Env["GATEWAY_RELAY_SECRET"] = "canary"
			h := startFunctions(t, fn)
			out, err := sdk(t, h).GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("plain")})
			is.NoErr(err)
			is.Equal(out.Environment.Variables, tt.want)
		})
	}
}

func TestSDKInvokesWithoutPayload(t *testing.T) {
	is := is.New(t)
	h := startFunctions(t, function("plain"))
	out, err := sdk(t, h).Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("plain")})
	is.NoErr(err)
	is.Equal(out.FunctionError, nil)
}

func TestSDKSeesAFunctionError(t *testing.T) {
	is := is.New(t)
	h := startFunctions(t, function("plain"))
	out, err := sdk(t, h).Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("plain"), Payload: []byte(`{"do":"error"}`),
	})
	is.NoErr(err)
	is.Equal(out.StatusCode, int32(200))
	is.Equal(*out.FunctionError, "Unhandled")
	is.Equal(string(out.Payload), `{"errorMessage":"no can do","errorType":"errorString"}`)
}

func TestSDKStartsAnEventInvocation(t *testing.T) {
	is := is.New(t)
	h := startFunctions(t, function("plain"))
	g := newGate(t)
	out, err := sdk(t, h).Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("plain"), InvocationType: types.InvocationTypeEvent, Payload: g.payload(),
	})
	is.NoErr(err)
	is.Equal(out.StatusCode, int32(202)) // while it runs
	is.Equal(len(out.Payload), 0)
	open(t, g.running(t))
	is.Equal(string(wait(t, h.done).Payload), `"through"`)
}

func TestSDKDryRun(t *testing.T) {
	is := is.New(t)
	h := startFunctions(t, function("plain"))
	out, err := sdk(t, h).Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("plain"), InvocationType: types.InvocationTypeDryRun,
	})
	is.NoErr(err)
	is.Equal(out.StatusCode, int32(204))
	is.Equal(h.PIDs("plain"), nil)
}

func TestSDKMapsErrors(t *testing.T) {
	is := is.New(t)
	fn := function("plain")
	fn.Concurrency = 1
	h := startFunctions(t, fn)
	client := sdk(t, h)
	g := newGate(t)
	is.NoErr(h.InvokeEvent("plain", g.payload()))
	busy := g.running(t)

	_, err := client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("plain")})
	throttled, ok := errors.AsType[*types.TooManyRequestsException](err)
	is.True(ok)
	is.Equal(*throttled.Message, "Rate Exceeded.")
	is.Equal(throttled.Reason, types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded)

	_, err = client.Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("plain"), InvocationType: types.InvocationTypeEvent,
	})
	is.NoErr(err) // waits in the queue

	_, err = client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("nobody")})
	missing, ok := errors.AsType[*types.ResourceNotFoundException](err)
	is.True(ok)
	is.Equal(*missing.Message, "Function not found: nobody")

	_, err = client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("plain"), Payload: []byte("{")})
	_, ok = errors.AsType[*types.InvalidRequestContentException](err)
	is.True(ok)

	_, err = client.Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("plain"), InvocationType: types.InvocationTypeEvent,
		Payload: []byte(`"` + strings.Repeat("x", 1<<20) + `"`),
	})
	_, ok = errors.AsType[*types.RequestTooLargeException](err)
	is.True(ok)

	_, err = client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("plain"), InvocationType: "Later"})
	_, ok = errors.AsType[*types.InvalidParameterValueException](err)
	is.True(ok)

	_, err = client.ListFunctions(t.Context(), &lambda.ListFunctionsInput{})
	unknown, ok := errors.AsType[smithy.APIError](err)
	is.True(ok)
	is.Equal(unknown.ErrorCode(), "UnknownOperationException")

	open(t, busy)
	wait(t, h.done)
	wait(t, h.done)
}

func TestAFunctionReachesAnotherThroughTheSDKsEnvironment(t *testing.T) {
	is := is.New(t)
	other := function("plain")
	other.Name = "other"
	h := startFunctions(t, function("plain"), other)
	is.Equal(h.invoke(t, "plain", ask{Do: "invoke", Name: "other"}).FunctionError, "")
	var got info
	is.NoErr(json.Unmarshal(wait(t, h.done).Payload, &got))
	is.Equal(got.ARN, "arn:aws:lambda:us-east-1:000000000000:function:other")
}

// It asks for no credential, so no page in a browser on this machine may reach it, by whatever name.
func TestTheLambdaAPIIsForThisMachineOnly(t *testing.T) {
	is := is.New(t)
	h := startFunctions(t, function("plain"))
	ask := func(host, origin string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL()+"/2015-03-31/functions/plain/invocations", strings.NewReader(`{"do":"x"}`))
		is.NoErr(err)
		req.Host = host
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		is.NoErr(err)
		resp.Body.Close()
		return resp.StatusCode
	}
	is.Equal(ask("rebound.example", ""), http.StatusForbidden)
	is.Equal(ask("localhost", "https://page.example"), http.StatusForbidden)
	is.Equal(ask("localhost:8791", ""), http.StatusOK)
}

// streamed gathers what InvokeWithResponseStream says.
func streamed(t *testing.T, h *host, name, payload string) (contentType string, chunks []string, end types.InvokeWithResponseStreamCompleteEvent, err error) {
	t.Helper()
	out, err := sdk(t, h).InvokeWithResponseStream(t.Context(), &lambda.InvokeWithResponseStreamInput{
		FunctionName: &name, Payload: []byte(payload),
	})
	if err != nil {
		return "", nil, end, err
	}
	defer out.GetStream().Close()
	complete := false
	for event := range out.GetStream().Events() {
		switch event := event.(type) {
		case *types.InvokeWithResponseStreamResponseEventMemberPayloadChunk:
			chunks = append(chunks, string(event.Value.Payload))
		case *types.InvokeWithResponseStreamResponseEventMemberInvokeComplete:
			end, complete = event.Value, true
		}
	}
	if err := out.GetStream().Err(); err != nil || !complete {
		t.Errorf("the stream has no end: %v", err)
	}
	return *out.ResponseStreamContentType, chunks, end, nil
}

func TestSDKHearsAStreamAsItIsSaid(t *testing.T) {
	is := is.New(t)
	h := startFunctions(t, function("streaming"))
	gate := newGate(t)
	payload, err := json.Marshal(ask{Do: "two lines", Addr: gate.Addr().String()})
	is.NoErr(err)
	out, err := sdk(t, h).InvokeWithResponseStream(t.Context(), &lambda.InvokeWithResponseStreamInput{
		FunctionName: aws.String("streaming"), Payload: payload,
	})
	is.NoErr(err)
	is.Equal(*out.ResponseStreamContentType, "application/x-ndjson")
	stream := out.GetStream()
	defer stream.Close()
	first, ok := (<-stream.Events()).(*types.InvokeWithResponseStreamResponseEventMemberPayloadChunk)
	is.True(ok)
	is.Equal(string(first.Value.Payload), "one\n") // before the function goes on
	gate.running(t).Close()                        // lets it go on
	second, ok := (<-stream.Events()).(*types.InvokeWithResponseStreamResponseEventMemberPayloadChunk)
	is.True(ok)
	is.Equal(string(second.Value.Payload), "two\n")
	end, ok := (<-stream.Events()).(*types.InvokeWithResponseStreamResponseEventMemberInvokeComplete)
	is.True(ok)
	is.Equal(end.Value.ErrorCode, nil)
}

func TestAStreamEndsAsItsInvocationDoes(t *testing.T) {
	h := startFunctions(t, function("streaming"), function("plain"))
	t.Run("a function that does not stream", func(t *testing.T) {
		is := is.New(t)
		contentType, chunks, end, err := streamed(t, h, "plain", `{"do":"x"}`)
		is.NoErr(err)
		is.Equal(contentType, "application/json")
		is.True(strings.Contains(strings.Join(chunks, ""), `"pid"`))
		is.Equal(end.ErrorCode, nil)
	})
	t.Run("a function that fails at once", func(t *testing.T) {
		is := is.New(t)
		_, chunks, end, err := streamed(t, h, "plain", `{"do":"error"}`)
		is.NoErr(err)
		is.Equal(len(chunks), 0)
		is.Equal(*end.ErrorCode, "Unhandled")
		is.True(strings.Contains(*end.ErrorDetails, "no can do"))
	})
	t.Run("a function that fails in its stream", func(t *testing.T) {
		is := is.New(t)
		_, chunks, end, err := streamed(t, h, "streaming", `{"do":"fail"}`)
		is.NoErr(err)
		is.Equal(chunks, []string{"one\n"})
		is.Equal(*end.ErrorCode, "Unhandled")
		is.True(strings.Contains(*end.ErrorDetails, "no more to say"))
	})
	t.Run("a process that dies in its stream", func(t *testing.T) {
		is := is.New(t)
		_, chunks, end, err := streamed(t, h, "streaming", `{"do":"die"}`)
		is.NoErr(err)
		is.Equal(chunks, []string{"one\n"})
		is.True(end.ErrorCode != nil)
	})
	t.Run("a whole answer of a function that streams", func(t *testing.T) {
		is := is.New(t)
		out, err := sdk(t, h).Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("streaming"), Payload: []byte(`{"do":"one line"}`)})
		is.NoErr(err)
		is.Equal(string(out.Payload), "one\n")
		out, err = sdk(t, h).Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("streaming"), Payload: []byte(`{"do":"fail"}`)})
		is.NoErr(err)
		is.True(out.FunctionError != nil)
	})
	t.Run("no such function", func(t *testing.T) {
		_, _, _, err := streamed(t, h, "other", `{}`)
		_, missing := errors.AsType[*types.ResourceNotFoundException](err)
		is.New(t).True(missing)
	})
}
