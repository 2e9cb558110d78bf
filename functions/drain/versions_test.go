package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// versionAgo is the version before this one: what it left in the table is taken up, and it can take up what this one leaves.
const versionAgo = "a2ff5cc"

// versionsAgo are those that do not know sets.
var versionsAgo = []string{versionAgo, "0d429b9"}

// recorded is a table that the version before has left, with work in it; TestAnUpgradeWithWorkInTheTable writes it if
// DORMOUSE_TEST_RECORD is set.
const recorded = "testdata/table-of-a2ff5cc.json"

// A deployment replaces a version while it has work in the table: the one process dies, and another version's goes on. What
// the one before left, recorded, is taken up wherever this test runs; with both versions at hand, each takes up what the
// other one left.
func TestAnUpgradeWithWorkInTheTable(t *testing.T) {
	t.Run("recorded", func(t *testing.T) {
		t.Parallel()
		w := newWork(t)
		w.load(recorded)
		w.deploy("")
		w.isTakenUp()
	})
	for _, version := range versionsAgo {
		t.Run("both versions, "+version, func(t *testing.T) {
			t.Parallel()
			w, old := newWork(t), builtOf(t, version)
			w.deploy(old)
			w.leave()
			if version == versionAgo && os.Getenv("DORMOUSE_TEST_RECORD") != "" {
				w.record(recorded)
			}
			w.deploy("")
			w.isTakenUp()
		})
	}
}

func TestARollbackWithWorkInTheTable(t *testing.T) {
	t.Run("by its form", func(t *testing.T) {
		t.Parallel()
		w := newWork(t)
		w.deploy("")
		w.leave()
		w.hasTheFormOf(recorded)
	})
	for _, version := range versionsAgo {
		t.Run("both versions, "+version, func(t *testing.T) {
			t.Parallel()
			w, old := newWork(t), builtOf(t, version)
			w.deploy("")
			w.leave()
			w.deploy(old)
			w.isTakenUp()
		})
	}
}

// builtOf builds the drain of an earlier version from the history, where that is at hand.
func builtOf(t *testing.T, version string) (bootstrap string) {
	t.Helper()
	if exec.Command("git", "rev-parse", "--quiet", "--verify", version+"^{commit}").Run() != nil {
		t.Skipf("skipped: the history here does not reach back to %s, a version before (git fetch --unshallow)", version)
	}
	is := is.New(t)
	builtBefore.Lock()
	defer builtBefore.Unlock()
	cache, err := os.UserCacheDir()
	is.NoErr(err)
	dir := filepath.Join(cache, "dormouse", "version-"+version)
	tree, bin := filepath.Join(dir, "tree"), filepath.Join(dir, "bin")
	is.NoErr(os.MkdirAll(tree, 0o755))
	archive := exec.CommandContext(t.Context(), "sh", "-c", `git -C ../.. archive "$0" | tar -x -C "$1"`, version, tree)
	out, err := archive.CombinedOutput()
	if err != nil {
		t.Fatalf("unpacking %s: %v: %s", version, err, out)
	}
	is.NoErr(rig.Build(t.Context(), tree, bin, nil, "functions/drain"))
	return rig.Bootstrap(bin, "drain")
}

var builtBefore sync.Mutex

// work is a table with messages in every state, the connector that they came from, and an agent. Each message has a chat of
// its own, named after it, but for the one that waits behind another.
type work struct {
	t     *testing.T
	env   map[string]string
	table *dynamo.Ledger
	first *stack // whose connector all drains dial
	*stack

	mu     sync.Mutex
	atOnce bool // the connector hands out all that it has buffered
	leaves bool // the agent answers as the work needs it to be left; else it answers all
	asked  map[string][]agent.Turn
}

func newWork(t *testing.T) *work {
	w := &work{t: t, asked: map[string][]agent.Turn{}}
	w.env, w.table = onTable(t)
	server := httptest.NewServer(http.HandlerFunc(w.serveAgent))
	t.Cleanup(server.Close)
	w.env["DORMOUSE_AGENT"], w.env["DORMOUSE_APOLOGY"], w.env["DORMOUSE_MERGE"] = server.URL, "off", "off"
	return w
}

