package page

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Kept tells what a ledger keeps of a message that waits or is dead: so its way has the event, also where nobody has seen it
// come, as of a deployed gateway. One that is no message of a chat's is left out.
func (m *Model) Kept(e ledger.Entry) {
	var d relay.Delivery
	if len(e.Body) == 0 || json.Unmarshal(e.Body, &d) != nil || d.Event == nil && d.Forward == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.ways.byKey[e.Key]
	if x == nil {
		x = m.ways.begin(cmp.Or(d.ReceivedAt, e.Wait.Since, e.Died, time.Now()))
		x.Key = e.Key
		m.ways.byKey[e.Key] = x
	}
	if x.event != nil {
		return
	}
	x.Buffer = cmp.Or(x.Buffer, d.BufferID)
	event := d.Event
	if d.Forward != nil {
		x.event, x.forward = d.Forward.Body, true
		event, _ = decode(x.event, true)
	} else if raw, err := json.Marshal(d.Event); err == nil {
		x.event = raw
	}
	if event != nil {
		x.Chat, x.MID = chatID(event.Source.Platform, event.Source.ChatID), cmp.Or(x.MID, event.MessageID)
		x.Name = cmp.Or(event.Source.UserName, event.Source.UserID)
		x.Text = shorten(cmp.Or(event.Text, "a message without text"), 200)
	}
	x.Attempts = max(x.Attempts, e.Attempts)
	switch {
	case e.State == ledger.Dead:
		x.State, x.Why = WayDead, e.Error
	case !e.Wait.Due.IsZero():
		x.State, x.Why, x.Next = WayWaiting, e.Error, ms(e.Wait.Due)
	}
	m.ways.show(x)
}
