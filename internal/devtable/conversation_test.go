package devtable_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/matryer/is"
)

var update = flag.Bool("update", false, "ask the DynamoDB of DORMOUSE_TEST_DYNAMODB, Amazon's own, for what is right")

// exchange is a request and what Amazon's DynamoDB Local answered to it.
type exchange struct {
	Op     string         `json:"op"`
	In     map[string]any `json:"in"`
	Status int            `json:"status"`
	Type   string         `json:"type,omitempty"` // of an error, without its namespace
	Out    map[string]any `json:"out,omitempty"`
}

// post posts a request as the SDK does, whose signature nobody checks here.
func post(url, op string, in any) (*http.Response, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Close = true
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+op)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
	return http.DefaultClient.Do(req)
}

// ask posts a request and reads its answer.
func ask(t *testing.T, url string, op string, in any) (status int, kind string, out map[string]any) {
	t.Helper()
	is := is.New(t)
	resp, err := post(url, op, in)
	is.NoErr(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	is.NoErr(err)
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("%s was answered HTTP %d and no JSON: %.300s", op, resp.StatusCode, raw)
	}
	kind, _ = out["__type"].(string)
	kind = kind[strings.LastIndexAny(kind, "#")+1:]
	return resp.StatusCode, kind, out
}

var definition = map[string]any{
	"TableName": "Talk", "BillingMode": "PAY_PER_REQUEST",
	"AttributeDefinitions": []map[string]string{
		{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}, {"AttributeName": "open", "AttributeType": "S"},
	},
	"KeySchema": []map[string]string{{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}},
	"LocalSecondaryIndexes": []map[string]any{{
		"IndexName": "open", "Projection": map[string]string{"ProjectionType": "KEYS_ONLY"},
		"KeySchema": []map[string]string{{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "open", "KeyType": "RANGE"}},
	}},
}

// comparable is an answer without what is told in words and without what nobody promises.
func comparableOf(out map[string]any) map[string]any {
	for _, name := range []string{"__type", "message", "Message", "TableDescription", "ConsumedCapacity"} {
		delete(out, name)
	}
	reasons, _ := out["CancellationReasons"].([]any)
	for _, reason := range reasons {
		delete(reason.(map[string]any), "Message")
	}
	if len(out) == 0 {
		return nil
	}
	return sets(out).(map[string]any)
}

// sets sorts what has no order.
func sets(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, child := range v {
			if elements, ok := child.([]any); ok && (name == "SS" || name == "NS") {
				in := map[string]bool{}
				for _, e := range elements {
					in[fmt.Sprint(e)] = true
				}
				v[name] = in
				continue
			}
			v[name] = sets(child)
		}
	case []any:
		for i := range v {
			v[i] = sets(v[i])
		}
	}
	return v
}

// TestAnswersAreDynamoDBs holds each answer against the one that Amazon's own DynamoDB Local gave to the same request after
// the same requests. go test -update, under scripts/dynamodb.sh local, asks it again.
func TestAnswersAreDynamoDBs(t *testing.T) {
	is := is.New(t)
	const file = "testdata/conversation.json"
	raw, err := os.ReadFile(file)
	is.NoErr(err)
	var conversation []exchange
	is.NoErr(json.Unmarshal(raw, &conversation))
	url := os.Getenv("DORMOUSE_TEST_DYNAMODB")
	if !*update {
		url = serve(t, open(t, t.TempDir())).URL
	}
	ask(t, url, "DeleteTable", map[string]string{"TableName": "Talk"})
	status, _, made := ask(t, url, "CreateTable", definition)
	if status != http.StatusOK {
		t.Fatal(made)
	}
	for i, e := range conversation {
		status, kind, out := ask(t, url, e.Op, e.In)
		out = comparableOf(out)
		if *update {
			conversation[i].Status, conversation[i].Type, conversation[i].Out = status, kind, out
			continue
		}
		in, _ := json.Marshal(e.In)
		want, err := json.Marshal(e.Out)
		is.NoErr(err)
		got, err := json.Marshal(out)
		is.NoErr(err)
		if status != e.Status || kind != e.Type || !equalJSON(want, got) {
			t.Errorf("%d. %s %s\nwant %d %s %s\ngot  %d %s %s", i+1, e.Op, in, e.Status, e.Type, want, status, kind, got)
		}
	}
	if *update {
		var b bytes.Buffer
		b.WriteString("[\n")
		for i, e := range conversation {
			line, err := json.Marshal(e)
			is.NoErr(err)
			b.WriteString(" " + string(line))
			if i < len(conversation)-1 {
				b.WriteString(",")
			}
			b.WriteString("\n")
		}
		b.WriteString("]\n")
		is.NoErr(os.WriteFile(file, b.Bytes(), 0o644))
	}
}

func equalJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