// deploy deploys a drain beside what there is.
func (w *work) deploy(bootstrap string) {
	env := map[string]string{}
	for name, value := range w.env {
		env[name] = value
	}
	anywhere := func(p *devconnector.Preset) {
		if p.Routing = devconnector.RouteAny; w.atOnce {
			atOnce(p)
		}
	}
	if w.first != nil {
		env["GATEWAY_RELAY_URL"] = w.first.host.ConnectorURL
	}
	w.stack = deploy(w.t, setup{env: env, drain: bootstrap, change: anywhere})
	if w.first == nil {
		w.first = w.stack
	}
	w.stack.Connector = w.first.Connector
}

// serveAgent answers by the message's id.
func (w *work) serveAgent(out http.ResponseWriter, r *http.Request) {
	var turn agent.Turn
	if err := json.NewDecoder(r.Body).Decode(&turn); err != nil {
		w.t.Error(err)
	}
	io.Copy(io.Discard, r.Body) // unless it is read, the server does not notice that the client is gone
	id := turn.Event.MessageID
	w.mu.Lock()
	w.asked[id] = append(w.asked[id], turn)
	leaves := w.leaves
	w.mu.Unlock()
	const waits = `{"op":"react","emoji":"+1"}` // the connector does not answer it while the work is made
	switch {
	case leaves && (id == "running" || id == "stopped" || id == "run-2" || id == ""):
		<-r.Context().Done() // until its process is killed, or the turn stopped
	case leaves && (id == "away" || id == "away-2"):
		out.WriteHeader(http.StatusTooManyRequests)
	case leaves && id == "refused":
		out.WriteHeader(http.StatusBadRequest)
	case id == "asks":
		io.WriteString(out, `{"actions":[{"op":"prompt","prompt_kind":"choice","content":"Sure?","options":[{"id":"y","label":"Yes"},{"id":"n","label":"No"}],"ref":"r-1"}]}`)
	case id == "half":
		fmt.Fprintf(out, `{"actions":[{"op":"send","content":"half one"},%s,{"op":"send","content":"half two"}]}`, waits)
	case id == "kept-2":
		fmt.Fprintf(out, `{"actions":[%s,{"op":"send","content":"answer to kept-2"}]}`, waits)
	case id == "kept":
		fmt.Fprintf(out, `{"actions":[%s,{"op":"send","content":"answer to kept"}]}`, waits)
	default:
		fmt.Fprintf(out, `{"text":"answer to %s"}`, id)
	}
}

func (w *work) turns(id string) []agent.Turn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked[id])
}

// pressed are the turns that a button has brought.
func (w *work) pressed() (list []agent.Turn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, turns := range w.asked {
		for _, turn := range turns {
			if turn.Prompt != nil {
				list = append(list, turn)
			}
		}
	}
	return list
}

func message(id, chat, text string) relay.Event {
	e := event(0, id)
	e.Source.ChatID, e.Source.ScopeID, e.Text = chat, "scope-of-"+chat, text
	return e
}

func (w *work) deliver(id string) {
	chat := id
	if id == "behind" {
		chat = "running"
	}
	w.Deliver(gateway, message(id, chat, eventText+" "+id))
}

