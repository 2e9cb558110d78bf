package turn_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// room is a chat that shows what its connector is told.
type room struct {
	mu       sync.Mutex
	ids      int
	posts    []roomPost
	idle     []string                                // edits that left their message as it was
	nameless bool                                    // no send gets an id
	refuse   func(out relay.Outbound) *relay.OpError // nil: nothing is refused
}

type roomPost struct{ id, text string }

func (r *room) do(_ context.Context, out relay.Outbound) (relay.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		if refusal := r.refuse(out); refusal != nil {
			return relay.Result{Error: refusal.Message}, refusal
		}
	}
	content, _ := out.Action["content"].(string)
	at := slices.IndexFunc(r.posts, func(p roomPost) bool { return p.id != "" && p.id == out.Action["message_id"] })
	switch op := out.Action.Op(); {
	case op == "send", op == "send_media":
		r.ids++
		id := fmt.Sprint("id-", r.ids)
		if r.nameless {
			id = ""
		}
		r.posts = append(r.posts, roomPost{id, content})
		return relay.Result{Success: true, MessageID: id}, nil
	case at < 0:
		return relay.Result{}, &relay.OpError{Message: "message not found"}
	case op == "edit":
		if r.posts[at].text == content {
			r.idle = append(r.idle, content)
		}
		r.posts[at].text = content
	case op == "delete":
		r.posts = slices.Delete(r.posts, at, at+1)
	}
	return relay.Result{Success: true}, nil
}

// head is the id of the first message with words that begin so, "" if it has none.
func (r *room) head(prefix string) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.posts {
		if strings.HasPrefix(p.text, prefix) && p.id != "" {
			return p.id
		}
	}
	return nil
}

var counted = regexp.MustCompile(`\s*\(\d+/\d+\)$`)

// shows is what the chat shows, message by message and without counters.
func (r *room) shows() (texts []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.posts {
		texts = append(texts, counted.ReplaceAllString(p.text, ""))
	}
	return texts
}

// isOver says whether a word is one of those that parts get which are over.
func isOver(word string) bool { return word == "(see" || word == "above)" }

func (r *room) words() []string { return strings.Fields(strings.Join(r.shows(), " ")) }

// count is n words with a letter of their own.
func count(letter string, n int) string {
	var words []string
	for i := range n {
		words = append(words, fmt.Sprint(letter, i))
	}
	return strings.Join(words, " ")
}

// without is allOps without some.
func without(ops ...string) []string {
	return slices.DeleteFunc(slices.Clone(allOps), func(op string) bool { return slices.Contains(ops, op) })
}

func TestAnEditChangesThePartsOfItsMessage(t *testing.T) {
	long, longer, short := count("w", 60), count("w", 90), count("w", 40)
	tests := map[string]struct {
		ops     []string // nil: all
		actions []relay.Action
		want    []string // the words of all messages
		posts   int
	}{
		"a text that grows":              {nil, []relay.Action{send(long), edit(longer)}, []string{longer}, 5},
		"a text that grows a lot":        {nil, []relay.Action{send("w0"), edit(longer)}, []string{longer}, 5},
		"one that shrinks":               {nil, []relay.Action{send(longer), edit(short)}, []string{short}, 2},
		"shrinks where nothing goes":     {without("delete"), []relay.Action{send(longer), edit(short)}, []string{short}, 5},
		"shrinks to a word":              {without("delete"), []relay.Action{send(long), edit("w0")}, []string{"w0", "(see above)", "(see above)"}, 3},
		"one with others in between":     {nil, []relay.Action{send(long), {"op": "react", "emoji": "+1"}, edit(longer)}, []string{longer}, 5},
		"the newest of two":              {nil, []relay.Action{send(long), send("x"), edit("y")}, []string{long, "y"}, 4},
		"a message that is gone":         {nil, []relay.Action{send("x"), send(long), {"op": "delete"}, edit("y")}, []string{"y"}, 1},
		"twice":                          {nil, []relay.Action{send("w0"), edit(long), edit(longer), edit(short)}, []string{short}, 2},
		"shrinks and grows again":        {without("delete"), []relay.Action{send(long), edit("w0"), edit(longer)}, []string{longer}, 5},
		"no edits offered":               {without("edit"), []relay.Action{send("x"), edit("x y"), edit("x y z")}, []string{"x", "x y z"}, 2},
		"no edits and a long text":       {without("edit"), []relay.Action{send("x"), edit(long)}, []string{"x", long}, 4},
		"no edits, and another message":  {without("edit"), []relay.Action{send("x"), edit("y"), {"op": "react", "emoji": "+1"}}, []string{"x", "y"}, 2},
		"a message that there is not":    {nil, []relay.Action{edit("x"), edit("y")}, []string{"y"}, 1},
		"and a long text":                {nil, []relay.Action{edit(long)}, []string{long}, 3},
		"and one that came later":        {nil, []relay.Action{edit("x"), {"op": "react", "emoji": "+1"}, send("y")}, []string{"y"}, 1},
		"one that is not there any more": {nil, []relay.Action{send("x"), {"op": "delete"}, edit("y")}, []string{"y"}, 1},
		"no edits, deleted":              {without("edit"), []relay.Action{send("x"), edit("y"), {"op": "delete"}}, nil, 0},
	}
	for name, tt := range tests {
		for kind, answer := range map[string]agentFunc{"whole": says(tt.actions...), "stream": streamed(tt.actions...)} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				bubble(t, func(t *testing.T, b *bench) {
					is := is.New(t)
					var r room
					b.wire.limit, b.wire.do, b.agent = 100, r.do, answer
					if tt.ops != nil {
						b.wire.ops = tt.ops
					}
					w := b.start()
					defer w.Close()
					is.NoErr(w.Take(message("c1", "m1", "x")))
					idle(w)
					is.Equal(r.words(), strings.Fields(strings.Join(tt.want, " ")))
					is.Equal(len(r.posts), tt.posts)
					is.Equal(len(r.idle), 0)
					is.Equal(w.Counts().Finished, 1)
				})
			})
		}
	}
}

