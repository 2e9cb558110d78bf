// A Lambda agent in Go that streams: it grows its reply word by word. Deploy it as its own function, set DORMOUSE_AGENT to
// lambda: and its name, and DORMOUSE_AGENT_STREAM to on.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

// Turn has what this agent reads of a turn; docs/agent/turn.schema.json has the rest.
type Turn struct {
	Event struct {
		Text string `json:"text"`
	} `json:"event"`
}

// stream is an answer whose lines leave as they are written. Its content type says that each is an action. It marshals as {}:
// aws-lambda-go passes on a reader only then.
type stream struct{ out *io.PipeReader }

func (s stream) Read(p []byte) (int, error) { return s.out.Read(p) }
func (stream) ContentType() string          { return "application/x-ndjson" }

func answer(ctx context.Context, turn Turn) (io.Reader, error) {
	out, w := io.Pipe()
	go func() {
		w.CloseWithError(say(ctx, json.NewEncoder(w), strings.Fields(turn.Event.Text))) // an error ends the stream with it
	}()
	return stream{out}, nil
}

// say sends the first word and edits the others in. Edits may come as fast as you like: the gateway leaves some out.
func say(ctx context.Context, lines *json.Encoder, words []string) error {
	for i := range words {
		said := map[string]any{"op": "edit", "content": strings.Join(words[:i+1], " ")}
		if i == 0 {
			said["op"] = "send"
		}
		if err := lines.Encode(said); err != nil {
			return fmt.Errorf("the gateway has gone: %w", err)
		}
		select {
		case <-time.After(50 * time.Millisecond): // a model would think here
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func main() { lambda.Start(answer) }
