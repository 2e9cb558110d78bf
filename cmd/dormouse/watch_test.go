package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// watchedStack is a stack in moto: its log as it was recorded, its table, and its function, which moto does not have.
type watchedStack struct {
	name    string
	book    *dynamo.Ledger
	write   func(function string, at time.Time, lines ...string)
	invoked atomic.Int64
}

func newWatchedStack(t *testing.T) *watchedStack {
	t.Helper()
	is := is.New(t)
	s := &watchedStack{}
	s.name, s.write = logGroups(t)
	moto, err := url.Parse(os.Getenv("DORMOUSE_TEST_MOTO"))
	is.NoErr(err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(moto) }}
	table := "watched-" + rand.Text()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch function := "/functions/" + s.name + "-drain"; {
		case strings.HasSuffix(r.URL.Path, function+"/configuration"):
			json.NewEncoder(w).Encode(map[string]any{
				"FunctionName": s.name + "-drain", "FunctionArn": "arn:aws:lambda:eu-central-1:123456789012:function:" + s.name + "-drain", "MemorySize": 256,
				"Environment": map[string]any{"Variables": map[string]string{
					"DORMOUSE_TABLE": table, "GATEWAY_RELAY_ID": "gw-1", "GATEWAY_RELAY_WAKE_URL": "https://wake.example/w/canary",
					"DORMOUSE_AGENT": "https://agent.example/canary-of-the-path", "DORMOUSE_IDLE_AFTER": "25s",
				}},
			})
		case strings.HasSuffix(r.URL.Path, "/operation/GetMetricData"): // moto does not speak CloudWatch's protocol
			w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
			w.Header().Set("Content-Type", "application/cbor")
			w.Write(cbor.Encode(cbor.Map{"MetricDataResults": cbor.List{cbor.Map{
				"Id": cbor.String("m0"), "Values": cbor.List{cbor.Float64(7)},
				"Timestamps": cbor.List{&cbor.Tag{ID: 1, Value: cbor.Float64(float64(time.Now().Unix()))}},
			}}}))
		case strings.HasSuffix(r.URL.Path, function+"/invocations"):
			s.invoked.Add(1)
			w.WriteHeader(http.StatusAccepted)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	noAccount(t, map[string]string{"AWS_ENDPOINT_URL": front.URL})
	cloud, err := operatorConfig(t.Context())
	is.NoErr(err)
	client := dynamo.NewClient(cloud)
	_, err = client.CreateTable(t.Context(), dynamo.Definition(table))
	is.NoErr(err)
	s.book = dynamo.New(client, table, "gw-1")
	return s
}

// keep puts a message into the table, which has to wait or is dead.
func (s *watchedStack) keep(t *testing.T, key, text string, dead bool) {
	t.Helper()
	is := is.New(t)
	ctx := t.Context()
	lease, err := s.book.Acquire(ctx, ledger.Ask{Reason: ledger.Arm, Owner: "o", Life: time.Minute})
	is.NoErr(err)
	body, err := json.Marshal(relay.Delivery{BufferID: "buf-" + key, ReceivedAt: time.Now(), Event: &relay.Event{
		Text: text, MessageType: "text", MessageID: "m-" + key, Source: relay.Source{
			Platform: "telegram", ChatID: "551823190", ChatType: "dm", UserID: "551823190", UserName: "Ada",
		}}})
	is.NoErr(err)
	_, err = lease.Receive(ctx, ledger.Entry{Key: key, State: ledger.New, Body: body})
	is.NoErr(err)
	if dead {
		is.NoErr(lease.Fail(ctx, key, "agent: 500", true))
	} else {
		is.NoErr(lease.Defer(ctx, key, "the agent is away", ledger.Wait{Due: time.Now().Add(time.Hour), Since: time.Now(), Tries: 3}, 0))
	}
	_, err = lease.HandOff(ctx, lease.Grant().Plan, true)
	is.NoErr(err)
}

