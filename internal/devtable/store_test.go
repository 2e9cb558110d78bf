package devtable_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devtable"
)

// open opens the table in a folder, until the test ends.
func open(t *testing.T, dir string) *devtable.Store {
	t.Helper()
	s, err := devtable.Open(filepath.Join(dir, "table.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// serve serves a table until the test ends.
func serve(t *testing.T, s *devtable.Store) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	return server
}

// openTalk serves a table with the definition of the others.
func openTalk(t *testing.T) (*devtable.Store, string) {
	t.Helper()
	s := open(t, t.TempDir())
	url := serve(t, s).URL
	ask(t, url, "CreateTable", definition)
	return s, url
}

func get(sk string) map[string]any {
	return map[string]any{"TableName": "Talk", "Key": map[string]any{"pk": text("p"), "sk": text(sk)}, "ConsistentRead": true}
}

func put(sk string, more map[string]any) map[string]any {
	it := map[string]any{"pk": text("p"), "sk": text(sk)}
	for name, v := range more {
		it[name] = v
	}
	return map[string]any{"TableName": "Talk", "Item": it}
}

// count adds one to an item, in a transaction with a token.
func count(token string) map[string]any {
	return map[string]any{"ClientRequestToken": token, "TransactItems": []any{map[string]any{"Update": map[string]any{
		"TableName": "Talk", "Key": map[string]any{"pk": text("p"), "sk": text("n")},
		"UpdateExpression": "SET n = if_not_exists(n, :zero) + :one", "ExpressionAttributeValues": map[string]any{
			":zero": map[string]string{"N": "0"}, ":one": map[string]string{"N": "1"},
		},
	}}}}
}

func counted(t *testing.T, url string) string {
	t.Helper()
	_, _, out := ask(t, url, "GetItem", get("n"))
	it, _ := out["Item"].(map[string]any)
	n, _ := it["n"].(map[string]any)
	return fmt.Sprint(n["N"])
}

func TestATransactionIsMadeOnceForItsTokenAlsoByTheNextOwner(t *testing.T) {
	is := is.New(t)
	dir := t.TempDir()
	s := open(t, dir)
	server := serve(t, s)
	ask(t, server.URL, "CreateTable", definition)
	for range 2 {
		status, _, _ := ask(t, server.URL, "TransactWriteItems", count("once"))
		is.Equal(status, http.StatusOK)
	}
	is.Equal(counted(t, server.URL), "1")
	is.NoErr(s.Close())

	s = open(t, dir)
	now := time.Now()
	s.Now = func() time.Time { return now }
	url := serve(t, s).URL
	ask(t, url, "TransactWriteItems", count("once"))
	is.Equal(counted(t, url), "1")
	now = now.Add(11 * time.Minute) // Amazon's forgets it after ten
	is.NoErr(s.Sweep())
	ask(t, url, "TransactWriteItems", count("once"))
	is.Equal(counted(t, url), "2")
}

func TestWhatHasExpiredIsSwept(t *testing.T) {
	is := is.New(t)
	s, url := openTalk(t)
	now := time.Unix(1_000_000, 0)
	s.Now = func() time.Time { return now }
	at := func(seconds int) map[string]any {
		return map[string]any{"expires": map[string]string{"N": fmt.Sprint(1_000_000 + seconds)}, "open": text("o#1")}
	}
	ask(t, url, "PutItem", put("later", at(60)))
	ask(t, url, "PutItem", put("never", nil))
	ask(t, url, "PutItem", put("words", map[string]any{"expires": text("1")}))
	now = now.Add(time.Hour)
	is.NoErr(s.Sweep())
	is.Equal(all(t, url, "", "sk", "l"), []string{"later"}) // nobody has said that this table's items expire
	status, _, _ := ask(t, url, "UpdateTimeToLive", map[string]any{
		"TableName": "Talk", "TimeToLiveSpecification": map[string]any{"AttributeName": "expires", "Enabled": true},
	})
	is.Equal(status, http.StatusOK)
	ask(t, url, "PutItem", put("later still", at(2*3600)))
	is.NoErr(s.Sweep())
	var left []string
	for _, prefix := range []string{"later", "never", "words"} {
		left = append(left, all(t, url, "", "sk", prefix)...)
	}
	is.Equal(left, []string{"later still", "never", "words"})
	is.Equal(all(t, url, "open", "open", "o#"), []string{"o#1"})
	_, _, out := ask(t, url, "DescribeTimeToLive", map[string]any{"TableName": "Talk"})
	is.Equal(out["TimeToLiveDescription"].(map[string]any)["AttributeName"], "expires")
}

func TestAPageEndsAtAMegabyte(t *testing.T) {
	is := is.New(t)
	_, url := openTalk(t)
	for i := range 8 {
		ask(t, url, "PutItem", put(fmt.Sprint("k", i), map[string]any{"pad": text(strings.Repeat("x", 300<<10)), "open": text("o#")}))
	}
	in := map[string]any{"TableName": "Talk", "ReturnConsumedCapacity": "TOTAL", "ConsistentRead": true}
	_, _, out := ask(t, url, "Scan", in)
	is.Equal(len(out["Items"].([]any)), 4) // the fourth passes the limit, as at DynamoDB
	is.Equal(out["ConsumedCapacity"].(map[string]any)["CapacityUnits"], 301.0)
	in["ExclusiveStartKey"] = out["LastEvaluatedKey"]
	_, _, out = ask(t, url, "Scan", in)
	is.Equal(len(out["Items"].([]any)), 4)
	is.Equal(len(all(t, url, "", "sk", "k")), 8)
	is.Equal(len(all(t, url, "open", "open", "o#")), 8)
	var keys []any
	for i := range 8 {
		keys = append(keys, map[string]any{"pk": text("p"), "sk": text(fmt.Sprint("k", i))})
	}
	_, _, out = ask(t, url, "BatchGetItem", map[string]any{"RequestItems": map[string]any{"Talk": map[string]any{"Keys": keys}}})
	is.Equal(len(out["Responses"].(map[string]any)["Talk"].([]any)), 8)
}

func TestAnItemHasALimit(t *testing.T) {
	is := is.New(t)
	_, url := openTalk(t)
	status, kind, _ := ask(t, url, "PutItem", put("big", map[string]any{"pad": text(strings.Repeat("x", 400<<10))}))
	is.Equal(status, http.StatusBadRequest)
	is.Equal(kind, "ValidationException")
	status, _, _ = ask(t, url, "PutItem", put("big", map[string]any{"pad": text(strings.Repeat("x", 400<<10-20))}))
	is.Equal(status, http.StatusOK)
}

// What this table does not have it refuses by name: nothing is ever ignored.
func TestWhatIsNotThereIsRefusedByName(t *testing.T) {
	_, url := openTalk(t)
	update := func(expression string) map[string]any {
		return map[string]any{"TableName": "Talk", "Key": map[string]any{"pk": text("p"), "sk": text("u")}, "UpdateExpression": expression,
			"ExpressionAttributeValues": map[string]any{":v": map[string]string{"N": "1"}}}
	}
	table := func(change func(map[string]any)) map[string]any {
		copied := map[string]any{}
		raw, _ := json.Marshal(definition)
		json.Unmarshal(raw, &copied)
		copied["TableName"] = "Other"
		change(copied)
		return copied
	}
	for name, tt := range map[string]struct {
		op    string
		in    map[string]any
		kind  string
		named string
	}{
		"an operation":         {"ExecuteStatement", map[string]any{}, "UnknownOperationException", "ExecuteStatement"},
		"no operation":         {"", map[string]any{}, "UnknownOperationException", "operation"},
		"a parameter":          {"PutItem", map[string]any{"TableName": "Talk", "Item": map[string]any{}, "Expected": map[string]any{}}, "ValidationException", "Expected"},
		"an inner parameter":   {"CreateTable", table(func(d map[string]any) { d["KeySchema"].([]any)[0].(map[string]any)["Colour"] = "red" }), "ValidationException", "Colour"},
		"a global index":       {"CreateTable", table(func(d map[string]any) { d["GlobalSecondaryIndexes"] = []any{} }), "ValidationException", "GlobalSecondaryIndexes"},
		"a number as a key":    {"CreateTable", table(func(d map[string]any) { d["AttributeDefinitions"].([]any)[0].(map[string]any)["AttributeType"] = "N" }), "ValidationException", "pk"},
		"a billing mode":       {"CreateTable", table(func(d map[string]any) { d["BillingMode"] = "PROVISIONED" }), "ValidationException", "PROVISIONED"},
		"ADD":                  {"UpdateItem", update("ADD n :v"), "ValidationException", "ADD"},
		"DELETE":               {"UpdateItem", update("SET a = :v DELETE n :v"), "ValidationException", "DELETE"},
		"a function":           {"UpdateItem", update("SET n = lower(:v)"), "ValidationException", "lower"},
		"a word":               {"UpdateItem", update("RENAME n TO :v"), "ValidationException", "RENAME"},
		"a sign":               {"UpdateItem", update("SET n = :v * :v"), "ValidationException", "*"},
		"a type":               {"PutItem", put("t", map[string]any{"x": map[string]string{"T": "1"}}), "ValidationException", "T"},
		"two types":            {"PutItem", put("t", map[string]any{"x": map[string]string{"S": "1", "N": "1"}}), "ValidationException", "more than one"},
		"updated values":       {"UpdateItem", with(update("SET n = :v"), "ReturnValues", "UPDATED_NEW"), "ValidationException", "UPDATED_NEW"},
		"indexes' capacity":    {"GetItem", with(get("x"), "ReturnConsumedCapacity", "INDEXES"), "ValidationException", "INDEXES"},
		"part of an attribute": {"GetItem", with(get("x"), "ProjectionExpression", "a.b"), "ValidationException", "a.b"},
		"a scan of an index":   {"Scan", map[string]any{"TableName": "Talk", "IndexName": "open"}, "ValidationException", "index"},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			status, kind, out := ask(t, url, tt.op, tt.in)
			is.Equal(status, http.StatusBadRequest)
			is.Equal(kind, tt.kind)
			is.True(strings.Contains(fmt.Sprint(out["message"]), tt.named)) // it says what it does not have
		})
	}
}