// Where a connector tells no message ids nothing can be edited, and what an edit has that is later edited again would be said
// twice.
func TestAWholeAnswerLeavesOutEditsThatAreVoid(t *testing.T) {
	react := relay.Action{"op": "react", "emoji": "+1"}
	tests := map[string]struct {
		actions []relay.Action
		want    []string
	}{
		"parts":              {[]relay.Action{send("w0"), edit(count("w", 60)), edit(count("w", 90))}, []string{"w0", count("w", 90)}},
		"others in between":  {[]relay.Action{send("a"), edit(count("w", 60)), react, edit("b")}, []string{"a", "b"}},
		"a delete at last":   {[]relay.Action{send("a"), edit(count("w", 60)), {"op": "delete"}}, []string{"a"}},
		"two messages":       {[]relay.Action{send("a"), edit("b"), send("c"), edit("d"), edit("e")}, []string{"a", "b", "c", "e"}},
		"one that never was": {[]relay.Action{edit("b"), edit(count("w", 60))}, []string{count("w", 60)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				r := room{nameless: true}
				b.wire.limit, b.wire.do, b.agent = 100, r.do, says(tt.actions...)
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				is.Equal(r.words(), strings.Fields(strings.Join(tt.want, " ")))
				is.Equal(w.Counts().Finished, 1)
			})
		})
	}
}

// What a part's counter says is put right once, at the end: as a reply grows, each further part would cost an edit of all
// that are there, and chats are throttled. If that cannot be done, the words are there all the same.
func TestCountersArePutRightOnce(t *testing.T) {
	var grows []relay.Action
	for n := range 20 {
		grows = append(grows, edit(count("w", 20+10*n)))
	}
	actions := slices.Concat([]relay.Action{send("w0")}, grows)
	for _, refused := range []bool{false, true} {
		for kind, answer := range map[string]agentFunc{"whole": says(actions...), "stream": slowly(actions...)} {
			t.Run(fmt.Sprint(kind, ", refused ", refused), func(t *testing.T) {
				bubble(t, func(t *testing.T, b *bench) {
					is := is.New(t)
					r := room{}
					counts := 0
					r.refuse = func(out relay.Outbound) *relay.OpError {
						content, _ := out.Action["content"].(string)
						for _, p := range r.posts {
							if out.Action.Op() != "edit" || p.id != out.Action["message_id"] ||
								counted.ReplaceAllString(p.text, "") != counted.ReplaceAllString(content, "") {
								continue
							}
							counts++
							if refused {
								return &relay.OpError{Message: "Too Many Requests: retry after 2"}
							}
						}
						return nil
					}
					b.wire.limit, b.wire.do, b.agent = 100, r.do, answer
					w := b.start()
					defer w.Close()
					is.NoErr(w.Take(message("c1", "m1", "x")))
					idle(w)
					is.Equal(strings.Join(r.words(), " "), count("w", 210)) // each word once
					is.True(counts <= len(r.posts))
					n := len(r.posts)
					for i, p := range r.posts {
						is.True(refused || strings.HasSuffix(p.text, fmt.Sprintf("(%d/%d)", i+1, n)))
					}
				})
			})
		}
	}
}

