package secretstore_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/secretstore"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	parameterARN = "arn:aws:ssm:eu-west-1:123456789012:parameter/dormouse/gw-1"
	secretARN    = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:dormouse/gw-1-AbCdEf"
	canary       = "canary-5ecret"
)

func awsConfig(endpoint string) aws.Config {
	return aws.Config{
		Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("AKID", "sk", ""),
		BaseEndpoint: &endpoint, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
}

// service stands in for both services: it answers the calls of a test one after another.
func service(t *testing.T, answers ...string) (*secretstore.Store, *[]string) {
	calls := &[]string{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, target, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		scope := strings.Split(r.Header.Get("Authorization"), "/")
		*calls = append(*calls, fmt.Sprintf("%s %s %s", target, scope[2], raw))
		if len(answers) == 0 {
			t.Error("one call too many:", target)
			return
		}
		answer := answers[0]
		answers = answers[1:]
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if strings.Contains(answer, "__type") {
			w.WriteHeader(400)
		}
		io.WriteString(w, answer)
	}))
	t.Cleanup(srv.Close)
	return secretstore.New(awsConfig(srv.URL)), calls
}

func TestTheARNTellsTheService(t *testing.T) {
	is := is.New(t)
	store, calls := service(t, `{"Parameter":{"Type":"SecureString","Value":"one"}}`, `{"SecretString":"two"}`)
	got, err := store.Get(t.Context(), parameterARN)
	is.NoErr(err)
	is.Equal(got.Reveal(), "one")
	got, err = store.Get(t.Context(), secretARN)
	is.NoErr(err)
	is.Equal(got.Reveal(), "two")
	is.Equal(*calls, []string{ // in the ARN's region, not in the function's
		`GetParameter eu-west-1 {"Name":"` + parameterARN + `","WithDecryption":true}`,
		`GetSecretValue eu-west-1 {"SecretId":"` + secretARN + `"}`,
	})
}

func TestWhatIsNoARNOfASecretIsRefused(t *testing.T) {
	for _, bad := range []string{
		"", canary, "arn:aws:ssm:eu-west-1:1:document/x", "arn:aws:s3:::bucket", "arn:aws:ssm:eu-west-1:1:parameter/",
		"arn:aws:ssm::1:parameter/x", "arn:aws:secretsmanager:eu-west-1:1:parameter/x", "arn:aws:ssm:eu-west-1::parameter/x",
	} {
		is := is.New(t)
		_, err := secretstore.New(aws.Config{}).Get(t.Context(), bad)
		is.True(errors.Is(err, secretstore.ErrSecretUnusable))
		is.True(!strings.Contains(err.Error(), canary)) // it may be anything, a secret too
	}
}

func TestFaultsSayWhatToDo(t *testing.T) {
	tests := map[string]struct {
		arn, answer, want string
		unusable          bool
	}{
		"no parameter": {parameterARN, `{"__type":"ParameterNotFound"}`, "is not there: store it, or set another ARN", true},
		"no secret":    {secretARN, `{"__type":"ResourceNotFoundException"}`, "is not there: store it, or set another ARN", true},
		"denied": {parameterARN, `{"__type":"AccessDeniedException","message":"no"}`,
			"the role may not: allow it in its policy (AccessDeniedException)", true},
		"plain": {parameterARN, `{"Parameter":{"Type":"String","Value":"` + canary + `"}}`, "want a SecureString", true},
		"blank": {secretARN, `{"SecretString":" "}`, "is blank", true},
		"down":  {secretARN, `{"__type":"InternalServiceError","message":"oops"}`, "oops", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			store, _ := service(t, tt.answer)
			_, err := store.Get(t.Context(), tt.arn)
			is.True(err != nil)
			is.True(strings.Contains(err.Error(), tt.want))
			is.True(strings.Contains(err.Error(), tt.arn))
			is.True(!strings.Contains(err.Error(), canary))
			is.Equal(errors.Is(err, secretstore.ErrSecretUnusable), tt.unusable)
		})
	}
}

