package page

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/devtable"
)

// Where a fault is.
const (
	AtConnector = "connector"
	AtHost      = "host"
	AtLedger    = "ledger"
)

// Param is something that a fault may be told.
type Param struct {
	Name    string   `json:"name"`
	Label   string   `json:"label"`
	Value   string   `json:"value"` // what it is if nothing is said
	Choices []string `json:"choices,omitempty"`
}

// Fault is something that can go wrong on purpose.
type Fault struct {
	ID      string  `json:"id"`
	Where   string  `json:"where"`
	Title   string  `json:"title"`
	Promise string  `json:"promise"`         // what then happens, if the promises hold
	Lasts   bool    `json:"lasts,omitempty"` // it is a switch: on until it is put off; else it happens once
	Params  []Param `json:"params,omitempty"`
	On      bool    `json:"on,omitempty"`
	Used    int     `json:"used,omitempty"`
	Error   string  `json:"error,omitempty"` // why it could not be done the last time
}

var (
	seconds = func(value string) Param { return Param{Name: "seconds", Label: "seconds", Value: value} }
	count   = func(label, value string) Param { return Param{Name: "count", Label: label, Value: value} }
	anyOp   = Param{Name: "op", Label: "action", Choices: []string{"", "send", "edit", "react", "prompt", "send_media", "typing"}}
)

// ConnectorFaults are those of the development connector.
func ConnectorFaults() []Fault {
	list := []Fault{
		{ID: "lose_poke", Title: "Lose the next poke", Params: []Param{{Name: "way", Label: "how", Value: "cooldown",
			Choices: []string{"cooldown", "flip", "failed"}}},
			Promise: "The message waits in the buffer. A sweep of the schedule finds it, and it is answered once."},
		{ID: "refuse", Title: "Refuse the next actions", Lasts: true, Params: []Param{
			{Name: "class", Label: "as", Value: "rate_limited", Choices: devconnector.RefusalClasses()}, anyOp, count("how many (-1: all)", "1"), seconds("1")},
			Promise: "For now: sent again, in order, in this drain or a later one. Perhaps arrived: not sent again. For good: the message is dead, with its answer kept."},
		{ID: "unanswered", Title: "Carry out the next actions and never say so", Lasts: true, Params: []Param{anyOp, count("how many (-1: all)", "1")},
			Promise: "After DORMOUSE_OUTBOUND_TIMEOUT the action is unknown: it is not written again, and counted."},
		{ID: "delay_results", Title: "Answer every action late", Lasts: true, Params: []Param{seconds("1")},
			Promise: "The actions of an answer go one by one; other chats do not wait."},
		{ID: "duplicate", Title: "Send the next messages twice", Params: []Param{count("how many", "1")},
			Promise: "The second is recognised: acked and dropped, or not started again while the first runs."},
		{ID: "ignore_acks", Title: "Lose the next acks", Params: []Param{count("how many", "1")},
			Promise: "The message comes again on the next socket and is recognised: acked and dropped, answered once."},
		{ID: "chop", Title: "Cut the next messages in two", Params: []Param{count("how many", "1")},
			Promise: "Frames are put together however the stream is cut, and a frame of an unknown type between them is skipped."},
		{ID: "garbage", Title: "Send malformed frames before the next message",
			Promise: "Each is skipped, and what can be acked is acked; the message behind them is answered."},
		{ID: "oversize", Title: "Send a message that is too large", Params: []Param{{Name: "size", Label: "bytes", Value: "5242880"}},
			Promise: "What a drain cannot take is not lost silently: it is set aside or answered without being kept, and the log says which."},
		{ID: "drop", Title: "Cut the socket", Promise: "Drain dials again after a second. What was not acked comes again and is recognised."},
		{ID: "kick", Title: "Close the socket with a code", Params: []Param{{Name: "code", Label: "code", Value: "1011"}, {Name: "reason", Label: "reason", Value: ""}},
			Promise: "Broken or busy: drain dials again. 1000 replaced: it stops, as somebody else has its seat."},
		{ID: "expire", Title: "Say that the token has expired", Promise: "Drain dials again with a fresh token; nothing else happens."},
		{ID: "forget", Title: "Forget the gateway's secrets", Promise: "A run that begins is refused, provisions once more and is let in. A run that was let in before takes a second refusal for an opt-out."},
		{ID: "revoke", Title: "Revoke the gateway", Lasts: true,
			Promise: "An opt-out stays one: drain stops, the gateway is disabled, and nothing dials until somebody enables it."},
		{ID: "restore", Title: "Let it in again", Promise: "Ends revoke, suspend and ghost. The gateway stays disabled until it is enabled in the books."},
		{ID: "suspend", Title: "Suspend the gateway", Params: []Param{seconds("10")}, Promise: "Drain backs off while it has time, then a sweep looks again."},
		{ID: "ghost", Title: "Keep a dead socket's seat", Params: []Param{seconds("10")},
			Promise: "Dials are closed with 1008 until the ghost is gone. What is written live to the ghost is lost: no gateway can prevent that."},
		{ID: "down", Title: "Take the platform down", Params: []Param{seconds("10")}, Promise: "Every socket is closed with 4503; drain backs off as for a connector that is away."},
		{ID: "restart", Title: "Restart the connector", Promise: "Drain dials again. The connector has forgotten its chats: it declines them until they write again."},
		{ID: "take_for_idle", Title: "Take the gateway for idle", Promise: "What comes from now on is buffered and poked for; the drain that runs is asked to look again."},
		{ID: "withhold_idle_ack", Title: "Ignore going_idle", Lasts: true, Params: []Param{count("how many (-1: all)", "-1")},
			Promise: "It never sleeps unflipped: drain serves on and asks again after 5, 10 and 20 s."},
		{ID: "delay_idle_ack", Title: "Acknowledge going_idle late", Lasts: true, Params: []Param{seconds("2")},
			Promise: "Drain serves on until the ack comes, and closes then."},
		{ID: "withhold_descriptor", Title: "Do not answer the next hello", Params: []Param{count("how many", "1")},
			Promise: "Without a descriptor within 30 s the dial has failed, and drain tries again."},
		{ID: "withhold_secret", Title: "Keep the gateway's secret back", Lasts: true,
			Promise: "Drain provisions under a fresh gateway id, at most one an hour and ten a day, and says so in status."},
	}
	for i := range list {
		list[i].Where = AtConnector
	}
	return list
}