func TestALastEditThatCannotBeMadeIsSentOnceAsAMessage(t *testing.T) {
	refuse := func(message string) func(relay.Outbound) *relay.OpError {
		return func(out relay.Outbound) *relay.OpError {
			if out.Action.Op() == "edit" {
				return &relay.OpError{Message: message}
			}
			return nil
		}
	}
	first := func(n int) func(relay.Outbound) *relay.OpError { // the first n edits are refused
		return func(out relay.Outbound) *relay.OpError {
			if out.Action.Op() != "edit" || n == 0 {
				return nil
			}
			n--
			return &relay.OpError{Message: "Too Many Requests"}
		}
	}
	actions := []relay.Action{send("a"), edit("a b"), edit("a b c"), {"op": "react", "emoji": "+1"}, edit("a b c d")}
	tests := map[string]struct {
		room *room
		want []string
	}{
		"no id":          {&room{nameless: true}, []string{"a", "a b c d"}},
		"not found":      {&room{refuse: refuse("message to edit not found")}, []string{"a", "a b c d"}},
		"throttled":      {&room{refuse: refuse("Too Many Requests: retry after 1")}, []string{"a", "a b c d"}},
		"nobody knows":   {&room{refuse: refuse("something odd")}, []string{"a", "a b c d"}},
		"may be there":   {&room{refuse: refuse("the request timed out")}, []string{"a"}},
		"later it may":   {&room{refuse: first(1)}, []string{"a b c d"}},
		"not modified":   {&room{refuse: refuse("message is not modified")}, []string{"a"}},
		"declined":       {&room{refuse: refuse("egress declined: not yours")}, []string{"a"}},
		"nothing is bad": {&room{}, []string{"a b c d"}},
	}
	for name, tt := range tests {
		for kind, answer := range map[string]agentFunc{"whole": says(actions...), "stream": streamed(actions...)} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				bubble(t, func(t *testing.T, b *bench) {
					is := is.New(t)
					r := &room{nameless: tt.room.nameless, refuse: tt.room.refuse}
					b.wire.do, b.agent = r.do, answer
					w := b.start()
					defer w.Close()
					is.NoErr(w.Take(message("c1", "m1", "x")))
					idle(w)
					is.Equal(r.shows(), tt.want)
					is.Equal(w.Counts().Dead == 1, name == "declined")
				})
			})
		}
	}
}

// A throttled edit is not repeated while its pause lasts. The newest text is edited in behind it, or sent if that is long.
func TestThrottledEditsWaitForTheirPause(t *testing.T) {
	for pause, want := range map[int][]string{5: {"20"}, 44: {"20"}, 300: {"0", "20"}} {
		t.Run(fmt.Sprint(pause), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				until := time.Now().Add(2 * time.Hour) // of the clock before the run
				asked := 0
				r := room{refuse: func(out relay.Outbound) *relay.OpError {
					if out.Action.Op() != "edit" {
						return nil
					}
					if asked++; asked == 1 {
						until = time.Now().Add(time.Duration(pause) * time.Second)
						return &relay.OpError{Message: fmt.Sprint("Too Many Requests: retry after ", pause)}
					}
					is.True(!time.Now().Before(until))
					return nil
				}}
				b.wire.do = r.do
				b.agent = streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
					say(send("0"))
					for i := range 20 {
						say(edit(fmt.Sprint(i + 1)))
						time.Sleep(500 * time.Millisecond)
					}
					return nil
				})
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				is.Equal(r.shows(), want)
			})
		})
	}
}

// So does the last edit of a message in a whole answer.
func TestAThrottledEditOfAWholeAnswerIsMadeAfterItsPause(t *testing.T) {
	for pause, want := range map[int][]string{1: {"ab"}, 44: {"ab"}, 300: {"a", "ab"}} {
		for times, shows := range map[int][]string{1: want, 99: {"a", "ab"}} {
			t.Run(fmt.Sprint(pause, "s, ", times), func(t *testing.T) {
				bubble(t, func(t *testing.T, b *bench) {
					is := is.New(t)
					asked, until := 0, time.Time{}
					r := room{refuse: func(out relay.Outbound) *relay.OpError {
						if out.Action.Op() != "edit" {
							return nil
						}
						is.True(!time.Now().Before(until))
						if asked++; asked > times {
							return nil
						}
						until = time.Now().Add(time.Duration(pause) * time.Second)
						return &relay.OpError{Message: fmt.Sprint("Too Many Requests: retry after ", pause)}
					}}
					b.wire.do = r.do
					b.agent = says(send("a"), edit("ab"))
					w := b.start()
					defer w.Close()
					is.NoErr(w.Take(message("c1", "m1", "x")))
					idle(w)
					is.Equal(r.shows(), shows)
					is.Equal(w.Counts().Finished, 1)
				})
			})
		}
	}
}

