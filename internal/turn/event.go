package turn

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"strings"

	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// forwarded returns the event of a passthrough. With raw, a request of which only the agent can make sense has an event, too;
// then kept is the forward, which the agent gets. err says why there is no event.
func forwarded(f *relay.Forward, raw bool) (event *relay.Event, kept *relay.Forward, err error) {
	event, err = f.Interaction()
	if err != nil && raw && !isDiscord(f) {
		event, err = rawEvent(f)
		kept = f
	}
	return event, kept, err
}

func isDiscord(f *relay.Forward) bool {
	return strings.EqualFold(strings.TrimSpace(f.Platform), "discord")
}

// rawEvent is the event of a request that only the agent can make sense of: its platform, and no chat.
func rawEvent(f *relay.Forward) (*relay.Event, error) {
	event, err := json.Marshal(map[string]any{"source": map[string]string{"platform": f.Platform, "profile": f.Profile}})
	if err != nil {
		return nil, err
	}
	return relay.DecodeEvent(event)
}

// slim is an event without what was said: for a message that is not put to the agent any more.
func slim(e *relay.Event) *relay.Event {
	return &relay.Event{MessageType: e.MessageType, MessageID: e.MessageID, Source: e.Source}
}

// logTo returns a log whose lines name a delivery and its session.
func logTo(log *slog.Logger, key, session string) *slog.Logger {
	return log.With(logs.KeyDelivery, key, logs.KeySession, session)
}

// idsOf are the ids that the other sides know a delivery by, for its first log line: the platform's and the connector's.
func idsOf(e *relay.Event, bufferID string) (ids []any) {
	if e != nil {
		if id := cmp.Or(e.MessageID, e.Source.MessageID); id != "" {
			ids = append(ids, logs.KeyMessageID, id)
		}
	}
	if bufferID != "" {
		ids = append(ids, logs.KeyBufferID, bufferID)
	}
	return ids
}
