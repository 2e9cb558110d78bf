package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/matryer/is"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const signingSecret = "whsec_Y2FuYXJ5LW9mLXRoZS1zaWduYXR1cmU="

func TestTheSigningSecretIsReadFromItsStore(t *testing.T) {
	stores := map[string]struct{ arn, endpoint, answer string }{
		"parameter": {
			"arn:aws:ssm:us-east-1:123456789012:parameter/agent", "AWS_ENDPOINT_URL_SSM",
			`{"Parameter":{"Name":"/agent","Type":"SecureString","Value":"` + signingSecret + `"}}`,
		},
		"secret": {
			"arn:aws:secretsmanager:us-east-1:123456789012:secret:agent-AbCdEf", "AWS_ENDPOINT_URL_SECRETS_MANAGER",
			`{"Name":"agent","SecretString":"` + signingSecret + `"}`,
		},
	}
	for name, tt := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			verifier, err := standardwebhooks.NewWebhook(signingSecret)
			is.NoErr(err)
			reads := make(chan string, 9)
			store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				reads <- r.Header.Get("X-Amz-Target")
				w.Header().Set("Content-Type", "application/x-amz-json-1.1")
				io.WriteString(w, tt.answer)
			}))
			t.Cleanup(store.Close)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if err := verifier.Verify(body, r.Header); err != nil {
					t.Error(err)
				}
				io.WriteString(w, `{"text":"verified"}`)
			}))
			t.Cleanup(server.Close)
			s := deploy(t, setup{canaries: []string{signingSecret}, env: map[string]string{
				"DORMOUSE_AGENT": server.URL, "DORMOUSE_AGENT_SECRET_ARN": tt.arn, tt.endpoint: store.URL,
			}})
			s.Deliver(gateway, event(0, "m1"))
			s.Deliver(gateway, event(1, "m2"))
			s.run("wake")
			is.Equal(replies(s.State()), []string{"verified", "verified"})
			is.Equal(len(reads), 1) // and kept
		})
	}
}

func TestASignedStreamReachesTheChatAsItComes(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const secret = signingSecret
	verifier, err := standardwebhooks.NewWebhook(secret)
	is.NoErr(err)
	seen := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := verifier.Verify(body, r.Header); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		fmt.Fprintln(w, `{"op":"send","content":"Let me see"}`)
		http.NewResponseController(w).Flush()
		select {
		case <-seen:
		case <-r.Context().Done():
		}
		for i := range 20 { // faster than any platform bears
			fmt.Fprintf(w, "{\"op\":\"edit\",\"content\":\"Let me see %d\"}\n", i)
		}
	}))
	t.Cleanup(server.Close)
	s := deploy(t, setup{canaries: []string{secret}, env: map[string]string{
		"DORMOUSE_AGENT": server.URL, "DORMOUSE_AGENT_SECRET": secret,
	}})
	s.Deliver(gateway, event(0, "m1"))
	wait := s.start("wake")
	s.await(func(st devconnector.State) bool { return len(sends(st)) == 1 }) // the stream is still open
	close(seen)
	out := wait()
	is.Equal(out.Status, drain.Drained)
	is.Equal(out.Dead, 0)
	var edits []string
	for _, o := range s.State().Outbounds {
		if o.Op == "edit" {
			is.Equal(o.Action["message_id"], "m-1")
			edits = append(edits, o.Content)
		}
	}
	is.True(len(edits) < 5)
	is.Equal(edits[len(edits)-1], "Let me see 19")
	is.Equal(s.Buffered(gateway), 0)
}

