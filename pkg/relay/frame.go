package relay

import "encoding/json"

// Types of frames (section 5).
const (
	TypeHello        = "hello"               // gateway to connector
	TypeOutbound     = "outbound"            // gateway to connector
	TypeInterrupt    = "interrupt"           // gateway to connector
	TypeGoingIdle    = "going_idle"          // gateway to connector
	TypeInboundAck   = "inbound_ack"         // gateway to connector
	TypeDescriptor   = "descriptor"          // connector to gateway
	TypeInbound      = "inbound"             // connector to gateway
	TypeResult       = "outbound_result"     // connector to gateway
	TypeInterruptIn  = "interrupt_inbound"   // connector to gateway
	TypePassthrough  = "passthrough_forward" // connector to gateway
	TypeGoingIdleAck = "going_idle_ack"      // connector to gateway
)

// Front is one platform that this gateway serves, with its bot there. Each gets a hello of its own (section 4).
type Front struct {
	Platform string
	BotID    string // may be empty: the connector then refuses that platform's actions
}

// Hello is the frame that asks for a descriptor (section 4).
type Hello struct {
	Type     string `json:"type"` // TypeHello
	Platform string `json:"platform"`
	BotID    string `json:"botId"`

	Manifest json.RawMessage `json:"command_manifest,omitempty"` // of discord's: the commands to register
}

// Outbound is an action for a chat (section 5). The Conn adds the bot id that belongs to Platform.
type Outbound struct {
	RequestID string // 32 hex digits; empty means a random one
	Platform  string // the chat's platform; empty leaves it out of the frame
	Action    Action
}

// Action is what an outbound frame asks for: "op" and the op's fields, by their wire names (section 11).
type Action map[string]any

// Op is the action's op, or "" if it has none.
func (a Action) Op() string {
	op, _ := a["op"].(string)
	return op
}

// OutboundFrame is Outbound as it goes on the wire (section 5).
type OutboundFrame struct {
	Type      string `json:"type"` // TypeOutbound
	RequestID string `json:"requestId"`
	Action    Action `json:"action"`
	Platform  string `json:"platform,omitempty"`
	BotID     string `json:"botId,omitempty"`
}

// InboundAck says that a buffered delivery has been taken (section 6). The id is echoed as the string that came.
type InboundAck struct {
	Type     string `json:"type"` // TypeInboundAck
	BufferID string `json:"bufferId"`
}
