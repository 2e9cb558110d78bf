// An HTTP agent in Go: a plain handler.
//
//	PORT=8080 AGENT_SECRET=whsec_... go run ./examples/http-go
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Turn has what this agent reads of a turn; docs/agent/turn.schema.json has the rest.
type Turn struct {
	Event struct {
		Text   string `json:"text"`
		Source struct {
			UserName string `json:"user_name"`
		} `json:"source"`
	} `json:"event"`
	Late bool `json:"late"`
}

// Answer is either a text or a list of actions; the empty one says nothing.
type Answer struct {
	Text    string           `json:"text,omitempty"`
	Actions []map[string]any `json:"actions,omitempty"`
}

func answer(turn Turn) Answer {
	words := strings.Fields(turn.Event.Text)
	switch {
	case len(words) == 0:
		return Answer{} // nothing to say to a picture
	case words[0] == "/thanks":
		return Answer{Actions: []map[string]any{{"op": "react", "emoji": "👍"}}}
	case turn.Late:
		return Answer{Text: "Sorry for the wait, " + turn.Event.Source.UserName + ". You said: " + turn.Event.Text}
	}
	return Answer{Text: "Hello " + turn.Event.Source.UserName + ", you said: " + turn.Event.Text}
}

// handler takes signed turns only, if there is a secret.
func handler(verify func(body []byte, header http.Header) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
		if err == nil {
			err = verify(body, r.Header)
		}
		if err != nil {
			http.Error(w, "not signed with this agent's secret", http.StatusUnauthorized) // the message waits meanwhile
			return
		}
		var turn Turn
		if err := json.Unmarshal(body, &turn); err != nil {
			http.Error(w, "no turn", http.StatusBadRequest) // the message is given up
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer(turn)); err != nil {
			log.Print(err)
		}
	}
}

func main() {
	verify := func([]byte, http.Header) error { return nil }
	if secret := os.Getenv("AGENT_SECRET"); secret != "" {
		webhook, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			log.Fatal("AGENT_SECRET: want whsec_ and base64")
		}
		verify = webhook.Verify
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "8080"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, handler(verify)))
}
