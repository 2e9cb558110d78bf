package devconnector

import (
	"slices"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// What can happen, as Observation.What. The comment says which other members are set.
const (
	ObsProvision    = "provision" // Status, Platform; Detail: "issued", "withheld" or the refusal
	ObsEnroll       = "enroll"
	ObsPolicy       = "policy"
	ObsUpload       = "upload"
	ObsDownload     = "download" // Status; Detail: the host that was asked, after "bearer " if a token was shown
	ObsRefused      = "refused"  // a dial with a bad credential; Detail: "expired" or "unauthorized", and whether its gateway is not known
	ObsUpgrade      = "upgrade"
	ObsHello        = "hello" // Detail: the commands that it registers, if any
	ObsDescriptor   = "descriptor"
	ObsBuffered     = "buffered"
	ObsDropped      = "dropped"     // an event for nobody
	ObsLost         = "lost"        // an event written to a ghost
	ObsInbound      = "inbound"     // an event was sent, live if BufferID is empty; Detail "again": a redelivery
	ObsPassthrough  = "passthrough" // the same of a raw platform request
	ObsInterruptIn  = "interrupt_inbound"
	ObsInboundAck   = "inbound_ack"
	ObsAckIgnored   = "ack_ignored" // nothing in flight has that id
	ObsOutbound     = "outbound"    // Size: bytes of its content
	ObsResult       = "outbound_result"
	ObsInterrupt    = "interrupt"
	ObsGoingIdle    = "going_idle"
	ObsGoingIdleAck = "going_idle_ack"
	ObsClosed       = "closed" // Code, By; Detail: the reason
	ObsPoke         = "poke"   // Detail: scheme and host of the wake URL
	ObsPoked        = "poked"  // Status; 0: no answer
	ObsPokeLost     = "poke_lost"
	ObsFault        = "fault"
	ObsBreach       = "breach" // the gateway broke the contract
)

const (
	byGateway   = "gateway"
	byConnector = "connector"
)

// Observation is one thing that happened. It never holds a token, a secret, an event's text or a wake URL's path.
type Observation struct {
	Seq       int       `json:"seq"` // from 1
	At        time.Time `json:"at"`
	What      string    `json:"what"`
	Instance  string    `json:"instance,omitempty"`
	Gateway   string    `json:"gateway,omitempty"`
	Socket    int       `json:"socket,omitempty"` // from 1
	Platform  string    `json:"platform,omitempty"`
	Chat      string    `json:"chat,omitempty"`
	Op        string    `json:"op,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
	MessageID string    `json:"message_id,omitempty"`
	BufferID  string    `json:"buffer_id,omitempty"`
	Code      int       `json:"code,omitempty"`
	Status    int       `json:"status,omitempty"`
	Size      int       `json:"size,omitempty"` // bytes
	By        string    `json:"by,omitempty"`   // gateway or connector
	Detail    string    `json:"detail,omitempty"`
}

// Outbound is an action as it came, and what was answered.
type Outbound struct {
	At        time.Time      `json:"at"`
	Gateway   string         `json:"gateway"`
	Socket    int            `json:"socket"`
	RequestID string         `json:"request_id"`
	Repeated  bool           `json:"repeated,omitempty"` // that requestId came before
	Platform  string         `json:"platform,omitempty"`
	BotID     string         `json:"bot_id,omitempty"`
	Op        string         `json:"op"`
	ChatID    string         `json:"chat_id,omitempty"`
	Content   string         `json:"content,omitempty"`
	Metadata  map[string]any `json:"metadata,omitempty"`
	Action    relay.Action   `json:"action"`
	Result    relay.Result   `json:"result"`
	Answered  bool           `json:"answered"`             // false: a fault keeps the result back
	Progress  bool           `json:"progress,omitempty"`   // a send that this connector does not take for the reply
	Applied   bool           `json:"applied"`              // it was carried out, whatever the result says
	MessageID string         `json:"message_id,omitempty"` // of the message that it made or changed, whatever the result says
}

// Ack is an inbound_ack that took an entry out of the buffer.
type Ack struct {
	At       time.Time `json:"at"`
	Gateway  string    `json:"gateway"`
	Socket   int       `json:"socket"`
	BufferID string    `json:"buffer_id"`
}

// Hello is one hello frame.
type Hello struct {
	At       time.Time `json:"at"`
	Gateway  string    `json:"gateway"`
	Socket   int       `json:"socket"`
	Platform string    `json:"platform"`
	BotID    string    `json:"bot_id,omitempty"`
	Manifest bool      `json:"manifest,omitempty"` // it carried a command_manifest
}

// Idle is one going_idle frame.
type Idle struct {
	At       time.Time `json:"at"`
	Gateway  string    `json:"gateway"`
	Socket   int       `json:"socket"`
	Acked    bool      `json:"acked"`     // false: a fault keeps the ack back, and nothing flipped
	InFlight int       `json:"in_flight"` // entries without an ack at that moment
}

// Interrupt is an interrupt frame from the gateway.
type Interrupt struct {
	At         time.Time `json:"at"`
	Gateway    string    `json:"gateway"`
	SessionKey string    `json:"session_key"`
	Reason     string    `json:"reason,omitempty"`
}

// Provision is one request to /relay/provision.
type Provision struct {
	At          time.Time `json:"at"`
	Gateway     string    `json:"gateway"`
	Platform    string    `json:"platform"`
	BotID       string    `json:"bot_id,omitempty"`
	Instance    string    `json:"instance,omitempty"`  // instanceId as it came
	WakeHost    string    `json:"wake_host,omitempty"` // scheme and host of wakeUrl
	DisplayName string    `json:"display_name,omitempty"`
	RouteKeys   []string  `json:"route_keys,omitempty"`
	Status      int       `json:"status"`
	Issued      bool      `json:"issued"` // the answer carried a secret
}

// Policy is one request to /relay/policy.
type Policy struct {
	At                 time.Time `json:"at"`
	Gateway            string    `json:"gateway"`
	Platform           string    `json:"platform"`
	RequireAddress     bool      `json:"requireAddress"`
	FreeResponseScopes []string  `json:"freeResponseScopes"`
	AllowOtherBots     bool      `json:"allowOtherBots"`
}

// Poke is one request to a wake URL.
type Poke struct {
	At       time.Time `json:"at"`
	Instance string    `json:"instance"`
	Host     string    `json:"host"`             // scheme and host
	Status   int       `json:"status,omitempty"` // of the answer; 0: none yet
	Failed   bool      `json:"failed,omitempty"` // no answer came
}

// Socket is one accepted upgrade.
type Socket struct {
	ID      int       `json:"id"` // from 1
	At      time.Time `json:"at"`
	Gateway string    `json:"gateway,omitempty"` // empty: refused
	Remote  string    `json:"remote,omitempty"`  // address it came from
	Open    bool      `json:"open"`
	Code    int       `json:"code,omitempty"` // how it closed; 1006: without a close frame
	Reason  string    `json:"reason,omitempty"`
	By      string    `json:"by,omitempty"` // gateway or connector
}

// Instance is what sleeps, as it is now.
type Instance struct {
	ID        string   `json:"id"`
	Tenant    string   `json:"tenant,omitempty"`
	Gateways  []string `json:"gateways"`
	WakeHost  string   `json:"wake_host,omitempty"` // scheme and host
	Connected bool     `json:"connected"`           // a socket is up and its descriptor was sent
	Ghost     bool     `json:"ghost,omitempty"`
	Flipped   bool     `json:"flipped"`
	Revoked   bool     `json:"revoked,omitempty"`
	Buffered  int      `json:"buffered"`  // entries without an ack
	InFlight  int      `json:"in_flight"` // of these, sent on the present socket
	Live      int      `json:"live"`      // events sent without a buffer id
	Dropped   int      `json:"dropped"`   // events for nobody
	Lost      int      `json:"lost"`      // events written to a ghost
}

// State is a snapshot. Its lists are in order and complete; do not change what is in them.
type State struct {
	Preset     string      `json:"preset"`
	Instances  []Instance  `json:"instances"`
	Sockets    []Socket    `json:"sockets"`
	Hellos     []Hello     `json:"hellos"`
	Acks       []Ack       `json:"acks"`
	Outbounds  []Outbound  `json:"outbounds"`
	Interrupts []Interrupt `json:"interrupts"`
	Idles      []Idle      `json:"going_idles"`
	Pokes      []Poke      `json:"pokes"`
	Provisions []Provision `json:"provisions"`
	Policies   []Policy    `json:"policies"`
	Breaches   []string    `json:"breaches"`
	Commands   []Command   `json:"commands"` // registered with Discord

	Observations []Observation `json:"-"`
}

// Instance returns the instance of that id or gateway id; for "" the only one. It is zero if there is none.
func (s State) Instance(name string) Instance {
	for _, inst := range s.Instances {
		if inst.ID == name || slices.Contains(inst.Gateways, name) || name == "" && len(s.Instances) == 1 {
			return inst
		}
	}
	return Instance{}
}

// Count says how often something happened.
func (s State) Count(what string) (n int) {
	for _, o := range s.Observations {
		if o.What == what {
			n++
		}
	}
	return n
}
