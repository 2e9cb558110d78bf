package turn

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// unload drops what was said from memory if the delivery waits for a while; a zero time does not come. The journal has it.
func (a *attempts) unload(d *delivery, until time.Time) bool {
	if d.volatile || d.streaming || d.Event == nil || !until.IsZero() && time.Until(until) <= unloadAfter {
		return false
	}
	d.Event, d.Forward = slim(d.Event), nil
	return true
}

// reload reads what unload has dropped. If that fails, the delivery is left to the next run.
func (a *attempts) reload(d *delivery) error {
	var read relay.Delivery
	entries, err := a.cfg.Journal.Load(a.run.ctx, d.key)
	switch {
	case err != nil:
	case len(entries) == 0:
		err = ledger.ErrNoEntry
	case entries[0].Unreadable != nil:
		err = entries[0].Unreadable
	default:
		err = json.Unmarshal(entries[0].Body, &read)
	}
	if err == nil && read.Event == nil {
		err = errors.New("the entry has no event")
	}
	if err != nil {
		d.log.Warn(logs.NotLoaded, logs.KeyMessages, 1, logs.KeyError, err)
		return errDeferred
	}
	d.Event, d.Forward = read.Event, read.Forward
	return nil
}

// actionBytes is what the kept answer takes of a delivery's size.
func actionBytes(d *delivery) (bytes int) {
	for _, raw := range d.answer.actions {
		bytes += len(raw)
	}
	return bytes
}
