package cases

import (
	"encoding/json"
	"testing"
	"time"
)

// TestPrompts has questions with buttons, and what is pressed.
func TestPrompts(t *testing.T) {
	type given struct {
		Platforms []string  `json:"platforms"`
		Now       time.Time `json:"now"`
		Frames    []struct {
			At    int             `json:"at_ms"`
			Frame json.RawMessage `json:"frame"`
			Body  json.RawMessage `json:"body"`
		} `json:"frames"`
		Answers map[string]object `json:"agent_answers"`
		Takes   map[string]int    `json:"agent_takes_ms"`
		Results []object          `json:"results_of_prompt"`
	}
	type expected struct {
		conversation
		Actions []object `json:"actions"`
	}
	for _, c := range loadFile[given, expected](t, "more-prompts.json") {
		inBubble(t, c.ID, func(t *testing.T, kept store) faults {
			if !c.Given.Now.IsZero() {
				time.Sleep(time.Until(c.Given.Now))
			}
			s := &script{
				answer: moody(nil, c.Given.Answers, repeater(c.Given.Takes)),
				result: func(a *action, n int) any {
					if a.op != "prompt" || n >= len(c.Given.Results) {
						return nil
					}
					return map[string]any(c.Given.Results[n])
				},
			}
			for _, platform := range c.Given.Platforms {
				s.descriptors = append(s.descriptors, ordinary(platform))
			}
			for _, f := range c.Given.Frames {
				next := newFrame(time.Duration(f.At)*time.Millisecond, oneLine(t, f.Frame))
				next.body = string(f.Body)
				s.frames = append(s.frames, next)
			}
			o := s.play(t, kept)
			found := c.Expect.conversation.check(o)
			if fault := matchActions(c.Expect.Actions, o.actions); fault != "" {
				found.addf("%s", fault)
			}
			return found
		})
	}
}