func TestPutParameterReplaces(t *testing.T) {
	is := is.New(t)
	store, calls := service(t, `{"Version":2}`, `{"Parameter":{"ARN":"`+parameterARN+`"}}`)
	arn, err := store.PutParameter(t.Context(), "/dormouse/gw-1", relay.NewSecret(canary))
	is.NoErr(err)
	is.Equal(arn, parameterARN)
	is.True(strings.Contains((*calls)[0], `"Overwrite":true`))
	is.True(strings.Contains((*calls)[0], `"Type":"SecureString"`))
	is.Equal((*calls)[1], `GetParameter eu-central-1 {"Name":"/dormouse/gw-1"}`) // undecrypted
	is.True(!strings.Contains((*calls)[0], "KeyId"))                             // AWS's own

	store, calls = service(t, `{"Version":2}`, `{"Parameter":{"ARN":"`+parameterARN+`"}}`)
	store.Key = "alias/mine"
	_, err = store.PutParameter(t.Context(), "/dormouse/gw-1", relay.NewSecret(canary))
	is.NoErr(err)
	is.True(strings.Contains((*calls)[0], `"KeyId":"alias/mine"`))

	_, err = store.PutParameter(t.Context(), "/x", relay.NewSecret(strings.Repeat("x", 4097)))
	is.True(strings.Contains(err.Error(), "use Secrets Manager"))
	store, _ = service(t, `{"__type":"AccessDeniedException"}`)
	_, err = store.PutParameter(t.Context(), "/x", relay.NewSecret(canary))
	is.True(errors.Is(err, secretstore.ErrSecretUnusable))
	is.True(!strings.Contains(err.Error(), canary))
}

func TestPutSecretMakesOneIfNeedBe(t *testing.T) {
	is := is.New(t)
	store, calls := service(t, `{"__type":"ResourceNotFoundException"}`, `{"ARN":"`+secretARN+`"}`, `{"ARN":"`+secretARN+`"}`)
	store.Key = "alias/mine"
	for range 2 {
		arn, err := store.PutSecret(t.Context(), "dormouse/gw-1", relay.NewSecret(canary))
		is.NoErr(err)
		is.Equal(arn, secretARN)
	}
	var names []string
	for _, call := range *calls {
		name, _, _ := strings.Cut(call, " ")
		names = append(names, name)
	}
	is.Equal(names, []string{"PutSecretValue", "CreateSecret", "PutSecretValue"})
	is.True(strings.Contains((*calls)[1], `"KmsKeyId":"alias/mine"`))
}

// Against moto's server, an independent reading of the two services: make test starts it.
func TestAgainstMoto(t *testing.T) {
	endpoint := os.Getenv("DORMOUSE_TEST_MOTO")
	if endpoint == "" {
		t.Skip("DORMOUSE_TEST_MOTO is not set: make test sets it where there is Python")
	}
	is := is.New(t)
	ctx := t.Context()
	cfg := awsConfig(endpoint)
	store := secretstore.New(cfg)
	name := "/dormouse/" + rand.Text()
	puts := map[string]func(context.Context, string, relay.Secret) (string, error){
		"parameter": store.PutParameter, "secret": store.PutSecret,
	}
	has := map[string]func(context.Context, string) (bool, error){"parameter": store.HasParameter, "secret": store.HasSecret}
	for kind, put := range puts {
		found, err := has[kind](ctx, name)
		is.NoErr(err)
		is.True(!found)
		var arns []string
		for _, value := range []string{"first", `{"gatewayId":"gw-1"}`} {
			arn, err := put(ctx, name, relay.NewSecret(value))
			is.NoErr(err)
			is.True(strings.Contains(arn, kind+name) || strings.Contains(arn, kind+":"+name))
			arns = append(arns, arn)
			got, err := store.Get(ctx, arn)
			is.NoErr(err)
			is.Equal(got.Reveal(), value)
		}
		is.Equal(arns[0], arns[1]) // replacing keeps the ARN, so a deployment stays as it is
		found, err = has[kind](ctx, name)
		is.NoErr(err)
		is.True(found)
		_, err = store.Get(ctx, arns[0]+"-none")
		is.True(errors.Is(err, secretstore.ErrSecretUnusable))
	}

	plain := name + "-plain"
	_, err := ssm.NewFromConfig(cfg).PutParameter(ctx, &ssm.PutParameterInput{
		Name: &plain, Value: aws.String(canary), Type: ssmtypes.ParameterTypeString, Overwrite: aws.Bool(true),
	})
	is.NoErr(err)
	_, err = store.Get(ctx, "arn:aws:ssm:eu-central-1:123456789012:parameter"+plain)
	is.True(errors.Is(err, secretstore.ErrSecretUnusable))
}

func TestNoSecretFollowsARedirect(t *testing.T) {
	for status := 301; status <= 308; status++ {
		is := is.New(t)
		elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(status)
		}))
		store := secretstore.New(awsConfig(srv.URL))
		_, err := store.PutParameter(t.Context(), "/x", relay.NewSecret(canary))
		is.True(err != nil)
		_, err = store.PutSecret(t.Context(), "x", relay.NewSecret(canary))
		is.True(err != nil)
		srv.Close()
		elsewhere.Close()
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	is := is.New(t)
	store, _ := service(t, `{"SecretString":"`+canary+`"}`)
	got, err := store.Get(t.Context(), secretARN)
	is.NoErr(err)
	raw, err := json.Marshal(got)
	is.NoErr(err)
	is.True(!strings.Contains(fmt.Sprintf("%v %+v %#v %s", got, got, got, raw), canary))
}
