package ledgertest

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// said is an entry for a content of message m, as it comes under a buffer id. A content in capitals is marked as an edit.
func said(content, buffer string) ledger.Entry {
	e := entry("key-of-" + strings.ToLower(content))
	e.Message, e.Buffer, e.Edit = "m", buffer, content != strings.ToLower(content)
	e.Body = json.RawMessage(fmt.Sprintf("%q", content))
	return e
}

// saying is a content, a blank, and the buffer id.
func saying(s string) ledger.Entry {
	content, buffer, _ := strings.Cut(s, " ")
	return said(content, buffer)
}

// states are deliveries of one message, and which of them are new.
func states(t *testing.T, is *is.I, s Subject) {
	for name, tt := range map[string]struct{ come, fresh string }{
		"a repeat":                               {"a, a", "yn"},
		"a repeat under its buffer id":           {"a 1, a 1", "yn"},
		"a repeat under another buffer id":       {"a 1, a 2", "yn"},
		"live, and then buffered":                {"a, a 1, b 2, a 1", "ynyn"}, // the second is known by its buffer id, too
		"an edit":                                {"a, b", "yy"},
		"an edit back":                           {"a 1, b, a", "yyy"},
		"an edit back, buffered":                 {"a 1, b 2, a 3", "yyy"},
		"an edit back, and a repeat":             {"a 1, b 2, a 3, a 3, a 4, a", "yyynnn"},
		"back and forth":                         {"a, b, a, b, a, b", "yyyyyy"},
		"repeats, whatever came since":           {"a 1, b 2, c 3, a 1, b 2", "yyynn"},
		"repeats of what came back":              {"a 1, b 2, a 3, b 4, c 5, a 3, b 4, a 1, b 2", "yyyyynnnn"},
		"live is no repeat of an earlier state":  {"a, b, c, a", "yyyy"},
		"what says that it is an edit":           {"a 1, A 2", "yy"},
		"the same edit again":                    {"a 1, A 2, A 2", "yyn"},
		"edits to the same content":              {"a 1, A 2, A 3, A 2, A 3, A 4", "yyynny"},
		"a live edit to the same content":        {"a 1, A", "yn"},
		"an edit that changes something":         {"a, B, A", "yyy"},
		"a buffer id that names another content": {"a 1, b 1, a 1", "yyn"},
		"an edit back is the last state now":     {"a, b, a, b 1, a 2, a 3", "yyyyyn"},
	} {
		for _, at := range []string{"one by one", "in one call"} {
			g := mustAcquire(t, s, ledger.Arm)
			var entries []ledger.Entry
			for i, come := range strings.Split(tt.come, ", ") {
				e := saying(come)
				e.Message += name + at
				e.Key, e.Seq = fmt.Sprint(e.Key, name, at), int64(i)
				entries = append(entries, e)
			}
			var found []ledger.State
			var err error
			if at == "in one call" {
				found, err = g.Receive(t.Context(), entries...)
				is.NoErr(err)
			} else {
				for i := range entries {
					one, err := g.Receive(t.Context(), entries[i:i+1]...)
					is.NoErr(err)
					found = append(found, one...)
				}
			}
			var fresh string
			keys := map[string]bool{}
			for i, state := range found {
				switch {
				case state == "":
					fresh += "y"
					is.True(!keys[entries[i].Key]) // each has a key of its own
				default:
					fresh += "n"
					is.Equal(state, ledger.New)
					is.True(keys[entries[i].Key]) // that of what it repeats
				}
				keys[entries[i].Key] = true
			}
			if fresh != tt.fresh {
				t.Errorf("%s, %s: %s: found new: %s, want %s", name, at, tt.come, fresh, tt.fresh)
			}
			left, err := Recover(t.Context(), g)
			is.NoErr(err)
			is.Equal(len(left), len(keys))
			for i, e := range left {
				is.True(i == 0 || left[i-1].Seq < e.Seq)
				is.NoErr(g.Finish(t.Context(), e.Key))
			}
			_, err = g.HandOff(t.Context(), g.Grant().Plan, true)
			is.NoErr(err)
		}
	}
}

// stateKeys is what is known of a state under which key, across runs and once it is finished.
func stateKeys(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	receive := func(what string) (string, ledger.State) {
		t.Helper()
		list := []ledger.Entry{saying(what)}
		found, err := g.Receive(ctx, list...)
		is.NoErr(err)
		return list[0].Key, found[0]
	}
	end := func(key string) {
		t.Helper()
		is.NoErr(g.Finish(ctx, key))
		_, err := g.HandOff(ctx, g.Grant().Plan, true)
		is.NoErr(err)
		g = mustAcquire(t, s, ledger.Continue)
	}
	a, found := receive("a 1")
	is.Equal(found, ledger.State(""))
	is.Equal(a, "key-of-a") // what comes first keeps its key
	end(a)
	b, _ := receive("b 2")
	is.Equal(b, "key-of-b")
	end(b)
	again, found := receive("a 3")
	is.Equal(found, ledger.State(""))
	is.True(again != a)
	is.Equal(again, ledger.StateKey(a, 3))
	is.NoErr(g.Start(ctx, again, ledger.Running))
	repeat, found := receive("a")
	is.Equal(repeat, again)
	is.Equal(found, ledger.Running)
	end(again)
	for what, key := range map[string]string{"a 1": a, "b 2": b, "a 3": again} {
		repeat, found = receive(what)
		is.Equal(repeat, key)
		is.Equal(found, ledger.Finished)
	}
	_, err := g.Receive(ctx, ledger.Entry{Key: "c", Message: "m", State: ledger.Dead, Error: "no event"})
	is.NoErr(err)
	is.NoErr(g.Fail(ctx, func() string { key, _ := receive("d"); return key }(), "refused", true))
	key, found := receive("d 9")
	is.Equal(key+string(found), "key-of-d"+string(ledger.Dead))
}

// statesAtOnce are many receipts at the same time: of each state one is new.
func statesAtOnce(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh := map[string]int{}
	const copies, contents, messages = 3, 3, 4
	for i := range copies * contents * messages {
		wg.Go(func() {
			content := string(rune('a' + i%contents))
			e := said(content, "b-"+content)
			e.Message = fmt.Sprint("m", i/contents%messages)
			e.Key += e.Message
			e.Seq = int64(i)
			other := entry(fmt.Sprint("other-", i))
			other.Seq = int64(1000 + i)
			list := []ledger.Entry{other, e}
			found, err := g.Receive(ctx, list...)
			if err != nil || found[0] != "" {
				t.Errorf("receive: %v %v", found, err)
				return
			}
			if err := g.Finish(ctx, other.Key); err != nil {
				t.Errorf("finish: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if found[1] == "" {
				fresh[list[1].Key]++
			}
		})
	}
	wg.Wait()
	is.Equal(len(fresh), contents*messages)
	for _, n := range fresh {
		is.Equal(n, 1)
	}
}
