package cases

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// conversation is what a case expects of frames that come one after another.
type conversation struct {
	Turns           []string `json:"turn_texts"`
	Acked           []string `json:"acked"`
	Sends           []string `json:"sends"`
	Cancelled       []string `json:"cancelled"`
	CancelledBefore int      `json:"cancelled_before_ms"`
	Told            []object `json:"turns"` // what counts of each
}

func (e *conversation) check(o *outcome) (f faults) {
	if got := o.texts(); !slices.Equal(got, e.Turns) {
		f.addf("turns are %q, want %q", got, e.Turns)
	}
	for i, want := range e.Told {
		if i >= len(o.requests) {
			break
		}
		if fault := match(want, o.requests[i].turn); fault != "" {
			f.addf("turn %d: %s", i, fault)
		}
	}
	if !slices.Equal(o.acked, e.Acked) {
		f.addf("acked are %q, want %q", o.acked, e.Acked)
	}
	if got := o.sends(); !slices.Equal(got, e.Sends) {
		f.addf("sends are %q, want %q", got, e.Sends)
	}
	var cancelled []string
	for _, r := range o.requests {
		if r.cancelled == 0 {
			continue
		}
		cancelled = append(cancelled, r.text)
		if limit := time.Duration(e.CancelledBefore) * time.Millisecond; r.cancelled >= limit {
			f.addf("%q was cancelled after %v, want before %v", r.text, r.cancelled, limit)
		}
	}
	if !slices.Equal(cancelled, e.Cancelled) {
		f.addf("cancelled are %q, want %q", cancelled, e.Cancelled)
	}
	return f
}

// repeater answers "reply to" and the text, after the time that the text takes.
func repeater(takes map[string]int) func(http.ResponseWriter, *http.Request, *request) {
	return func(w http.ResponseWriter, r *http.Request, turn *request) {
		select {
		case <-time.After(time.Duration(takes[turn.text]) * time.Millisecond):
			say(w, map[string]string{"text": "reply to " + turn.text})
		case <-r.Context().Done():
		}
	}
}

// moody answers with the statuses that are given for a text, one after the other and then the last, 0 being none; or as is
// given; or as otherwise does.
func moody(statuses map[string][]int, answers map[string]object, otherwise func(http.ResponseWriter, *http.Request, *request)) func(http.ResponseWriter, *http.Request, *request) {
	var mu sync.Mutex
	asked := map[string]int{}
	return func(w http.ResponseWriter, r *http.Request, turn *request) {
		mu.Lock()
		n := asked[turn.text]
		asked[turn.text]++
		mu.Unlock()
		status := 0
		if list := statuses[turn.text]; len(list) > 0 {
			status = list[min(n, len(list)-1)]
		}
		switch answer, known := answers[turn.text]; {
		case status != 0:
			http.Error(w, "for a reason", status)
		case known:
			say(w, answer)
		default:
			otherwise(w, r, turn)
		}
	}
}

func TestInbound(t *testing.T) {
	type given struct {
		Frames []struct {
			At      int    `json:"at_ms"`
			Message string `json:"message"`
		} `json:"frames"`
		Now      time.Time        `json:"now"`
		Statuses map[string][]int `json:"agent_statuses"`
	}
	for _, c := range load[given, conversation](t, "inbound.json") {
		inBubble(t, c.ID, func(t *testing.T, kept store) faults {
			if !c.Given.Now.IsZero() {
				time.Sleep(time.Until(c.Given.Now))
			}
			s := &script{
				descriptors: []descriptor{ordinary("discord"), ordinary("telegram"), ordinary("slack")},
				answer:      moody(c.Given.Statuses, nil, repeater(nil)),
			}
			for _, f := range c.Given.Frames {
				s.frames = append(s.frames, newFrame(time.Duration(f.At)*time.Millisecond, f.Message))
			}
			return c.Expect.check(s.play(t, kept))
		})
	}
}

func TestStop(t *testing.T) {
	type given struct {
		Descriptor descriptor `json:"descriptor"`
		Stop       string     `json:"stop"`
		Frames     []struct {
			At    int             `json:"at_ms"`
			Frame json.RawMessage `json:"frame"`
		} `json:"frames"`
		Takes    map[string]int    `json:"agent_takes_ms"`
		Statuses map[string][]int  `json:"agent_statuses"`
		Answers  map[string]object `json:"agent_answers"`
		Results  []object          `json:"results_of_send"`
	}
	for _, c := range load[given, conversation](t, "stop.json") {
		inBubble(t, c.ID, func(t *testing.T, kept store) faults {
			s := &script{
				descriptors: []descriptor{c.Given.Descriptor}, stop: c.Given.Stop,
				answer: moody(c.Given.Statuses, c.Given.Answers, repeater(c.Given.Takes)),
				result: func(a *action, n int) any {
					if a.op != "send" || n >= len(c.Given.Results) {
						return nil
					}
					return map[string]any(c.Given.Results[n])
				},
			}
			for _, f := range c.Given.Frames {
				s.frames = append(s.frames, newFrame(time.Duration(f.At)*time.Millisecond, oneLine(t, f.Frame)))
			}
			return c.Expect.check(s.play(t, kept))
		})
	}
}

