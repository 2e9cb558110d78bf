package locallambda_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/matryer/is"
)

func TestAnInvocationAnswersWithTheTailOfItsLog(t *testing.T) {
	is := is.New(t)
	h := startFunctions(t, function("plain"))
	client := lambda.NewFromConfig(aws.Config{Region: "us-east-1", BaseEndpoint: aws.String(h.URL()), Credentials: aws.AnonymousCredentials{}})
	out, err := client.Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: aws.String("plain"), LogType: types.LogTypeTail, Payload: []byte(`{"do":"panic"}`),
	})
	is.NoErr(err)
	is.True(out.FunctionError != nil)
	raw, err := base64.StdEncoding.DecodeString(aws.ToString(out.LogResult))
	is.NoErr(err)
	is.True(len(raw) <= 4096)
	t.Log(string(raw))
	is.True(strings.Contains(string(raw), "\n")) // what it said before it died
	out, err = client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("plain"), Payload: []byte(`{}`)})
	is.NoErr(err)
	is.Equal(out.LogResult, nil) // only who asks gets it
}
