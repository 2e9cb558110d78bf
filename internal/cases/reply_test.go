package cases

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// reply is what a case expects of one message and its answer.
type reply struct {
	Requests     *int           `json:"requests"`
	Actions      []object       `json:"actions"` // nil: not said
	First        object         `json:"first_action"`
	WithOp       map[string]int `json:"actions_with_op"`
	LaterOp      *string        `json:"later_actions_have_op"`
	AtMost       *int           `json:"content_at_most"`
	Words        *text          `json:"words_in_order"`
	Delivery     oneOf          `json:"delivery"`
	ErrorNames   *string        `json:"error_names"`
	ErrorIfDead  *string        `json:"error_names_if_dead"`
	AnyOf        []reply        `json:"any_of"`
	Chat         []text         `json:"chat"`
	ChatMessages *int           `json:"chat_messages"`
	ChatWords    *text          `json:"chat_words_in_order"`
	EditsWith    map[string]int `json:"edits_with_content"`
	NoIdleEdit   bool           `json:"no_edit_leaves_a_message_as_it_is"`
	Among        []text         `json:"contents_among"`
	Pause        *pause         `json:"pause_s"`
	Accepted     []string       `json:"accepted_contents"`
	Acked        *bool          `json:"acked"`
}

// oneOf is a string, or a list of those that are as good.
type oneOf []string

func (o *oneOf) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*o = oneOf{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(o))
}

// pause is the time from the first result to the second action.
type pause struct {
	From string  `json:"from"`
	To   string  `json:"to"`
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
}

func (p *pause) check(o *outcome, f *faults) {
	if p.From != "the first result" || p.To != "the second action" {
		f.addf("pause_s from %q to %q is not known here", p.From, p.To)
		return
	}
	if len(o.actions) < 2 {
		f.addf("no second action")
		return
	}
	if took := o.actions[1].at.Sub(o.actions[0].answered).Seconds(); took < p.Min || took > p.Max {
		f.addf("the second action came after %v s, want %v to %v", took, p.Min, p.Max)
	}
}

// check says what is not as expected.
func (e *reply) check(o *outcome, unit string) (f faults) {
	e.checkActions(o, unit, &f)
	e.checkChat(o, &f)
	if e.Requests != nil && *e.Requests != len(o.requests) {
		f.addf("%d requests to the agent, want %d", len(o.requests), *e.Requests)
	}
	if e.Delivery != nil && !slices.Contains(e.Delivery, o.delivery) {
		f.addf("the delivery is %s (%s), want %v", o.delivery, o.fault, e.Delivery)
	}
	if e.ErrorNames != nil && !strings.Contains(o.fault, *e.ErrorNames) {
		f.addf("the error is %q, want %q in it", o.fault, *e.ErrorNames)
	}
	if e.ErrorIfDead != nil && o.delivery == "dead" && !strings.Contains(o.fault, *e.ErrorIfDead) {
		f.addf("the error is %q, want %q in it", o.fault, *e.ErrorIfDead)
	}
	if e.Acked != nil && *e.Acked != (len(o.acked) > 0) {
		f.addf("acked are %q", o.acked)
	}
	if e.Pause != nil {
		e.Pause.check(o, &f)
	}
	return append(f, least(e.AnyOf, func(e *reply) faults { return e.check(o, unit) })...)
}

// least returns no faults if one of the alternatives has none, else those of all.
func least[E any](alternatives []E, check func(*E) faults) (all faults) {
	for i := range alternatives {
		found := check(&alternatives[i])
		if len(found) == 0 {
			return nil
		}
		all = append(all, found...)
	}
	return all
}

func (e *reply) checkActions(o *outcome, unit string, f *faults) {
	if e.Actions != nil {
		if fault := matchActions(e.Actions, o.actions); fault != "" {
			f.addf("%s", fault)
		}
	}
	if e.First != nil {
		var first map[string]any
		if len(o.actions) > 0 {
			first = o.actions[0].body
		}
		if fault := match(e.First, first); fault != "" {
			f.addf("the first action: %s", fault)
		}
	}
	e.checkOps(o, f)
	e.checkContents(o, unit, f)
}