func with(in map[string]any, name string, v any) map[string]any {
	in[name] = v
	return in
}

func TestFaultsCanBeInjected(t *testing.T) {
	is := is.New(t)
	s, url := openTalk(t)
	inject := func(f devtable.Fault) { is.NoErr(s.Inject(f)) }
	inject(devtable.Fault{Name: devtable.FaultDown})
	status, _, _ := ask(t, url, "GetItem", get("a"))
	is.Equal(status, http.StatusInternalServerError)
	status, _, _ = ask(t, url, "GetItem", get("a")) // it was for one
	is.Equal(status, http.StatusOK)

	inject(devtable.Fault{Name: devtable.FaultThrottle, Op: "PutItem", Count: -1})
	status, _, _ = ask(t, url, "GetItem", get("a"))
	is.Equal(status, http.StatusOK)
	for range 2 {
		_, kind, _ := ask(t, url, "PutItem", put("a", nil))
		is.Equal(kind, "ProvisionedThroughputExceededException")
	}
	is.Equal(len(s.Faults()), 1)
	inject(devtable.Fault{Name: devtable.FaultThrottle, Off: true})
	is.Equal(len(s.Faults()), 0)

	inject(devtable.Fault{Name: devtable.FaultLost})
	_, err := post(url, "PutItem", put("lost", nil))
	is.True(err != nil) // no answer comes
	_, _, out := ask(t, url, "GetItem", get("lost"))
	is.True(out["Item"] != nil) // and yet it was written

	inject(devtable.Fault{Name: devtable.FaultSlow, Delay: 50 * time.Millisecond})
	began := time.Now()
	ask(t, url, "GetItem", get("a"))
	is.True(time.Since(began) >= 50*time.Millisecond)
	is.True(s.Inject(devtable.Fault{Name: "fire"}) != nil)
	is.True(s.Inject(devtable.Fault{Name: devtable.FaultDown, Op: "Fly"}) != nil)
}

