// A Lambda agent in Go. Deploy it as its own function and set DORMOUSE_AGENT to lambda: and its name.
package main

import (
	"context"
	"strings"

	"github.com/aws/aws-lambda-go/lambda"
)

// Turn has what this agent reads of a turn; docs/agent/turn.schema.json has the rest.
type Turn struct {
	Event struct {
		Text   string `json:"text"`
		Source struct {
			UserName string `json:"user_name"`
		} `json:"source"`
	} `json:"event"`
}

// Answer is either a text or a list of actions.
type Answer struct {
	Text    string           `json:"text,omitempty"`
	Actions []map[string]any `json:"actions,omitempty"`
}

func answer(_ context.Context, turn Turn) (Answer, error) {
	words := strings.Fields(turn.Event.Text)
	switch {
	case len(words) == 0:
		return Answer{}, nil // nothing to say to a picture
	case words[0] == "/thanks":
		return Answer{Actions: []map[string]any{{"op": "react", "emoji": "👍"}}}, nil
	}
	return Answer{Text: "Hello " + turn.Event.Source.UserName + ", you said: " + turn.Event.Text}, nil
}

func main() { lambda.Start(answer) }