func (e *reply) checkOps(o *outcome, f *faults) {
	for op, want := range e.WithOp {
		if got := count(o.actions, func(a *action) bool { return a.op == op }); got != want {
			f.addf("%d actions are %s, want %d", got, op, want)
		}
	}
	if e.LaterOp != nil {
		for i, a := range o.actions {
			if i > 0 && a.op != *e.LaterOp {
				f.addf("a later action is %s, want %s", a.op, *e.LaterOp)
			}
		}
	}
	for content, want := range e.EditsWith {
		if got := count(o.actions, func(a *action) bool { return a.op == "edit" && a.body["content"] == content }); got != want {
			f.addf("%d edits have the content %q, want %d", got, content, want)
		}
	}
}

func (e *reply) checkContents(o *outcome, unit string, f *faults) {
	contents := o.contents()
	for _, content := range contents {
		if e.AtMost != nil && units(content, unit) > *e.AtMost {
			f.addf("a content has %d %s, want at most %d", units(content, unit), unit, *e.AtMost)
		}
		if e.Among != nil && !slices.Contains(e.Among, text(content)) {
			f.addf("a content is %q", content)
		}
	}
	if e.Words != nil && !sameWords(contents, *e.Words) {
		f.addf("the words are not those of the answer: %s", short(contents))
	}
	if e.Accepted != nil {
		var accepted []string
		for _, a := range o.actions {
			if content, _ := a.body["content"].(string); a.op == "send" && a.accepted() {
				accepted = append(accepted, content)
			}
		}
		if !slices.Equal(accepted, e.Accepted) {
			f.addf("accepted are %q, want %q", accepted, e.Accepted)
		}
	}
}

func (e *reply) checkChat(o *outcome, f *faults) {
	chat, idle := show(o.actions)
	if e.Chat != nil && !slices.EqualFunc(e.Chat, chat, func(want text, got string) bool { return string(want) == got }) {
		f.addf("the chat shows %s, want %s", short(chat), short(e.Chat))
	}
	if e.ChatMessages != nil && *e.ChatMessages != len(chat) {
		f.addf("the chat has %d messages, want %d", len(chat), *e.ChatMessages)
	}
	if e.ChatWords != nil && !sameWords(chat, *e.ChatWords) {
		f.addf("the chat does not have exactly the words of the answer: %s", short(chat))
	}
	if e.NoIdleEdit && idle != "" {
		f.addf("an edit leaves its message as it is: %q", idle)
	}
}

// show is what the chat shows in the end; idle is the content of an edit that changed nothing.
func show(actions []*action) (chat []string, idle string) {
	type message struct {
		id      any
		content string
	}
	var messages []message
	for _, a := range actions {
		content, _ := a.body["content"].(string)
		content = uncounted(content)
		at := slices.IndexFunc(messages, func(m message) bool { return m.id != nil && m.id == a.body["message_id"] })
		switch {
		case !a.accepted():
		case a.op == "send":
			messages = append(messages, message{a.result["message_id"], content})
		case a.op == "edit" && at >= 0:
			if messages[at].content == content {
				idle = content
			}
			messages[at].content = content
		case a.op == "delete" && at >= 0:
			messages = slices.Delete(messages, at, at+1)
		}
	}
	for _, m := range messages {
		chat = append(chat, m.content)
	}
	return chat, idle
}

func count(actions []*action, ok func(*action) bool) (n int) {
	for _, a := range actions {
		if ok(a) {
			n++
		}
	}
	return n
}

// inbound is the frame of an event.
func inbound(event json.RawMessage, bufferID string) frame {
	raw, err := json.Marshal(map[string]any{"type": "inbound", "bufferId": bufferID, "event": event})
	if err != nil {
		panic(err)
	}
	return newFrame(0, string(raw)+"\n")
}