// What follows the delete of the only message is a new one.
func TestAnEditAfterADeleteIsSentAsAMessage(t *testing.T) {
	both(t, []relay.Action{send("a"), {"op": "delete"}, edit("b")}, func(is *is.I, b *bench) {
		is.Equal(to(b, "c1"), []string{"send a", "delete <nil>", "send b"})
	})
}

// A platform may number the messages of each chat.
func TestAnIdIsOneOfItsChat(t *testing.T) {
	in := func(chat, text string) relay.Action {
		return relay.Action{"op": "edit", "chat_id": chat, "message_id": "5", "content": text}
	}
	both(t, []relay.Action{in("c1", "a"), in("c2", "a"), in("c1", "b"), in("c2", "a")}, func(is *is.I, b *bench) {
		seen := to(b, "c1")
		is.Equal(seen[len(seen)-1], "edit b") // a whole answer has no need of the first one
		is.Equal(to(b, "c2"), []string{"edit a"})
	})
}

// A message that is refused for good makes its delivery dead. Put back, the answer is sent as the agent gave it.
func TestAnEditOfARefusedMessageIsKeptForARetry(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		r := room{refuse: func(relay.Outbound) *relay.OpError { return &relay.OpError{Message: "missing permission"} }}
		b.wire.do, b.agent = r.do, says(send("a"), edit("b"))
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		w.Close()
		is.Equal(w.Counts().Dead, 1)
		is.Equal(len(b.wire.outs), 1) // the text of the edit does not go out
		dead, err := b.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.NoErr(b.ledger.RetryDead(t.Context(), dead[0].Key, false))
		r.refuse = nil
		w = b.start()
		defer w.Close()
		idle(w)
		is.Equal(r.shows(), []string{"b"})
		is.Equal(w.Counts().Finished, 1)
	})
}

// Of a whole answer the text is kept in the edit's place: a death before it has left loses nothing, and one after it
// repeats nothing.
func TestATextInsteadOfAnEditIsKeptFirst(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		r := room{nameless: true}
		b.agent = says(send("a"), edit("b"))
		var requests []string
		b.wire.do = func(ctx context.Context, out relay.Outbound) (relay.Result, error) {
			if out.Action["content"] == "b" {
				requests = append(requests, out.RequestID)
				if len(requests) == 1 { // no socket
					<-ctx.Done()
					return relay.Result{}, context.Cause(ctx)
				}
			}
			return r.do(ctx, out)
		}
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		synctest.Wait()
		b.crash()
		w = b.start()
		defer w.Close()
		idle(w)
		is.Equal(r.shows(), []string{"a", "b"})
		is.Equal(len(requests), 2)
		is.Equal(requests[0], requests[1])
	})
}

func TestAStreamThatBrokeIsGoneOnWithInItsParts(t *testing.T) {
	for _, die := range []bool{false, true} {
		t.Run(fmt.Sprint("a death ", die), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				var r room
				var told [][]agent.Sent
				b.wire.limit, b.wire.do = 100, r.do
				b.change = func(c *turn.Config) { c.AgentTimeout = 24 * time.Hour }
				b.agent = streams(func(ctx context.Context, tn agent.Turn, say func(relay.Action) bool) error {
					told = append(told, tn.Delivery.Sent)
					if len(told) == 1 {
						say(send(count("w", 60)))
						say(edit(count("w", 70)))
						time.Sleep(time.Minute)
						say(relay.Action{"op": "react", "emoji": "+1"})
						if die {
							<-ctx.Done()
							return context.Cause(ctx)
						}
						return errors.New("agent: reading the answer: connection reset")
					}
					say(relay.Action{"op": "edit", "message_id": tn.Delivery.Sent[0].MessageID, "content": count("w", 90)})
					return nil
				})
				w := b.start()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				time.Sleep(2 * time.Minute)
				if die {
					b.crash()
					b.start()
				}
				idle(b.current)
				is.Equal(told[1], []agent.Sent{{Op: "send", MessageID: "id-1", Outcome: "ok"}}) // the message, not its parts
				is.Equal(strings.Join(r.words(), " "), count("w", 90))
				is.Equal(b.current.Counts().Finished, 1)
				b.current.Close()
			})
		})
	}
}

