package relay_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// gateway takes what the connector has, answers it, and leaves once nothing has come for a while.
func gateway(ctx context.Context, url, id string, secret relay.Secret) error {
	conn, err := relay.Dial(ctx, relay.Config{
		URL:    relay.NewBaseURL(url).RelayURL(),
		Token:  relay.UpgradeToken(id, secret, time.Now(), 5*time.Minute),
		Fronts: []relay.Front{{Platform: "discord", BotID: "42"}},
	})
	if err != nil {
		return err // relay.KindOf says whether the credentials are to blame
	}
	defer conn.Close(ctx)
	for {
		quiet, cancel := context.WithTimeout(ctx, time.Second) // a real one waits for longer
		d, err := conn.Receive(quiet)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return conn.GoIdle(ctx) // from now on the connector buffers
		}
		if err != nil {
			return err
		}
		fmt.Println("received", d.Kind == relay.KindInbound, d.BufferID) // a real one keeps d somewhere
		if err := conn.Ack(d.BufferID); err != nil {
			return err
		}
		if d.Kind != relay.KindInbound {
			continue
		}
		platform, metadata := d.Event.Source.Routing()
		reply := relay.Action{"op": "send", "chat_id": d.Event.Source.ChatID, "content": "You said: " + d.Event.Text}
		reply["metadata"] = metadata
		result, err := conn.Do(ctx, relay.Outbound{Platform: platform, Action: reply})
		fmt.Println("replied", result.MessageID, err)
	}
}

// A whole gateway: dial, receive, ack, reply, go idle, close.
func Example_gateway() {
	url, stop := startConnector(`{"type":"inbound","bufferId":"b-1","event":` +
		`{"text":"hello","message_id":"1","source":{"platform":"discord","chat_id":"7","user_id":"3"}}}`)
	err := gateway(context.Background(), url, "gw-1", relay.NewSecret("s3cret"))
	fmt.Println("left", err)
	for _, line := range stop() {
		frame, _, _ := strings.Cut(strings.TrimPrefix(line, `{"type":"`), `"`)
		fmt.Println("sent", frame)
	}
	// Output:
	// received true b-1
	// replied 900 <nil>
	// left <nil>
	// sent hello
	// sent inbound_ack
	// sent outbound
	// sent going_idle
}