// HostFaults are those of the functions' host.
func HostFaults() []Fault {
	return []Fault{
		{ID: "kill", Where: AtHost, Title: "Kill drain (SIGKILL)",
			Promise: "What was journalled is taken up by the next drain, first what was running, alone. The lease runs out by itself."},
		{ID: "shutdown", Where: AtHost, Title: "End drain as Lambda does (SIGTERM)",
			Promise: "Drain says going_idle within 300 ms and gives its lease back: what comes next is buffered and poked for. Asleep, the next start is a cold one."},
		{ID: "freeze", Where: AtHost, Title: "Freeze drain at its work", Params: []Param{seconds("5")},
			Promise: "When it goes on it looks at its lease first. If another drain has it, it writes and sends nothing more."},
		{ID: "kill_wake", Where: AtHost, Title: "Kill wake",
			Promise: "The next poke starts a new process. A poke that it held is lost: a sweep finds the message."},
	}
}

// tablePrefix tells the table's faults from the connector's.
const tablePrefix = "table_"

// LedgerFaults are those of the development table.
func LedgerFaults() []Fault {
	list := []Fault{
		{ID: devtable.FaultDown, Title: "Take the table down", Lasts: true, Params: []Param{count("how many requests (-1: all)", "-1")},
			Promise: "Buffered messages stay with the connector, unacked; live ones are answered before drain leaves. A drain that starts dials nobody."},
		{ID: devtable.FaultThrottle, Title: "Refuse requests as too many", Lasts: true, Params: []Param{count("how many requests (-1: all)", "3")},
			Promise: "The write is tried again with a backoff. Nothing is acked that is not journalled."},
		{ID: devtable.FaultSlow, Title: "Answer every request late", Lasts: true, Params: []Param{count("how many requests (-1: all)", "-1"), seconds("1")},
			Promise: "Acks wait for the journal. A heartbeat that takes too long makes drain stop sending before another can have the lease."},
		{ID: devtable.FaultLost, Title: "Write, and lose the answer", Lasts: true, Params: []Param{count("how many requests (-1: all)", "1")},
			Promise: "The write is made once more and recognised: nothing is journalled, kept or counted twice."},
	}
	for i := range list {
		list[i].Where, list[i].ID = AtLedger, tablePrefix+list[i].ID
	}
	return list
}

// faultOf reads what the connector's control API would.
func faultOf(id string, params map[string]string, off bool) (f devconnector.Fault, err error) {
	raw := map[string]any{"name": id, "off": off}
	for name, value := range params {
		if value == "" {
			continue
		}
		raw[name] = value
		if slices.Contains([]string{"count", "seconds", "size", "code", "after"}, name) {
			var n json.Number
			if err := json.Unmarshal([]byte(value), &n); err != nil {
				return f, fmt.Errorf("%s: want a number", name)
			}
			raw[name] = n
		}
	}
	body, err := json.Marshal(raw)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(body, &f); err != nil {
		return f, fmt.Errorf("what the fault is told does not fit it: %w", err)
	}
	return f, nil
}

// AddFaults shows faults.
func (m *Model) AddFaults(list []Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range list {
		m.faults[f.ID] = &f
		m.entries.put(KindFault, f.ID, f)
	}
}

// fault returns a copy of a fault.
func (m *Model) fault(id string) (f Fault, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.faults[id]
	if found == nil {
		return f, false
	}
	return *found, true
}

// setFault notes that a fault was put on or off. One that is over after some times is not shown as on: nobody tells of its end.
func (m *Model) setFault(id string, on bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.faults[id]
	if f == nil {
		return
	}
	f.Error = ""
	if err != nil {
		f.Error = err.Error()
	} else {
		f.On = on && f.Lasts
		if on {
			f.Used++
		}
	}
	m.entries.put(KindFault, id, f)
}

// usedFault notes that a fault was done that ends by itself.
func (m *Model) usedFault(id string, err error) {
	m.setFault(id, true, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.faults[id]; f != nil {
		f.On = false
		m.entries.put(KindFault, id, f)
	}
}
