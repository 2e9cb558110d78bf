package devconnector

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ProvisionMode is what a connector does with POST /relay/provision (section 14).
type ProvisionMode int

const (
	ProvisionNone     ProvisionMode = iota // 404: credentials are enrolled or pinned
	ProvisionIssue                         // every call rotates and answers the secret, without "secretIssued"
	ProvisionFirst                         // as above for a gateway's first platform; the others get secretIssued:false
	ProvisionWithhold                      // a gateway id that has a secret already gets secretIssued:false
)

// SeatRule says which of an instance's two sockets is closed.
type SeatRule int

const (
	SeatReplace SeatRule = iota // the old one is closed 1000 "replaced"
	SeatRefuse                  // the new one is closed 1008 "duplicate session"
)

// LiveIDs says which live frames carry a bufferId, and so wait for an ack.
type LiveIDs int

const (
	LiveNever     LiveIDs = iota
	LiveSometimes         // every other one
	LiveAlways
)

// PokeRule says which event makes the connector request the wake URL (sections 12 and 19).
type PokeRule int

const (
	PokeNone    PokeRule = iota
	PokeFirst            // one that comes into an empty buffer
	PokeAny              // every buffered one, except during the cooldown
	PokeWaiting          // no single event: it pokes every PokeEvery while something waits and nobody is connected
)

// Routing says when an outbound's chat is accepted as a destination (sections 10, 11 and 19).
type Routing int

const (
	RouteAuthor Routing = iota // metadata names a scope_id or user_id that was seen in the chat; else egress_declined
	RouteChat                  // the chat was seen by this instance; else "chat not routed to this profile"
	RouteAny
)

// Preset is how one connector behaves (section 19). A test starts from a named one and changes what it is about. A zero
// RevokedCode, SeatCode, PongWithin, BufferIDFormat, PokeEvery or MediaLife means its default.
type Preset struct {
	Name string

	// Credentials.
	RefuseAtUpgrade bool          // a bad credential is HTTP 401; otherwise the upgrade is accepted and closed 4401
	ExpiryLeeway    time.Duration // how long a token verifies past its exp
	FailureLimit    int           // after so many bad credentials from one address within FailureWindow, 1013; 0: no limit
	FailureWindow   time.Duration
	NoCredentials   bool // any dial is Config.Anonymous, else the one gateway that is known: tokens are not looked at
	RevokedCode     int  // how an open socket is closed when its gateway is revoked; default 4401
	RevokedReason   string
	Provision       ProvisionMode
	Enroll          bool
	RotationWindow  time.Duration // how long the previous secret verifies after a rotation

	// The socket.
	SecondSocket SeatRule
	SeatCode     int // how the socket is closed that has to go; default 1000 or 1008
	SeatReason   string
	LostCode     int           // how a socket on another path is closed; 0: HTTP 400 and 404
	MaxFrame     int           // bytes of one WebSocket message or line from the gateway; beyond it 1009
	PingEvery    time.Duration // 0: the connector does not ping
	PongWithin   time.Duration // the socket is broken after this time without a pong; default twice PingEvery
	OddFrames    []string      // lines sent after the first descriptor of a socket
	ErrorFrames  bool          // a malformed or unknown frame is answered {"type":"error","error":...}

	// The buffer.
	Window          int           // entries in flight; 0: no limit
	WindowPerChat   bool          // one entry in flight per chat
	ForwardsPass    bool          // a forward holds up nothing behind it, as gateways that never ack one are not to be stuck
	HelloLimit      int           // entries sent after a hello, acked or not; more come after the next; 0: no limit
	ChatLimit       int           // entries that wait for one chat; the oldest is dropped; 0: no limit
	TurnLimit       time.Duration // with a window per chat: a chat's next entry waits for the eyes to come off, so long at most
	BufferIDFormat  string        // fmt format of the entry's number; default buf-%d
	LiveIDs         LiveIDs
	FlipOnIdle      bool // going_idle stops delivery until the next dial; otherwise it is only acked
	BufferUnflipped bool // events for an instance that left without going_idle are kept; otherwise dropped
	LiveOnly        bool // nothing is ever buffered

	// The poke.
	Poke               PokeRule
	PokeWhileConnected bool          // a flipped instance is poked even while its socket is still open
	PokeCooldown       time.Duration // per instance, from the last poke, whether that was answered or not
	PokeAfterCooldown  bool          // what the cooldown held back is made up for when it is over; no known connector does
	PokeEvery          time.Duration // for PokeWaiting, and between repeats with PokeHeedsAnswer; default 10 s
	PokeHeedsAnswer    bool          // a poke that fails or is not answered 2xx is repeated while something waits
	PokeMethod         string        // default GET
	PokeUserAgent      string        // default Go's
	PokeSigned         bool          // carries X-Relay-Signature, hex HMAC-SHA256 of the URL under the newest secret

	// Actions.
	Platforms      []string       // the only ones there are: a descriptor names one, whatever the hello asks for; nil: any
	Descriptor     map[string]any // members that replace those of the usual descriptor; nil leaves a member out
	SupportedOps   []string       // nil: left out of the descriptor, the legacy set of section 7 holds
	Routing        Routing
	RequireBotID   bool          // a tagged action is refused while that platform's hello had no botId
	OutboundSerial bool          // one action at a time per instance
	OutboundDelay  time.Duration // how long each action takes
	OutboundChunk  int           // an action takes OutboundDelay for each so many UTF-16 units of its content; 0: once
	ReplyTo        bool          // a send without reply_to is progress, not the reply
	ErrorsUntold   bool          // an action that cannot be done has no result, only an error frame without its requestId
	SaysRetryable  bool          // refusals say whether to try again
	AnswersAgain   bool          // a requestId that comes again is answered as before, and nothing is done; not known of any
	Interrupts     bool          // whether interrupt_inbound is sent at all

	// Media.
	Media     bool
	MediaSize bool          // the upload's answer has "size"
	MediaLife time.Duration // how long a file is kept; then its id is 404; default 1 h
	MediaBase string        // what the URL of a file begins with, whatever the gateway calls the connector; see MediaURL
}