// heading is what all words of a message begin with.
type heading string

// script is a random answer, and what the chat is to show of it.
type script struct {
	actions []relay.Action
	want    [][]string // the words of each message, in order
}

// randomScript makes messages that grow, shrink and, if they may be deleted, go. unique has every text consist of words of
// its own. A message_id that is a heading stands for the id of the message whose words begin so.
func randomScript(r *rand.Rand, unique, mayDelete, mayName bool) (s script) {
	version := 0
	text := func(letter string) string {
		version++
		if unique {
			letter = fmt.Sprint(letter, "v", version, "w")
		}
		return count(letter, 1+r.IntN(60))
	}
	letters := 0
	var mine []string // the letter of each message
	for range 2 + r.IntN(10) {
		n := len(mine)
		switch choice := r.IntN(10); {
		case n == 0 || choice < 3:
			letter := fmt.Sprintf("m%02d-", letters)
			letters++
			content := text(letter)
			mine = append(mine, letter)
			s.want = append(s.want, strings.Fields(content))
			s.actions = append(s.actions, send(content))
		case choice < 6:
			content := text(mine[n-1])
			s.want[n-1] = strings.Fields(content)
			s.actions = append(s.actions, edit(content))
		case choice < 8 && mayName:
			i := r.IntN(n)
			content := text(mine[i])
			s.want[i] = strings.Fields(content)
			a := edit(content)
			a["message_id"] = heading(mine[i])
			s.actions = append(s.actions, a)
		case choice < 9 || !mayDelete:
			s.actions = append(s.actions, relay.Action{"op": "react", "emoji": "+1"})
		default:
			mine, s.want = mine[:n-1], s.want[:n-1]
			s.actions = append(s.actions, relay.Action{"op": "delete"})
		}
	}
	return s
}

func headOf(word string) string { return word[:strings.IndexByte(word, '-')+1] }