// leave has the drain die with a message in each state: running, behind it, kept with an outcome and without, waiting for
// the agent, dead, asked about, stopped, answered.
func (w *work) leave() {
	w.t.Helper()
	is := is.New(w.t)
	w.leaves = true
	w.LeaveUnanswered("react", -1)
	for _, id := range []string{"answered", "asks", "refused", "away", "half", "kept", "stopped"} {
		w.deliver(id)
	}
	stop := message("stop", "stopped", "/stop")
	stop.MessageType = "command"
	w.Deliver(gateway, stop)
	w.deliver("running")
	w.deliver("behind")
	wait := w.start("wake")
	w.until(func() bool {
		counts := map[string]int{}
		for _, it := range w.items() {
			if state, ok := it["state"].(*types.AttributeValueMemberS); ok {
				counts[state.Value]++
			}
		}
		sent := replies(w.State())
		return counts["finished"] >= 4 && counts["dead"] == 1 && len(w.turns("running")) == 1 && len(w.turns("away")) > 0 &&
			slices.Contains(sent, "half one") && w.halted("half") && w.halted("kept") && len(w.State().Acks) == 10
	})
	is.NoErr(w.host.Kill(drainFunction))
	is.True(wait().FunctionError != "")
	w.LeaveUnanswered("react", 0)
	w.leaves = false
}

// halted says whether the answer in that chat waits for its react's result.
func (w *work) halted(chat string) bool {
	return slices.ContainsFunc(w.State().Outbounds, func(o devconnector.Outbound) bool { return o.Op == "react" && o.ChatID == chat })
}

func (w *work) until(ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			var states []string
			for _, it := range w.items() {
				states = append(states, plain(it["sk"])+" "+plain(it["state"])+" "+plain(it["error"]))
			}
			w.t.Fatalf("it does not come about: %d acks, sent %q, the table has %q", len(w.State().Acks), replies(w.State()), states)
		}
	}
}

// takenUp lets the version that there is now do what the table holds, and returns what was sent, by chat.
func (w *work) takenUp() map[string][]string {
	w.t.Helper()
	lapse(w.t, w.env["DORMOUSE_TABLE"])
	w.run("wake")
	w.until(func() bool {
		if w.open() > 0 {
			w.run("arm")
		}
		return w.open() == 0
	})
	sent := map[string][]string{}
	for _, o := range sends(w.State()) {
		sent[o.ChatID] = append(sent[o.ChatID], o.Content)
	}
	return sent
}

// isTakenUp runs the drain and looks at what becomes of each message.
func (w *work) isTakenUp() {
	w.t.Helper()
	is := is.New(w.t)
	earlier := len(w.turns("half")) + len(w.turns("kept")) + len(w.turns("answered"))
	var halves []string
	for _, o := range sends(w.State()) {
		if o.ChatID == "half" {
			halves = append(halves, o.Content)
		}
	}
	sent := w.takenUp()
	is.Equal(sent["running"], []string{"answer to running", "answer to behind"}) // in order
	is.Equal(sent["away"], []string{"answer to away"})
	is.Equal(sent["kept"], []string{"answer to kept"})
	is.Equal(sent["half"], append(halves, "half two")) // its first part had an outcome
	is.Equal(sent["stopped"], nil)
	is.Equal(sent["refused"], nil)
	is.Equal(len(w.turns("half"))+len(w.turns("kept"))+len(w.turns("answered")), earlier) // their answers were there

	// A question is answered in another version than the one that asked it.
	id := w.prompt()
	w.Forward(gateway, relay.Forward{Platform: "discord", Body: fmt.Appendf(nil,
		`{"id":"i1","type":3,"data":{"custom_id":"hp1:%s:y"},"channel_id":"asks","guild_id":"scope-of-asks",`+
			`"member":{"nick":"Ann","user":{"id":"discord-user"}}}`, id)})
	w.run("wake")
	pressed := w.pressed()
	is.Equal(len(pressed), 1)
	is.Equal(pressed[0].Prompt.OptionID, "y")
	is.Equal(pressed[0].Prompt.Ref, "r-1")

	// A dead one is put back, and one that was answered comes again.
	dead, err := w.table.ListDead(w.t.Context())
	is.NoErr(err)
	is.Equal(len(dead), 1)
	is.NoErr(w.table.RetryDead(w.t.Context(), dead[0].Key, false))
	asked := len(w.turns("answered"))
	w.deliver("answered")
	w.run("arm")
	is.Equal(len(w.turns("answered")), asked)
	is.Equal(replies(w.State())[len(replies(w.State()))-1], "answer to refused")
	is.Equal(w.open(), 0)
	is.Equal(w.Buffered(gateway), 0)
}