var presets = []Preset{
	{
		Name:               "hosted",
		RevokedCode:        4401,
		RevokedReason:      "unauthorized",
		Provision:          ProvisionFirst,
		Enroll:             true,
		RotationWindow:     10 * time.Minute,
		SecondSocket:       SeatReplace,
		MaxFrame:           16 << 20,
		Window:             1,
		ForwardsPass:       true,
		BufferIDFormat:     "buf-%d",
		FlipOnIdle:         true,
		Poke:               PokeFirst,
		PokeWhileConnected: true,
		PokeCooldown:       time.Minute,
		SupportedOps: []string{"send", "edit", "typing", "follow_up", "get_chat_info", "send_media", "prompt", "react",
			"thread_create", "thread_rename", "delete"},
		Routing:      RouteAuthor,
		RequireBotID: true,
		Interrupts:   true,
		Media:        true,
		MediaSize:    true,
		MediaLife:    time.Hour,
	},
	{
		Name:            "whatrouter",
		FailureLimit:    10,
		FailureWindow:   time.Minute,
		RevokedCode:     4401,
		RevokedReason:   "unauthorized",
		SecondSocket:    SeatRefuse,
		MaxFrame:        16 << 20,
		PingEvery:       30 * time.Second,
		PongWithin:      time.Minute,
		Window:          1,
		BufferIDFormat:  "%d",
		FlipOnIdle:      true,
		BufferUnflipped: true,
		Poke:            PokeFirst,
		PokeCooldown:    time.Minute,
		PokeUserAgent:   "node",
		Platforms:       []string{"whatsapp"},
		SupportedOps:    []string{"send", "edit", "delete", "typing", "react", "send_media", "get_chat_info"},
		Routing:         RouteChat,
		OutboundSerial:  true,
		OutboundDelay:   5 * time.Millisecond, // the real one takes up to 60 s
		OutboundChunk:   4096,
		Media:           true,
		MediaLife:       7 * 24 * time.Hour,
		MediaBase:       "http://localhost:8787", // without its public_url
	},
	{
		Name:            "agentsync",
		RefuseAtUpgrade: true,
		RevokedCode:     4403,
		RevokedReason:   "revoked",
		Enroll:          true,
		SecondSocket:    SeatReplace,
		MaxFrame:        16 << 20,
		OddFrames:       []string{`{"type":"error","error":"presence is not available"}`},
		ErrorFrames:     true,
		Window:          100,
		HelloLimit:      100,
		BufferIDFormat:  "row-%d",
		LiveIDs:         LiveSometimes,
		BufferUnflipped: true,
		Routing:         RouteAny,
		ErrorsUntold:    true,
	},
	{
		Name:            "rustcell",
		ExpiryLeeway:    2 * time.Minute,
		RevokedCode:     4401,
		RevokedReason:   "unauthorized",
		SecondSocket:    SeatReplace,
		SeatCode:        4000,
		SeatReason:      "replaced by a new dial",
		MaxFrame:        1 << 20,
		WindowPerChat:   true,
		ChatLimit:       100,
		TurnLimit:       20 * time.Minute,
		BufferIDFormat:  "%016x",
		LiveIDs:         LiveAlways,
		BufferUnflipped: true,
		Poke:            PokeWaiting,
		PokeEvery:       10 * time.Second,
		PokeMethod:      "POST",
		PokeSigned:      true,
		SupportedOps:    []string{"send", "edit", "typing", "react"},
		Routing:         RouteChat,
		ReplyTo:         true,
		Interrupts:      true,
		Media:           true,
		MediaLife:       time.Hour,
	},
	{
		Name:          "slacksidecar",
		NoCredentials: true,
		RevokedCode:   4401,
		RevokedReason: "unauthorized",
		SecondSocket:  SeatRefuse,
		SeatCode:      4429,
		SeatReason:    "another gateway is connected",
		LostCode:      4404,
		MaxFrame:      16 << 20,
		LiveOnly:      true,
		Platforms:     []string{"slack"},
		SupportedOps:  []string{"send", "edit", "typing", "react", "get_chat_info"},
		Routing:       RouteAny,
		SaysRetryable: true,
	},
}