// get reads something of the page's.
func (v *visitor) get(path string) (int, string) {
	v.t.Helper()
	resp, err := v.client.Get(v.base + path)
	is.New(v.t).NoErr(err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	is.New(v.t).NoErr(err)
	return resp.StatusCode, string(raw)
}

func TestWatchShowsADeployedGateway(t *testing.T) {
	is := is.New(t)
	s := newWatchedStack(t)
	s.keep(t, "k-dead", "It never came back", true)
	s.keep(t, "k-waits", "It is still away", false)
	at := time.Now().Add(-time.Hour)
	s.write("wake", at, `"message":"`+logs.Poke+`","method":"POST","ms":12,"requestId":"w-1"`)
	s.write("drain", at.Add(time.Second),
		`"type":"platform.start","record":{"requestId":"d-1"}`,
		`"message":"`+logs.Lease+`","reason":"wake","requestId":"d-1"`,
		`"message":"`+logs.Descriptor+`","requestId":"d-1"`,
		`"message":"`+logs.Journalled+`","delivery":"k-1","session":"s","message_id":"m-1","buffer_id":"b-1","requestId":"d-1"`,
		`"message":"`+logs.Turn+`","delivery":"k-1","attempt":1,"requestId":"d-1"`,
		`"message":"`+logs.Reply+`","delivery":"k-1","op":"send","request":"q-1","message_id":"m-2","requestId":"d-1"`,
		`"message":"`+logs.DrainEnded+`","report":{"status":"drained","received":1},"requestId":"d-1"`)
	s.write("drain", at.Add(30*time.Second),
		`"type":"platform.report","record":{"requestId":"d-1","status":"success","metrics":{"durationMs":29000.5,"initDurationMs":120.5}}`)

	cmd := start(t, "watch", "--stack", s.name, "--listen", "127.0.0.1:0")
	v := visit(t, cmd.until(pageURL)[1])
	v.until(`"kind":"drain"`, `"status":"drained"`, `"cold":true`, `"run_ms":29000.5`) // what Lambda bills
	v.until(`"kind":"way"`, `"key":"k-1"`, `"state":"answered"`)
	v.until(`"kind":"way"`, `"key":"k-dead"`, `"text":"It never came back"`, `"state":"dead"`)
	v.until(`"kind":"way"`, `"key":"k-waits"`, `"text":"It is still away"`, `"state":"waiting"`)
	v.until(`"kind":"books"`, `"key":"k-dead"`, `"reason":"agent: 500"`)
	v.until(`"kind":"settings"`, `DORMOUSE_IDLE_AFTER`, `the stack`)
	v.until(`"kind":"charts"`, `"title":"Messages received"`, `,7]`)
	v.until(`"kind":"now"`, `"word":"asleep"`)
	s.write("drain", time.Now(), `"message":"`+logs.Lease+`","reason":"schedule","requestId":"d-2"`) // while somebody looks
	v.until(`"kind":"drain"`, `"request":"d-2"`)
	for _, path := range []string{"api/do/retry", "api/do/drop", "api/do/enable"} { // it only shows
		req, err := http.NewRequest("POST", v.base+path, strings.NewReader(`{"keys":["k-dead"]}`))
		is.NoErr(err)
		req.Header.Set("Content-Type", "application/json")
		resp, err := v.client.Do(req)
		is.NoErr(err)
		resp.Body.Close()
		is.True(resp.StatusCode >= 400)
	}
	dead, err := s.book.ListDead(t.Context())
	is.NoErr(err)
	is.Equal(len(dead), 1)

	// A message is taken home.
	for key, text := range map[string]string{"k-dead": "It never came back", "k-waits": "It is still away"} {
		status, found := v.get("api/case/" + key)
		is.Equal(status, http.StatusOK)
		file := filepath.Join(t.TempDir(), "case.json")
		is.NoErr(os.WriteFile(file, []byte(found), 0o600))
		home := start(t, "dev", "--dir", t.TempDir(), "--listen", "127.0.0.1:0", "--case", file)
		visit(t, home.until(pageURL)[1]).until(`"kind":"message"`, fmt.Sprintf(`"text":%q`, text), `"bot":true`) // echo has answered it
		home.stop()
	}
	cmd.stop()
	is.True(!strings.Contains(cmd.out.String()+cmd.errs.String(), "canary"))
}

func TestWatchActsIfItMay(t *testing.T) {
	is := is.New(t)
	s := newWatchedStack(t)
	s.keep(t, "k-1", "one", true)
	s.keep(t, "k-2", "two", true)
	cmd := start(t, "watch", "--stack", s.name, "--listen", "127.0.0.1:0", "--act")
	v := visit(t, cmd.until(pageURL)[1])
	v.until(`"kind":"page"`, `"retry"`)
	v.do("retry", map[string]any{"keys": []string{"k-1"}})
	is.Equal(s.invoked.Load(), int64(1)) // drain looks now
	v.do("drop", map[string]any{"keys": []string{"k-2"}})
	dead, err := s.book.ListDead(t.Context())
	is.NoErr(err)
	is.Equal(len(dead), 0)
	pending, err := s.book.ListPending(t.Context())
	is.NoErr(err)
	is.Equal(len(pending), 1)
	v.do("enable", map[string]any{})
	v.until(`"kind":"books"`, `"pending":1`, `"dead":[]`)
}

func TestWatchSaysWhatItCannotRead(t *testing.T) {
	is := is.New(t)
	code, _, errs := dormouse(t.Context(), "watch")
	is.Equal(code, exitMisuse)
	is.True(strings.Contains(errs, "--stack"))
	code, _, errs = dormouse(t.Context(), "watch", "--stack", "x", "--since", "yesterday")
	is.Equal(code, exitMisuse)
	is.True(strings.Contains(errs, "yesterday"))
	s := newWatchedStack(t)
	code, _, errs = dormouse(t.Context(), "watch", "--stack", s.name, "--listen", "0.0.0.0:0")
	is.Equal(code, exitMisuse)
	is.True(strings.Contains(errs, "loopback"))
}

func TestAPlatformLineIsAnEventOfLambdas(t *testing.T) {
	is := is.New(t)
	at := time.Date(2026, 11, 27, 12, 0, 30, 0, time.UTC)
	line := func(text string) logged { return logged{function: "drain", text: text, at: at} }
	e, ok := platformEvent(line(`{"time":"2026-11-27T12:00:29.5Z","type":"platform.report","record":{"requestId":"r","status":"timeout","metrics":{"durationMs":900000,"billedDurationMs":900000}}}`))
	is.True(ok)
	is.Equal(e.At, at.Add(-500*time.Millisecond))
	is.Equal(e.Result.FunctionError, "Unhandled")
	is.True(!e.Result.Cold)
	is.Equal(e.Result.Began, e.At.Add(-15*time.Minute))
	for _, text := range []string{`{"type":"platform.runtimeDone","record":{"requestId":"r"}}`, `{"message":"lease","requestId":"r"}`, "REPORT RequestId: r", `{"type":"platform.report"}`} {
		_, ok := platformEvent(line(text))
		is.True(!ok)
	}
}
