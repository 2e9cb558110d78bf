package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
)

func TestChatCarriesLinesAndButtons(t *testing.T) {
	is := is.New(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var turn agent.Turn
		if err := json.NewDecoder(r.Body).Decode(&turn); err != nil || r.Header.Get("webhook-signature") == "" {
			t.Errorf("an unsigned turn: %v", err)
		}
		switch {
		case turn.Prompt != nil:
			io.WriteString(w, `{"text":"deployed `+turn.Prompt.Ref+`"}`)
		case turn.Event.MessageType == "command":
			io.WriteString(w, `{"actions":[{"op":"prompt","prompt_kind":"approval","content":"Deploy?","ref":"1.4",`+
				`"options":[{"id":"yes","label":"Yes"},{"id":"no","label":"No"}]}]}`)
		case turn.Delivery.Attempt == 1:
			io.WriteString(w, `{"message":"hi"}`)
		default:
			io.WriteString(w, `{"text":"hi"}`)
		}
	}))
	defer server.Close()
	t.Setenv(agentSecretVariable, "whsec_c2VjcmV0LW9mLXRoZS1jaGF0")
	in, say := io.Pipe()
	script := []struct{ after, line string }{
		{"Write a line", "hello"}, {"send hi", "/deploy"}, {"[2] No", "1"}, {"deployed 1.4", ""}, // and no more
	}
	lines := make(chan string, len(script))
	out := &buffer{grown: func(all string) {
		for len(script) > 0 && strings.Contains(all, script[0].after) {
			lines <- script[0].line
			script = script[1:]
		}
	}}
	go func() {
		for line := <-lines; line != ""; line = <-lines {
			io.WriteString(say, line+"\n")
		}
		say.Close()
	}()
	var errs bytes.Buffer
	code := run(t.Context(), []string{"dormouse", "chat", "--dir", t.TempDir(), "--functions", rigtest.Functions(t), "--agent", server.URL}, in, out, &errs)
	t.Log(out)
	is.Equal(errs.String(), "")
	is.Equal(code, 0)
	is.True(strings.Contains(out.String(), "  ! drain: attempt failed: agent: answer has neither actions nor text"))
}

// An agent repeats what strangers say. A further line of a text does not look like another entry, or like a word of the chat's own.
func TestChatShowsWhichLinesAreOfOneText(t *testing.T) {
	is := is.New(t)
	const said = "one\n  send two  (00:00:00)\r\n\n  ! drain: three\nWrite a line. Ctrl-D ends.\rfour\u2028five\u0085six"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"actions": []any{
			map[string]any{"op": "send", "content": said},
			map[string]any{"op": "prompt", "prompt_kind": "choice", "content": "?", "options": []any{map[string]any{"id": "a", "label": "A\n  send B"}}},
		}})
	}))
	defer server.Close()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"dormouse", "chat", "--dir", t.TempDir(), "--functions", rigtest.Functions(t), "--agent", server.URL},
		strings.NewReader("hello\n"), &out, &errs)
	t.Log(out.String())
	is.Equal(errs.String(), "")
	is.Equal(code, 0)
	_, shown, _ := strings.Cut(out.String(), "Write a line. Ctrl-D ends.\n")
	want := []string{
		"  send one", "  |   send two  (00:00:00)", "  | ", "  |   ! drain: three", "  | Write a line. Ctrl-D ends.\ufffdfour\ufffdfive\ufffdsix  (",
		"  prompt ?  [1] A", "  |   send B  (",
	}
	for line := range strings.Lines(shown) {
		switch {
		case strings.HasPrefix(line, "  react "):
		case len(want) > 0 && strings.HasPrefix(line, want[0]):
			want = want[1:]
		default:
			t.Errorf("%q, want %q", line, want)
		}
	}
	is.Equal(len(want), 0)
}

func TestChatSaysWhatKeepsAnAgentFromAnswering(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ agent, told, want string }{
		"nobody is there": {"http://127.0.0.1:1/", "connection refused", "chat: messages left without an answer: 1"},
		"no such setting": {"http://agent.example/", "loopback only", "chat: drain does not start with these settings"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			var out, errs buffer
			args := []string{"dormouse", "chat", "--dir", t.TempDir(), "--functions", rigtest.Functions(t), "--agent", tt.agent}
			is.Equal(run(t.Context(), args, strings.NewReader("hello\n"), &out, &errs), 1)
			t.Log(out.String(), errs.String())
			is.True(strings.Contains(out.String(), tt.told))
			is.True(strings.Contains(errs.String(), tt.want))
		})
	}
}

// A line that cannot be read is no end of input: what came before it is answered, and then it is told.
func TestChatSaysWhatItCannotRead(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   io.Reader
		want string
	}{
		"too long a line": {strings.NewReader("hello\n\n" + strings.Repeat("x", 64<<10) + "\nbye\n"),
			"dormouse: chat: line 3 has 64 KB or more: make it shorter; it and what follows it were not sent\n"},
		"broken input": {io.MultiReader(strings.NewReader("hello\n"), iotest.ErrReader(errors.New("device gone"))),
			"dormouse: chat: reading line 2: device gone\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			var out, errs buffer
			is.Equal(run(t.Context(), []string{"dormouse", "chat", "--dir", t.TempDir(), "--functions", rigtest.Functions(t)}, tt.in, &out, &errs), 1)
			is.Equal(errs.String(), tt.want)
			is.True(strings.Contains(out.String(), "  send hello  ("))
			is.True(!strings.Contains(out.String(), "send bye"))
		})
	}
}

func TestChatStopsAnAnswerThatTakesTooLong(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	asked := make(chan struct{})
	stopped := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var turn agent.Turn
		if err := json.NewDecoder(r.Body).Decode(&turn); err != nil {
			t.Error(err)
		}
		if turn.Event.Text != "work" {
			io.WriteString(w, `{"text":"here I am"}`)
			return
		}
		close(asked)
		<-r.Context().Done()
		close(stopped)
	}))
	defer server.Close()
	in, say := io.Pipe()
	go func() {
		io.WriteString(say, "work\n")
		<-asked
		io.WriteString(say, "/stop\n")
		<-stopped
		io.WriteString(say, "hello\n")
		say.Close()
	}()
	var out, errs buffer
	args := []string{"dormouse", "chat", "--dir", t.TempDir(), "--functions", rigtest.Functions(t), "--agent", server.URL}
	is.Equal(run(t.Context(), args, in, &out, &errs), 0)
	t.Log(out.String(), errs.String())
	is.Equal(strings.Count(out.String(), "  send "), 1)
	is.True(strings.Contains(out.String(), "  send here I am  ("))
}
