package echo_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/dormouse-relay/dormouse/examples/gateway/echo"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// connector is a small one: it provisions, takes the bearers of the newest secret, has one message, and notes what it gets.
type connector struct {
	*httptest.Server
	provisioned int
	revoked     bool // the first secret is not good any more
	got         chan map[string]any
}

func newConnector(t *testing.T) *connector {
	c := &connector{got: make(chan map[string]any, 100)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /relay/provision", func(w http.ResponseWriter, r *http.Request) {
		c.provisioned++
		fmt.Fprintf(w, `{"gatewayId":"gw","secret":"s-%d"}`, c.provisioned)
	})
	mux.HandleFunc("GET /relay", func(w http.ResponseWriter, r *http.Request) {
		if c.revoked && c.provisioned == 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		c.serve(w, r)
	})
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	return c
}

func (c *connector) serve(w http.ResponseWriter, r *http.Request) {
	ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	send := func(frames ...string) {
		for _, f := range frames {
			ws.WriteMessage(websocket.TextMessage, []byte(f+"\n"))
		}
	}
	for {
		var f map[string]any
		if ws.ReadJSON(&f) != nil {
			return
		}
		c.got <- f
		switch f["type"] {
		case "hello":
			send(`{"type":"descriptor","descriptor":{"platform":"discord","max_message_length":40}}`, `{"type":"inbound","bufferId":"b-1",`+
				`"event":{"text":"The quick brown fox jumps over the lazy dog.","message_id":"1","source":{"platform":"discord","chat_id":"7"}}}`)
		case "outbound":
			id, _ := json.Marshal(f["requestId"])
			send(`{"type":"outbound_result","requestId":` + string(id) + `,"result":{"success":true,"message_id":"2"}}`)
		case "going_idle":
			send(`{"type":"going_idle_ack"}`)
		}
	}
}

func gateway(c *connector) *echo.Gateway {
	return &echo.Gateway{
		URL:       relay.NewBaseURL(c.URL),
		GatewayID: "gw",
		Front:     relay.Front{Platform: "discord", BotID: "42"},
		Token:     provision.StaticToken(relay.NewSecret("it-is-me")),
		Quiet:     50 * time.Millisecond,
	}
}

func TestMessageIsAckedAnsweredInPartsAndTheGatewayGoesIdle(t *testing.T) {
	c := newConnector(t)
	if err := gateway(c).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var said []string
	for len(c.got) > 0 {
		f := <-c.got
		text := f["type"].(string)
		if action, ok := f["action"].(map[string]any); ok {
			text += ": " + action["content"].(string)
		}
		said = append(said, text)
	}
	want := "hello\ninbound_ack\noutbound: The quick brown fox jumps (1/2)\noutbound: over the lazy dog. (2/2)\ngoing_idle"
	if got := strings.Join(said, "\n"); got != want {
		t.Errorf("the connector got\n%s\nwant\n%s", got, want)
	}
}

func TestRefusedCredentialsAreReplacedOnce(t *testing.T) {
	c := newConnector(t)
	g := gateway(c)
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.revoked = true
	if err := g.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.provisioned != 2 {
		t.Errorf("provisioned %d times, want 2", c.provisioned)
	}
}