// oneLine is a frame as it is on the wire.
func oneLine(t *testing.T, frame json.RawMessage) string {
	t.Helper()
	raw, err := json.Marshal(frame) // which takes the blanks and line feeds out
	if err != nil {
		t.Fatal(err)
	}
	return string(raw) + "\n"
}

// interaction is what a case expects of one of Discord's.
type interaction struct {
	Acked     bool     `json:"acked"`
	Turns     int      `json:"turns"`
	Turn      object   `json:"turn"`
	Begins    string   `json:"turn_event_text_begins"`
	MediaLack []string `json:"turn_media_lack"`
	Typing    *int     `json:"frames_with_op_typing"`
	Actions   []object `json:"actions"`
}

func (e *interaction) check(o *outcome, bufferID, chat string) (f faults) {
	if got := slices.Contains(o.acked, bufferID); got != e.Acked {
		f.addf("acked is %v, want %v", got, e.Acked)
	}
	if len(o.requests) != e.Turns {
		f.addf("%d turns, want %d", len(o.requests), e.Turns)
	}
	if e.Typing != nil {
		if got := count(o.typing, func(a *action) bool { return a.body["chat_id"] == chat }); got != *e.Typing {
			f.addf("typing was shown %d times, want %d", got, *e.Typing)
		}
	}
	if fault := matchActions(e.Actions, o.actions); fault != "" {
		f.addf("%s", fault)
	}
	if e.Turns == 0 || len(o.requests) == 0 {
		return f
	}
	turn := o.requests[0]
	if fault := match(e.Turn, turn.turn); e.Turn != nil && fault != "" {
		f.addf("the turn: %s", fault)
	}
	if !strings.HasPrefix(turn.text, e.Begins) {
		f.addf("the text is %q, want it to begin with %q", turn.text, e.Begins)
	}
	media, _ := turn.turn["media"].([]any)
	for _, m := range media {
		m, _ := m.(map[string]any)
		for _, member := range e.MediaLack {
			if _, has := m[member]; has {
				f.addf("an attachment has %s", member)
			}
		}
	}
	return f
}

func TestDiscord(t *testing.T) {
	type given struct {
		Runs []struct {
			Interaction map[string]any  `json:"interaction"`
			Frame       json.RawMessage `json:"frame"`
			Answer      object          `json:"agent_answers"`
		} `json:"runs"`
	}
	type expected struct {
		Runs []interaction `json:"runs"`
	}
	for _, c := range load[given, expected](t, "discord.json") {
		inBubble(t, c.ID, func(t *testing.T, kept store) (f faults) {
			if len(c.Given.Runs) != len(c.Expect.Runs) {
				t.Fatal("runs and what is expected of them differ in number")
			}
			for i, run := range c.Given.Runs {
				sameBody(t, run.Interaction, run.Frame)
				s := &script{
					descriptors: []descriptor{ordinary("discord")},
					frames:      []frame{newFrame(0, oneLine(t, run.Frame))},
					answer: func(w http.ResponseWriter, _ *http.Request, turn *request) {
						event, _ := turn.turn["event"].(map[string]any)
						answer, err := fill(map[string]any(run.Answer), map[string]any{"event.message_id": event["message_id"]})
						if err != nil {
							t.Error(err)
						}
						say(w, answer)
					},
				}
				chat, _ := run.Interaction["channel_id"].(string)
				f = append(f, c.Expect.Runs[i].check(s.play(t, kept), s.frames[0].bufferID, chat)...)
			}
			return f
		})
	}
}

// sameBody checks that a frame carries the interaction that stands beside it.
func sameBody(t *testing.T, interaction map[string]any, frame json.RawMessage) {
	t.Helper()
	var carried struct {
		Forward struct {
			Body string `json:"bodyB64"`
		} `json:"forward"`
	}
	if err := json.Unmarshal(frame, &carried); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(carried.Forward.Body)
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(raw, &body); err != nil || !reflect.DeepEqual(body, interaction) {
		t.Fatalf("the frame does not carry the interaction: %v", err)
	}
}