// hasTheFormOf compares what was left with what another version has recorded of the same messages: an item of this version has
// each attribute of the other's, in the same form, and may have more.
func (w *work) hasTheFormOf(file string) {
	w.t.Helper()
	mine := map[string]item{}
	for _, it := range w.items() {
		mine[it["sk"].(*types.AttributeValueMemberS).Value] = it
	}
	compared := 0
	for _, theirs := range readItems(w.t, file) {
		sk := theirs["sk"].(*types.AttributeValueMemberS).Value
		if !strings.HasPrefix(sk, "d#") {
			continue // the state has a lease, a question an id of its own
		}
		compared++
		for name, value := range theirs {
			if state := plain(mine[sk][name]); name == "state" && !slices.Contains(statesBefore, state) {
				w.t.Errorf("%s is %s: the version before has no such state", sk, state)
			}
			if fault := lacks(form(mine[sk][name]), form(value)); fault != "" {
				w.t.Errorf("%s, %s: %s: the version before would not read it", sk, name, fault)
			}
		}
	}
	if compared != 10 {
		w.t.Errorf("%s has %d messages", file, compared)
	}
}

// statesBefore are those that the version before knows.
var statesBefore = []string{"new", "running", "alone", "finished", "dead"}

var digits = regexp.MustCompile(`\d`)

// form is an attribute without its values: JSON as it is but for them, and of keys that sort the number of digits.
func form(value types.AttributeValue) any {
	var raw []byte
	switch v := value.(type) {
	case nil:
		return nil
	case *types.AttributeValueMemberB:
		raw = v.Value
	case *types.AttributeValueMemberS:
		raw = []byte(v.Value)
		if strings.HasPrefix(v.Value, "o#") || strings.HasPrefix(v.Value, "x#") {
			return "key " + digits.ReplaceAllString(v.Value, "0")
		}
	case *types.AttributeValueMemberL:
		list := []any{}
		for _, one := range v.Value {
			list = append(list, form(one))
		}
		return list
	default:
		return fmt.Sprintf("%T", v)
	}
	var content any
	if json.Unmarshal(raw, &content) != nil {
		return "text"
	}
	return content
}

// lacks says what of want is not in got.
func lacks(got, want any) string {
	switch want := want.(type) {
	case nil: // what had none may have one: an answer to which message, for one
		return ""
	case map[string]any:
		members, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("want an object, not %v", got)
		}
		for name, value := range want {
			if fault := lacks(members[name], value); fault != "" {
				return name + ": " + fault
			}
		}
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Sprintf("want a list of %d, not %v", len(want), got)
		}
		for i := range want {
			if fault := lacks(list[i], want[i]); fault != "" {
				return fmt.Sprintf("%d: %s", i, fault)
			}
		}
	case string:
		text, ok := got.(string)
		if !ok || strings.HasPrefix(want, "key ") && !strings.HasPrefix(text, want) {
			return fmt.Sprintf("want %q, not %v", want, got)
		}
	default:
		if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", want) {
			return fmt.Sprintf("want a %T, not %v", want, got)
		}
	}
	return ""
}

// prompt is the id of the question that was asked, as the table has it.
func (w *work) prompt() string {
	w.t.Helper()
	for _, it := range w.items() {
		if sk := it["sk"].(*types.AttributeValueMemberS).Value; strings.HasPrefix(sk, "p#") {
			return sk[2:]
		}
	}
	w.t.Fatal("no question is open")
	return ""
}

// open is how many messages are in no final state.
func (w *work) open() (n int) {
	for _, it := range w.items() {
		if open, ok := it["open"].(*types.AttributeValueMemberS); ok && strings.HasPrefix(open.Value, "o#") {
			n++
		}
	}
	return n
}

type item = map[string]types.AttributeValue