// PresetNames lists the connectors of section 19: hosted, whatrouter, agentsync, rustcell, slacksidecar.
func PresetNames() []string {
	var names []string
	for _, p := range presets {
		names = append(names, p.Name)
	}
	return names
}

// PresetNamed returns a copy of a named preset. The error for an unknown name lists the known ones.
func PresetNamed(name string) (Preset, error) {
	for _, p := range presets {
		if p.Name == name {
			p.OddFrames, p.Platforms = slices.Clone(p.OddFrames), slices.Clone(p.Platforms)
			p.SupportedOps = slices.Clone(p.SupportedOps)
			return p, nil
		}
	}
	return Preset{}, fmt.Errorf("devconnector: no preset %q: take one of %s", name, strings.Join(PresetNames(), ", "))
}

// Hosted returns the preset of the hosted connector, which is also what a Config without one gets.
func Hosted() Preset {
	p, _ := PresetNamed("hosted")
	return p
}

func (p Preset) withDefaults() Preset {
	if p.Name == "" {
		return Hosted()
	}
	p.RevokedCode = cmp.Or(p.RevokedCode, 4401)
	code, reason := 1000, "replaced"
	if p.SecondSocket == SeatRefuse {
		code, reason = 1008, "duplicate session"
	}
	p.SeatCode, p.SeatReason = cmp.Or(p.SeatCode, code), cmp.Or(p.SeatReason, reason)
	p.PongWithin = cmp.Or(p.PongWithin, 2*p.PingEvery)
	p.BufferIDFormat = cmp.Or(p.BufferIDFormat, "buf-%d")
	p.PokeEvery = cmp.Or(p.PokeEvery, 10*time.Second)
	p.MediaLife = cmp.Or(p.MediaLife, time.Hour)
	return p
}

// seatRefused is how a socket is closed whose seat is taken.
func (p *Preset) seatRefused() (code int, reason string) {
	if p.SecondSocket == SeatRefuse {
		return p.SeatCode, p.SeatReason
	}
	return 1008, "duplicate session" // by a ghost
}

// preset is how the connector behaves now.
func (c *Connector) preset() *Preset { return c.behaviour.Load() }

// Become makes the connector behave as p from now on. It closes every socket with 1001, as a restart does; buffers,
// credentials, files and what it knows of chats stay.
func (c *Connector) Become(p Preset) {
	c.behaviour.Store(new(p.withDefaults()))
	c.set("become "+c.preset().Name, func(*faults) {})
	c.everySocket(1001, "going away")
}