func TestAnswers(t *testing.T) {
	type given struct {
		Descriptor descriptor      `json:"descriptor"`
		Event      json.RawMessage `json:"event"`
		Response   struct {
			Status  int               `json:"status"`
			Headers map[string]string `json:"headers"`
			Body    string            `json:"body"`
			Base64  []byte            `json:"body_base64"`
			JSON    object            `json:"json"`
		} `json:"response"`
	}
	for _, c := range load[given, reply](t, "answers.json") {
		inBubble(t, c.ID, func(t *testing.T, kept store) faults {
			response := c.Given.Response
			body := append([]byte(response.Body), response.Base64...)
			if response.JSON != nil {
				var err error
				if body, err = json.Marshal(response.JSON); err != nil {
					t.Fatal(err)
				}
			}
			s := &script{
				descriptors: []descriptor{c.Given.Descriptor},
				frames:      []frame{inbound(c.Given.Event, "b-1")},
				answer: func(w http.ResponseWriter, _ *http.Request, _ *request) {
					for name, value := range response.Headers {
						w.Header().Set(name, value)
					}
					w.WriteHeader(response.Status)
					_, _ = w.Write(body)
				},
			}
			return c.Expect.check(s.play(t, kept), c.Given.Descriptor.unit)
		})
	}
}

func TestStreams(t *testing.T) {
	type given struct {
		Descriptor descriptor      `json:"descriptor"`
		Event      json.RawMessage `json:"event"`
		Answer     object          `json:"answer"`
		Stream     struct {
			Type  string   `json:"content_type"`
			Lines []object `json:"lines"`
			Gap   int      `json:"gap_ms"`
			Body  string   `json:"body"`
		} `json:"stream"`
		Results map[string]object `json:"results"`
	}
	for _, c := range load[given, reply](t, "streams.json") {
		inBubble(t, c.ID, func(t *testing.T, kept store) faults {
			s := &script{
				descriptors: []descriptor{c.Given.Descriptor},
				frames:      []frame{inbound(c.Given.Event, "b-1")},
				result: func(a *action, _ int) any {
					if result, ok := c.Given.Results[a.op]; ok {
						return map[string]any(result)
					}
					return nil
				},
				answer: func(w http.ResponseWriter, r *http.Request, _ *request) {
					if c.Given.Answer != nil {
						say(w, c.Given.Answer)
						return
					}
					w.Header().Set("Content-Type", c.Given.Stream.Type)
					_, _ = w.Write([]byte(c.Given.Stream.Body))
					for _, line := range c.Given.Stream.Lines {
						raw, err := json.Marshal(line)
						if err != nil {
							t.Error(err)
						}
						_, _ = w.Write(append(raw, '\n'))
						_ = http.NewResponseController(w).Flush()
						select {
						case <-time.After(time.Duration(c.Given.Stream.Gap) * time.Millisecond):
						case <-r.Context().Done():
							return
						}
					}
				},
			}
			return c.Expect.check(s.play(t, kept), c.Given.Descriptor.unit)
		})
	}
}

// say answers with v as JSON.
func say(w http.ResponseWriter, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(raw)
}

func TestRefusals(t *testing.T) {
	type given struct {
		Descriptor descriptor      `json:"descriptor"`
		Event      json.RawMessage `json:"event"`
		BufferID   string          `json:"buffer_id"`
		Answer     object          `json:"agent_answers"`
		Results    []object        `json:"results_of_send"`
	}
	for _, c := range load[given, reply](t, "refusals.json") {
		inBubble(t, c.ID, func(t *testing.T, kept store) faults {
			s := &script{
				descriptors: []descriptor{c.Given.Descriptor},
				frames:      []frame{inbound(c.Given.Event, c.Given.BufferID)},
				result: func(a *action, n int) any {
					if a.op != "send" {
						return nil
					}
					if n >= len(c.Given.Results) {
						return map[string]any{"success": false, "error": "the case has no result for this send"}
					}
					return map[string]any(c.Given.Results[n])
				},
				answer: func(w http.ResponseWriter, _ *http.Request, _ *request) { say(w, c.Given.Answer) },
			}
			return c.Expect.check(s.play(t, kept), c.Given.Descriptor.unit)
		})
	}
}