// The session keys are the reference's: one Slack channel in two workspaces is two conversations, and so are two Discord
// channels of one guild.
func TestAnInterruptEndsOneOfTwoRunningTurns(t *testing.T) {
	tests := map[string]struct{ one, other session }{
		"slack workspaces": {
			session{relay.Source{Platform: "slack", ChatID: "C1", ChatType: "channel", UserID: "U1", ScopeID: "T1", ThreadID: "1700.1"},
				"agent:main:slack:channel:T1:C1:1700.1"},
			session{relay.Source{Platform: "slack", ChatID: "C1", ChatType: "channel", UserID: "U1", ScopeID: "T2", ThreadID: "1700.1"},
				"agent:main:slack:channel:T2:C1:1700.1"},
		},
		"discord channels": {
			session{relay.Source{Platform: "discord", ChatID: "c1", ChatType: "group", UserID: "u1", ScopeID: "g1"},
				"agent:main:discord:group:c1:u1"},
			session{relay.Source{Platform: "discord", ChatID: "c2", ChatType: "group", UserID: "u1", ScopeID: "g1"},
				"agent:main:discord:group:c2:u1"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			type started struct{ id, key string }
			running, cancelled, finish := make(chan started, 3), make(chan string, 3), make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var turn agent.Turn
				if err := json.NewDecoder(r.Body).Decode(&turn); err != nil {
					t.Error(err)
				}
				id := turn.Event.MessageID
				running <- started{id, turn.SessionKey}
				select {
				case <-r.Context().Done():
					cancelled <- id
				case <-finish:
					fmt.Fprintf(w, `{"text":"answer to %s"}`, id)
				}
			}))
			t.Cleanup(server.Close)
			s := deploy(t, setup{env: map[string]string{"DORMOUSE_AGENT": server.URL}})
			wait := s.start("wake")
			s.await(connected)
			s.Deliver(gateway, tt.one.message("m1"))
			s.Deliver(gateway, tt.other.message("m2"))
			both := []started{<-running, <-running} // side by side
			slices.SortFunc(both, func(a, b started) int { return strings.Compare(a.id, b.id) })
			is.Equal(both, []started{{"m1", tt.one.key}, {"m2", tt.other.key}})
			s.Deliver(gateway, tt.one.message("m3"))   // queued behind the first
			s.await(func(st devconnector.State) bool { // it shows typing, as m1 has
				n := 0
				for _, o := range st.Outbounds {
					if o.Op == "typing" && o.ChatID == tt.one.source.ChatID && o.Metadata["scope_id"] == tt.one.source.ScopeID {
						n++
					}
				}
				return n > 1
			})
			is.Equal(s.Interrupt(tt.one.key, tt.one.source.ChatID), 1)
			is.Equal(<-cancelled, "m1") // its request is cancelled
			is.Equal(<-running, started{"m3", tt.one.key})
			is.Equal(len(cancelled), 0) // the other runs on, and what was queued has its turn
			close(finish)
			out := wait()
			is.Equal(out.Status, drain.Drained)
			is.Equal(sorted(replies(s.State())), []string{"answer to m2", "answer to m3"})
			is.Equal(out.Turns, 3)
			is.Equal(out.Dead, 0)
			is.Equal(len(cancelled), 0)
		})
	}
}

// session is a chat, with what its turns are to be named by.
type session struct {
	source relay.Source
	key    string
}

func (s session) message(id string) relay.Event {
	return relay.Event{Text: eventText, MessageType: "text", MessageID: id, Source: s.source}
}

func TestSessionKeysAreTheReferences(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	raw, err := os.ReadFile("../../pkg/relay/testdata/session_keys.json")
	is.NoErr(err)
	var vectors struct {
		Cases []struct {
			Source  map[string]any
			Options map[string]any
			Key     string
			Quirk   bool
		}
	}
	is.NoErr(json.Unmarshal(raw, &vectors))
	var mu sync.Mutex
	keys := map[string]string{} // by message id
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var turn agent.Turn
		if err := json.NewDecoder(r.Body).Decode(&turn); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		keys[turn.Event.MessageID] = turn.SessionKey
	}))
	t.Cleanup(server.Close)
	s := deploy(t, setup{env: map[string]string{"DORMOUSE_AGENT": server.URL}})
	want := map[string]string{}
	for n, c := range vectors.Cases {
		platform, thread := c.Source["platform"], c.Source["thread_id"]
		if platform != "discord" && (platform != "slack" || thread == nil) || len(c.Options) > 0 || c.Quirk {
			continue // a top-level Slack message opens a thread before its key is made (below)
		}
		id := fmt.Sprint("m", n)
		event, err := json.Marshal(map[string]any{"text": eventText, "message_id": id, "source": c.Source})
		is.NoErr(err)
		s.DeliverRaw(gateway, event)
		want[id] = c.Key
	}
	is.True(len(want) > 15)
	for scope, key := range map[string]string{"T1": "agent:main:slack:channel:T1:C1:T1-top", "T2": "agent:main:slack:channel:T2:C1:T2-top"} {
		s.Deliver(gateway, session{source: relay.Source{Platform: "slack", ChatID: "C1", ChatType: "channel", UserID: "U1", ScopeID: scope}}.message(scope+"-top"))
		want[scope+"-top"] = key
	}
	is.Equal(s.run("wake").Acked, len(want))
	is.Equal(keys, want)
}

