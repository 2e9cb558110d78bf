package page

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Case is a situation as a file: what comes from the connector, and what the agent said. Its frames have the form that the
// cases of internal/cases have, so that one can be kept there; dormouse dev opens it.
type Case struct {
	ID     string    `json:"id"`
	About  string    `json:"about"`
	Given  CaseGiven `json:"given"`
	Expect CaseThen  `json:"expect"`
}

// CaseGiven is what comes.
type CaseGiven struct {
	Frames  []CaseFrame     `json:"frames"`
	Answers []string        `json:"answers,omitempty"` // of the agent, the first attempt's first
	Turn    json.RawMessage `json:"turn,omitempty"`    // that the agent got last
}

// CaseFrame is a text message on the socket.
type CaseFrame struct {
	AtMS    int    `json:"at_ms"`
	Message string `json:"message"`
}

// CaseThen is what became of it.
type CaseThen struct {
	TurnTexts []string `json:"turn_texts"`
	Acked     []string `json:"acked"`
	Sends     []string `json:"sends"`
}

// Case makes a case file of a delivery.
func (p WayPage) Case() (Case, error) {
	if len(p.Event) == 0 && len(p.Exchanges) == 0 {
		return Case{}, errors.New("neither the event nor a turn of this delivery is known here")
	}
	c := Case{
		ID: "dev-" + strings.TrimPrefix(p.ID, "delivery-"), About: "Taken from a page: " + p.State + ". " + p.Why,
		Expect: CaseThen{TurnTexts: []string{}, Acked: []string{}, Sends: []string{}},
	}
	frame, text, err := p.frame()
	if err != nil {
		return Case{}, err
	}
	c.Given.Frames = []CaseFrame{{0, frame}}
	if len(p.Exchanges) > 0 {
		c.Expect.TurnTexts = []string{text}
	}
	for _, e := range p.Exchanges {
		c.Given.Answers = append(c.Given.Answers, e.Answer)
		c.Given.Turn = e.Turn
	}
	if p.Buffer != "" {
		c.Expect.Acked = []string{p.Buffer}
	}
	for _, d := range p.Done {
		if d.Op == "send" && d.Outcome == "ok" {
			c.Expect.Sends = append(c.Expect.Sends, d.Content)
		}
	}
	return c, nil
}

// frame is the line that brings the delivery, and the text of its event.
func (p WayPage) frame() (line, text string, err error) {
	event, kind, member := p.Event, "inbound", "event"
	if len(event) == 0 { // a deployed gateway's: the turn has it
		var turn struct {
			Event json.RawMessage `json:"event"`
		}
		if err := json.Unmarshal(p.Exchanges[len(p.Exchanges)-1].Turn, &turn); err != nil || len(turn.Event) == 0 {
			return "", "", errors.New("the turn that is known of this delivery has no event")
		}
		event = turn.Event
	}
	decoded, err := decode(event, p.Forward)
	if err == nil {
		text = decoded.Text
	}
	if p.Forward {
		kind, member = "passthrough_forward", "forward"
		if event, err = json.Marshal(map[string]any{"platform": "discord", "botId": "", "method": "POST", "path": "/", "headers": []any{},
			"bodyB64": []byte(p.Event)}); err != nil {
			return "", "", err
		}
	}
	var flat bytes.Buffer
	if err := json.Compact(&flat, event); err != nil {
		return "", "", fmt.Errorf("the event is no JSON: %w", err)
	}
	id := ""
	if p.Buffer != "" {
		id = fmt.Sprintf(`"bufferId":%q,`, p.Buffer)
	}
	return fmt.Sprintf("{\"type\":%q,%s%q:%s}\n", kind, id, member, flat.Bytes()), text, nil
}

// mostFrames is how many messages of a case file are delivered.
const mostFrames = 1000

// errNotACase says what a case file is.
var errNotACase = errors.New(`no case file: want {"given":{"frames":[{"message":"{\"type\":\"inbound\",\"event\":{...}}"}]}}, as a delivery's page makes it`)

// ReadCase returns the events of a case file, in order. Those of a raw request are interactions.
func ReadCase(file []byte) (events []json.RawMessage, forwards []bool, err error) {
	var c struct {
		Given struct {
			Frames []struct {
				Message string `json:"message"`
			} `json:"frames"`
		} `json:"given"`
	}
	if err := json.Unmarshal(file, &c); err != nil || len(c.Given.Frames) == 0 || len(c.Given.Frames) > mostFrames {
		return nil, nil, errNotACase
	}
	for n, f := range c.Given.Frames {
		var frame struct {
			Type    string          `json:"type"`
			Event   json.RawMessage `json:"event"`
			Forward struct {
				Body []byte `json:"bodyB64"`
			} `json:"forward"`
		}
		err := json.Unmarshal([]byte(f.Message), &frame)
		switch {
		case err == nil && frame.Type == "inbound" && len(frame.Event) > 0:
			events, forwards = append(events, frame.Event), append(forwards, false)
		case err == nil && frame.Type == "passthrough_forward" && json.Valid(frame.Forward.Body):
			events, forwards = append(events, frame.Forward.Body), append(forwards, true)
		default:
			return nil, nil, fmt.Errorf("frame %d is no inbound event and no interaction", n)
		}
	}
	return events, forwards, nil
}

// curl is a command that puts a turn to an agent.
func curl(agent string, turn json.RawMessage) string {
	return "curl -sS -H 'content-type: application/json' --data-binary " + quoted(string(turn)) + " " + quoted(agent)
}

// quoted is a word of a POSIX shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
