package cases

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
)

// TestMisc has a case of each kind.
func TestMisc(t *testing.T) {
	for _, c := range load[json.RawMessage, json.RawMessage](t, "misc.json") {
		var named struct {
			Kind string `json:"kind"`
		}
		if err := json.Unmarshal(c.Given, &named); err != nil {
			t.Fatal(err)
		}
		kind, known := map[string]func(t *testing.T, id string, given, expect json.RawMessage){
			"upload": uploads, "terminal": terminal, "handshake": handshake,
		}[named.Kind]
		if !known {
			t.Fatalf("%s: kind %q is not known here", c.ID, named.Kind)
		}
		kind(t, c.ID, c.Given, c.Expect)
	}
}

// decode reads both halves of a case.
func decode(t *testing.T, id string, given, expect json.RawMessage, g, e any) {
	t.Helper()
	if err := strict(given, g); err != nil {
		t.Fatalf("%s: given: %v", id, err)
	}
	if err := strict(expect, e); err != nil {
		t.Fatalf("%s: expect: %v", id, err)
	}
}

func uploads(t *testing.T, id string, given, expect json.RawMessage) {
	var g struct {
		Kind       string          `json:"kind"`
		Descriptor descriptor      `json:"descriptor"`
		Event      json.RawMessage `json:"event"`
		Answer     object          `json:"agent_answers"`
		Upload     struct {
			Status int    `json:"status"`
			JSON   object `json:"json"`
		} `json:"upload_answer"`
	}
	var e struct {
		Uploads int               `json:"uploads"`
		Body    []byte            `json:"upload_body_base64"`
		Headers map[string]string `json:"upload_headers"`
		Name    struct {
			Matches string `json:"matches"`
			Ends    string `json:"ends_with"`
			AtMost  int    `json:"characters_at_most"`
		} `json:"x_media_filename"`
		Actions  []object `json:"actions"`
		Requests int      `json:"requests"`
	}
	decode(t, id, given, expect, &g, &e)
	inBubble(t, id, func(t *testing.T, kept store) (f faults) {
		s := &script{
			descriptors: []descriptor{g.Descriptor},
			frames:      []frame{inbound(g.Event, "b-1")},
			answer:      func(w http.ResponseWriter, _ *http.Request, _ *request) { say(w, g.Answer) },
			upload: func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(g.Upload.Status)
				_ = json.NewEncoder(w).Encode(g.Upload.JSON)
			},
		}
		o := s.play(t, kept)
		if len(o.uploads) != e.Uploads {
			f.addf("%d uploads, want %d", len(o.uploads), e.Uploads)
		}
		for _, u := range o.uploads {
			if !bytes.Equal(u.body, e.Body) {
				f.addf("an upload is %q, want %q", u.body, e.Body)
			}
			for name, want := range e.Headers {
				if got := u.header.Get(name); got != want {
					f.addf("an upload's %s is %q, want %q", name, got, want)
				}
			}
			name := latin1(u.header.Get("X-Media-Filename"))
			if !regexp.MustCompile(e.Name.Matches).MatchString(name) || !strings.HasSuffix(name, e.Name.Ends) ||
				len([]rune(name)) > e.Name.AtMost {
				f.addf("an upload's X-Media-Filename is %q", name)
			}
		}
		want := reply{Actions: e.Actions, Requests: &e.Requests}
		return append(f, want.check(o, g.Descriptor.unit)...)
	})
}

// latin1 reads the bytes of a header as servers do.
func latin1(raw string) string {
	var b strings.Builder
	for i := range len(raw) {
		b.WriteRune(rune(raw[i]))
	}
	return b.String()
}

func handshake(t *testing.T, id string, given, expect json.RawMessage) {
	var g struct {
		Kind string   `json:"kind"`
		Says []string `json:"after_hello_the_connector_sends"`
		Then string   `json:"then"`
	}
	type end struct {
		Handshake string   `json:"handshake"`
		Told      []string `json:"error_or_log_contains"`
	}
	var e struct {
		AnyOf  []end `json:"any_of"`
		Within int   `json:"within_s"`
	}
	decode(t, id, given, expect, &g, &e)
	if g.Then != "nothing more, and the socket stays open" {
		t.Fatalf("%s: then %q is not known here", id, g.Then)
	}
	inBubble(t, id, func(t *testing.T, kept store) (f faults) {
		s := &script{descriptors: []descriptor{ordinary("discord")}, greet: g.Says}
		o := s.play(t, kept)
		done := o.reports[0].MS.Descriptor
		within := time.Duration(e.Within) * time.Second
		for _, want := range e.AnyOf {
			if want.Handshake == "done" && done != nil && time.Duration(*done)*time.Millisecond <= within ||
				want.Handshake == "failed" && done == nil && told(o, want.Told, within) {
				return nil
			}
		}
		f.addf("no handshake, and nothing says why: %s", short(o.log))
		return f
	})
}

// told says whether one line of the log, or one error, names all of texts in time.
func told(o *outcome, texts []string, within time.Duration) bool {
	for _, r := range o.log {
		all := r.at <= within
		for _, text := range texts {
			all = all && strings.Contains(r.text, text)
		}
		if all {
			return true
		}
	}
	return false
}

// terminal runs the built chat command. It takes real time, but never waits for a back-off.
func terminal(t *testing.T, id string, given, expect json.RawMessage) {
	var g struct {
		Kind   string `json:"kind"`
		Typed  string `json:"typed"`
		Answer object `json:"agent_answers"`
	}
	var e struct {
		Contains []string  `json:"output_contains"`
		Lacks    [][2]rune `json:"output_lacks_code_points"`
		After    string    `json:"after"`
	}
	decode(t, id, given, expect, &g, &e)
	if e.After != "the reply has been printed" {
		t.Fatalf("%s: after %q is not known here", id, e.After)
	}
	t.Run(id, func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			say(w, g.Answer)
		}))
		defer server.Close()
		binary, functions := rigtest.Build(t, "cmd/dormouse"), rigtest.Functions(t) // may take long
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		chat := exec.CommandContext(ctx, binary, "chat", "--dir", t.TempDir(), "--functions", functions, "--agent", server.URL)
		chat.Stdin = strings.NewReader(g.Typed)
		out, err := chat.CombinedOutput() // the end of what is typed ends it once all is answered
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		judge(t, id, printed(string(out), e.Contains, e.Lacks))
	})
}

// printed says what is wrong with what was written to the terminal.
func printed(out string, contains []string, lacks [][2]rune) (f faults) {
	rest := out
	for _, text := range contains {
		_, after, found := strings.Cut(rest, text)
		if !found {
			f.addf("%q is not in what was printed, or not in its place: %q", text, out)
			break
		}
		rest = after
	}
	for _, r := range out {
		for _, control := range lacks {
			if r >= control[0] && r <= control[1] {
				f.addf("%U was printed", r)
			}
		}
	}
	return f
}