// What a chat shows in the end is word for word what the agent said last of each message. If edits are refused, the last
// text of each message is there once all the same.
func TestAChatShowsWhatWasSaidLast(t *testing.T) {
	for seed := range uint64(400) {
		synctest.Test(t, func(t *testing.T) { checkShown(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func checkShown(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	refusals, floods := seed%4 == 3, seed%7 == 6 && seed%4 != 3
	ops, isStream := allOps, seed%2 == 1
	if seed%5 == 4 {
		ops = without("delete")
	}
	r := room{nameless: refusals && rnd.IntN(4) == 0}
	s := randomScript(rnd, refusals, seed%5 != 4, isStream && seed%3 == 0 && !r.nameless && !floods)
	if refusals {
		r.refuse = func(out relay.Outbound) *relay.OpError {
			if out.Action.Op() == "edit" && rnd.IntN(2) == 0 {
				return &relay.OpError{Message: "message cannot be edited"}
			}
			return nil
		}
	}
	if floods { // nothing may be said for some seconds
		r.refuse = func(out relay.Outbound) *relay.OpError {
			if out.Action.Op() == "send" && rnd.IntN(3) == 0 {
				return &relay.OpError{Code: "rate_limited", Message: fmt.Sprint("retry after ", 1+rnd.IntN(12))}
			}
			return nil
		}
	}
	b := newBench(t, durable(ledger.NewMemory()))
	b.change = func(c *turn.Config) { c.AgentTimeout = 24 * time.Hour }
	b.wire.ops, b.wire.limit, b.wire.do = ops, 60+rnd.IntN(300), r.do
	gap := time.Duration(rnd.IntN(3000)) * time.Millisecond
	b.agent = says(s.actions...)
	if isStream {
		b.agent = streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
			for _, a := range s.actions {
				if h, ok := a["message_id"].(heading); ok {
					time.Sleep(time.Minute) // its message is there by now
					a["message_id"] = r.head(string(h))
				}
				say(a)
				time.Sleep(gap)
			}
			return nil
		})
	}
	w := b.start()
	if err := w.Take(message("c1", "m1", "x")); err != nil {
		t.Fatal(err)
	}
	idle(w)
	w.Close()
	turns, runs := w.Counts().Turns, 0
	for ; w.Counts().Finished == 0 && w.Counts().Left > 0 && runs < 100; runs++ { // in flood control for long
		w = b.start()
		idle(w)
		w.Close()
		turns += w.Counts().Turns
	}
	if c := w.Counts(); c.Finished != 1 || turns != 1 {
		t.Fatalf("it is not finished: %+v", w.Counts())
	}
	got := slices.DeleteFunc(r.words(), isOver)
	if refusals {
		for _, message := range s.want {
			for _, word := range message {
				if n := len(slices.DeleteFunc(slices.Clone(got), func(g string) bool { return g != word })); n != 1 {
					t.Fatalf("%s is there %d times\n%q\n%q", word, n, r.shows(), s.actions)
				}
			}
		}
		return
	}
	// A message that grows when others have followed goes on behind them, so the words of each are looked at by themselves.
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(headOf(a), headOf(b)) })
	if want := slices.Concat(s.want...); !slices.Equal(got, want) {
		t.Fatalf("the chat shows\n%q\nwant\n%q\n%q", r.shows(), want, s.actions)
	}
	if len(r.idle) > 0 && runs == 0 { // another process does not know what they show
		t.Fatalf("edits that change nothing: %q", r.idle)
	}
}

// An agent that is told what is in the chat goes on where its stream broke: each message that is there gets its last text,
// the others are sent. No word is there twice, whether the process lives on or not.
func TestABrokenStreamIsGoneOnWith(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) { checkGoneOnWith(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func checkGoneOnWith(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 2))
	s := randomScript(rnd, false, false, false)
	die, gap, breaks := seed%2 == 0, time.Duration(rnd.IntN(3000))*time.Millisecond, rnd.IntN(len(s.actions)+1)
	var r room
	b := newBench(t, durable(ledger.NewMemory()))
	b.wire.ops, b.wire.limit, b.wire.do = allOps, 60+rnd.IntN(300), r.do
	if seed%3 == 0 {
		b.wire.ops = without("delete")
	}
	b.change = func(c *turn.Config) { c.AgentTimeout = 24 * time.Hour }
	attempts := 0
	b.agent = streams(func(ctx context.Context, tn agent.Turn, say func(relay.Action) bool) error {
		if attempts++; attempts == 1 {
			for _, a := range s.actions[:breaks] {
				say(a)
				time.Sleep(gap)
			}
			if die {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return errors.New("agent: reading the answer: connection reset")
		}
		for i, words := range s.want {
			a := send(strings.Join(words, " "))
			if i < len(tn.Delivery.Sent) {
				a = edit(strings.Join(words, " "))
				a["message_id"] = tn.Delivery.Sent[i].MessageID
			}
			say(a)
			time.Sleep(gap)
		}
		return nil
	})
	w := b.start()
	if err := w.Take(message("c1", "m1", "x")); err != nil {
		t.Fatal(err)
	}
	if die {
		time.Sleep(time.Minute)
		b.crash()
		w = b.start()
	}
	idle(w)
	w.Close()
	got := slices.DeleteFunc(r.words(), isOver)
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(headOf(a), headOf(b)) })
	if want := slices.Concat(s.want...); w.Counts().Finished != 1 || !slices.Equal(got, want) {
		t.Fatalf("%+v: the chat shows\n%q\nwant\n%q\nbroken at %d of\n%q", w.Counts(), r.shows(), want, breaks, s.actions)
	}
	if len(r.idle) > 0 && !die {
		t.Fatalf("edits that change nothing: %q", r.idle)
	}
}

// What has been edited is not edited again by the next run, which would say it as a message if that were refused.
func TestAnEditThatWasMadeIsNotMadeAgainByTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.wire.ops = allOps
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
			return agent.Answer{Actions: []relay.Action{send("a"), edit("ab"), send("c")}}, nil
		})
		broken := true
		b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
			switch {
			case out.Action["content"] == "c" && broken:
				return relay.Result{}, errors.New("no socket")
			case out.Action.Op() == "edit" && !broken:
				return relay.Result{}, &relay.OpError{Message: "message can't be edited"}
			}
			return relay.Result{Success: true, MessageID: "m"}, nil
		}
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		pass(time.Minute)
		w.Close()
		is.Equal(b.wire.seen(), []string{"send c1 a", "edit c1 ab", "send c1 c"})
		broken = false
		w = b.start()
		defer w.Close()
		pass(time.Minute)
		is.Equal(b.wire.seen()[3:], []string{"send c1 c"})
		is.Equal(len(b.unfinished()), 0)
	})
}