func TestInteractionsBecomeTurns(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var mu sync.Mutex
	var got []*relay.Event
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var turn agent.Turn
		if err := json.NewDecoder(r.Body).Decode(&turn); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, turn.Event)
		io.WriteString(w, `{"actions":[{"op":"follow_up","content":"done"}]}`)
	}))
	t.Cleanup(server.Close)
	s := deploy(t, setup{env: map[string]string{"DORMOUSE_AGENT": server.URL}})
	for _, body := range []string{
		`{"id":"i1","type":2,"data":{"name":"deploy","options":[{"type":3,"name":"what","value":"1.4"}]},` + inThread,
		`{"id":"i2","type":3,"data":{"custom_id":"more"},` + inThread,
		`{"id":"i3","type":5,"data":{"custom_id":"report","components":[{"type":18,"component":{"type":4,"custom_id":"what","value":"a\nb"}}]},` + inThread,
		`{"id":"i4","type":3,"data":{"custom_id":"hp1:abcdef.12345678:yes"},` + inThread, // of another gateway's
		`[]`,
	} {
		s.Forward(gateway, relay.Forward{Platform: "discord", Method: "POST", Path: "/interactions", Body: []byte(body)})
	}
	s.Forward(gateway, relay.Forward{Platform: "telegram", Method: "POST", Path: "/hook", Body: []byte("{}")})
	out := s.run("wake")
	is.Equal(out.Acked, 6) // whatever became of them
	is.Equal(out.Turns, 3)
	is.Equal(s.Buffered(gateway), 0)
	for n, text := range []string{"/deploy 1.4", "more", "what=a\nb"} {
		is.Equal(got[n].Text, text)
		is.Equal(got[n].SessionKey(), "agent:main:discord:thread:t1:t1") // that of messages in the thread
	}
	is.Equal(got[2].Metadata, &relay.Metadata{CustomID: "report", Fields: []relay.Field{{CustomID: "what", Value: "a\nb"}}})
	followUps := said(s.State())
	is.Equal(len(followUps), 3) // and no notice
	for _, o := range followUps {
		is.Equal(o.Action["kind"], "discord.interaction_token") // without any token
		is.Equal(o.Action["session_key"], "agent:main:discord:thread:t1:t1")
		is.Equal(o.Platform, "discord")
		is.True(o.Result.Success)
	}
}

// inThread ends the body of an interaction.
const inThread = `"guild_id":"g1","channel_id":"t1","channel":{"type":11,"parent_id":"c1"},"member":{"user":{"id":"u1","username":"ann"}}}`

func TestALambdaAgentAnswers(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var mu sync.Mutex
	var paths []string
	lambda := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var turn agent.Turn
		json.NewDecoder(r.Body).Decode(&turn)
		mu.Lock()
		defer mu.Unlock()
		paths = append(paths, r.URL.Path)
		if len(paths) == 1 {
			w.Header().Set("X-Amzn-ErrorType", "TooManyRequestsException")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		fmt.Fprintf(w, `{"text":"answer to %s"}`, turn.Event.MessageID)
	}))
	t.Cleanup(lambda.Close)
	s := deploy(t, setup{env: map[string]string{
		"DORMOUSE_AGENT": "lambda:my-agent", "AWS_ENDPOINT_URL_LAMBDA": lambda.URL,
	}})
	s.Deliver(gateway, event(0, "m1"))
	out := s.run("wake")
	is.Equal(out.Turns, 1) // the throttle was no attempt
	is.Equal(replies(s.State()), []string{"answer to m1"})
	is.Equal(len(slices.Compact(paths)), 1)
	is.Equal(paths[0], "/2015-03-31/functions/my-agent/invocations")
}