func TestUnitsAreCounted(t *testing.T) {
	is := is.New(t)
	s, url := openTalk(t)
	writes, reads := s.Units()
	is.Equal(writes+reads, 0.0)
	ask(t, url, "PutItem", put("a", map[string]any{"pad": text(strings.Repeat("x", 1500)), "open": text("o#")})) // 2, and 1 for the index
	ask(t, url, "TransactWriteItems", pair(0, 0))                                                                // 3 and 3 and 1 for the index, twice
	ask(t, url, "GetItem", get("a"))
	ask(t, url, "GetItem", with(get("a"), "ConsistentRead", false))
	writes, reads = s.Units()
	is.Equal(writes, 3.0+14)
	is.Equal(reads, 1.5)
}

func TestWebPagesAreKeptAway(t *testing.T) {
	is := is.New(t)
	_, url := openTalk(t)
	for name, value := range map[string]string{"Origin": "https://evil.example", "Host": "evil.example"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"TableName":"Talk"}`))
		is.NoErr(err)
		req.Close = true
		req.Header.Set("X-Amz-Target", "DynamoDB_20120810.Scan")
		req.Header.Set(name, value)
		if name == "Host" {
			req.Host = value
		}
		resp, err := http.DefaultClient.Do(req)
		is.NoErr(err)
		resp.Body.Close()
		is.Equal(resp.StatusCode, http.StatusForbidden)
	}
}

func TestTablesStay(t *testing.T) {
	is := is.New(t)
	dir := t.TempDir()
	s := open(t, dir)
	url := serve(t, s).URL
	ask(t, url, "CreateTable", definition)
	ask(t, url, "PutItem", put("a", map[string]any{"n": map[string]string{"N": "1"}}))
	is.NoErr(s.Close())
	url = serve(t, open(t, dir)).URL
	_, _, out := ask(t, url, "DescribeTable", map[string]string{"TableName": "arn:aws:dynamodb:us-east-1:000000000000:table/Talk"})
	is.Equal(out["Table"].(map[string]any)["TableStatus"], "ACTIVE")
	is.Equal(all(t, url, "", "sk", "a"), []string{"a"})
	_, kind, _ := ask(t, url, "CreateTable", definition)
	is.Equal(kind, "ResourceInUseException")
	ask(t, url, "DeleteTable", map[string]string{"TableName": "Talk"})
	for _, op := range []string{"GetItem", "DeleteTable", "DescribeTable"} {
		in := map[string]any{"TableName": "Talk"}
		if op == "GetItem" {
			in = get("a")
		}
		_, kind, _ := ask(t, url, op, in)
		is.Equal(kind, "ResourceNotFoundException")
	}
	is.True(slices.Contains(devtable.FaultNames(), devtable.FaultLost))
}