func (w *work) items() (list []item) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	name := w.env["DORMOUSE_TABLE"]
	consistent := true
	pages := dynamodb.NewScanPaginator(tableClient(w.t), &dynamodb.ScanInput{TableName: &name, ConsistentRead: &consistent})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		list = append(list, page.Items...)
	}
	return list
}

// record writes the table to a file.
func (w *work) record(file string) {
	var list []map[string]any
	for _, it := range w.items() {
		out := map[string]any{}
		for name, value := range it {
			out[name] = toJSON(value)
		}
		list = append(list, out)
	}
	slices.SortFunc(list, func(a, b map[string]any) int { return strings.Compare(fmt.Sprint(a["sk"]), fmt.Sprint(b["sk"])) })
	raw, err := json.MarshalIndent(list, "", "\t")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err == nil {
		err = os.WriteFile(file, append(raw, '\n'), 0o644)
	}
	is.New(w.t).NoErr(err)
}

// load fills the table from a file. What ends by itself ends tomorrow.
func (w *work) load(file string) {
	w.t.Helper()
	name, client := w.env["DORMOUSE_TABLE"], tableClient(w.t)
	for _, it := range readItems(w.t, file) {
		if it["expires"] != nil {
			it["expires"] = &types.AttributeValueMemberN{Value: strconv.FormatInt(time.Now().Add(24*time.Hour).Unix(), 10)}
		}
		if it["until"] != nil { // of an open question
			it["until"] = &types.AttributeValueMemberN{Value: strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10)}
		}
		_, err := client.PutItem(w.t.Context(), &dynamodb.PutItemInput{TableName: &name, Item: it})
		is.New(w.t).NoErr(err)
	}
}

func readItems(t *testing.T, file string) (items []item) {
	t.Helper()
	is := is.New(t)
	raw, err := os.ReadFile(file)
	is.NoErr(err)
	var list []map[string]map[string]any
	is.NoErr(json.Unmarshal(raw, &list))
	for _, in := range list {
		it := item{}
		for name, value := range in {
			it[name] = fromJSON(value)
		}
		items = append(items, it)
	}
	return items
}

func toJSON(value types.AttributeValue) map[string]any {
	switch v := value.(type) {
	case *types.AttributeValueMemberS:
		return map[string]any{"S": v.Value}
	case *types.AttributeValueMemberN:
		return map[string]any{"N": v.Value}
	case *types.AttributeValueMemberBOOL:
		return map[string]any{"BOOL": v.Value}
	case *types.AttributeValueMemberB:
		return map[string]any{"B": v.Value}
	case *types.AttributeValueMemberL:
		list := []any{}
		for _, one := range v.Value {
			list = append(list, toJSON(one))
		}
		return map[string]any{"L": list}
	case *types.AttributeValueMemberM:
		members := map[string]any{}
		for name, one := range v.Value {
			members[name] = toJSON(one)
		}
		return map[string]any{"M": members}
	}
	panic(fmt.Sprintf("no attribute of a table of ours is a %T", value))
}

func fromJSON(in map[string]any) types.AttributeValue {
	for kind, value := range in {
		switch kind {
		case "S":
			return &types.AttributeValueMemberS{Value: value.(string)}
		case "N":
			return &types.AttributeValueMemberN{Value: value.(string)}
		case "BOOL":
			return &types.AttributeValueMemberBOOL{Value: value.(bool)}
		case "B":
			var raw []byte
			if err := json.Unmarshal(fmt.Appendf(nil, "%q", value), &raw); err != nil {
				panic(err)
			}
			return &types.AttributeValueMemberB{Value: raw}
		case "L":
			list := &types.AttributeValueMemberL{}
			for _, one := range value.([]any) {
				list.Value = append(list.Value, fromJSON(one.(map[string]any)))
			}
			return list
		case "M":
			members := &types.AttributeValueMemberM{Value: item{}}
			for name, one := range value.(map[string]any) {
				members.Value[name] = fromJSON(one.(map[string]any))
			}
			return members
		}
	}
	panic("no attribute of a table of ours")
}
