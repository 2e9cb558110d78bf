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
	for _, m := range d.set {
		m.Event = slim(m.Event)
	}
	return true
}

// reload reads what unload has dropped. If that fails, the delivery is left to the next run.
func (a *attempts) reload(d *delivery) error {
	read, err := a.bodies(keysOf(d))
	if err != nil {
		d.log.Warn(logs.NotLoaded, logs.KeyMessages, len(d.set)+1, logs.KeyError, err)
		return errDeferred
	}
	for i, m := range d.set {
		m.Event, m.Forward = read[i].Event, read[i].Forward
	}
	d.Event, d.Forward = read[len(d.set)].Event, read[len(d.set)].Forward
	return nil
}

// bodies are deliveries as the journal has them, by their keys.
func (a *attempts) bodies(keys []string) (list []relay.Delivery, err error) {
	entries, err := a.cfg.Journal.Load(a.run.ctx, keys...)
	if err != nil {
		return nil, err
	}
	if len(entries) != len(keys) {
		return nil, ledger.ErrNoEntry
	}
	for _, e := range entries {
		var read relay.Delivery
		if e.Unreadable != nil {
			return nil, e.Unreadable
		}
		if err := json.Unmarshal(e.Body, &read); err != nil {
			return nil, err
		}
		if read.Event == nil {
			return nil, errors.New("the entry has no event")
		}
		list = append(list, read)
	}
	return list, nil
}
