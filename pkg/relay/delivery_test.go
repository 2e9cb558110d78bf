package relay_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestDeliveryMarshalsToWhatIsWorthKeeping(t *testing.T) {
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	event := &relay.Event{Text: "hi", MessageType: "text", Source: relay.Source{Platform: "discord", ChatType: "dm"}}
	const said = `{"text":"hi","message_type":"text","message_id":"","source":{"platform":"discord","chat_id":"",` +
		`"chat_type":"dm","chat_name":"","user_id":"","user_name":"","thread_id":"","chat_topic":""}}`
	tests := map[string]struct {
		delivery relay.Delivery
		want     string
		back     relay.Delivery
	}{
		"buffered": {
			relay.Delivery{Kind: relay.KindInbound, BufferID: "b-1", Event: event, ReceivedAt: at},
			`{"event":` + said + `,"buffer_id":"b-1","received_at":"2026-03-01T08:00:00Z"}`,
			relay.Delivery{BufferID: "b-1", Event: event, ReceivedAt: at},
		},
		"live": {
			relay.Delivery{Kind: relay.KindInbound, Event: event, ReceivedAt: at},
			`{"event":` + said + `,"received_at":"2026-03-01T08:00:00Z"}`,
			relay.Delivery{Event: event, ReceivedAt: at},
		},
		"forward": {
			relay.Delivery{Kind: relay.KindPassthrough, Forward: &relay.Forward{Platform: "slack", Body: []byte("{}")}, ReceivedAt: at},
			`{"event":null,"forward":{"platform":"slack","botId":"","method":"","path":"","bodyB64":"e30="},` +
				`"received_at":"2026-03-01T08:00:00Z"}`,
			relay.Delivery{Forward: &relay.Forward{Platform: "slack", Body: []byte("{}")}, ReceivedAt: at},
		},
		"interrupt": {
			relay.Delivery{Kind: relay.KindInterrupt, SessionKey: "agent:main:slack:dm:1", ChatID: "1", Fault: "no", ReceivedAt: at},
			`{"event":null,"received_at":"2026-03-01T08:00:00Z"}`,
			relay.Delivery{ReceivedAt: at},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			got, err := json.Marshal(tt.delivery)
			is.NoErr(err)
			is.Equal(string(got), tt.want)
			var back relay.Delivery
			is.NoErr(json.Unmarshal(got, &back))
			is.Equal(back, tt.back)
		})
	}
}
