package logs

// Events of package drain. Each has KeyReason, KeyHop if an earlier run handed its work on, and, once the lease is taken,
// KeyEpoch.
const (
	// NoSIGTERM is a warning of the start: Lambda will end this process without telling it before. With KeyError.
	NoSIGTERM = "SIGTERM could not be asked for: a process that Lambda ends keeps its lease until that runs out"

	// Woken comes first in a run that has taken the lease and knows when the poke came. With KeyPokeMS.
	Woken = "woken"

	// Lease says that this run has taken the lease.
	Lease = "lease"

	// SayKept says that the say of this invocation is in the table. With KeySay, and KeyState if its key was there.
	SayKept = "say kept"

	// InboxUnread is a warning: what is to be said could not be read or taken. It is tried again. With KeyError and KeyIn.
	InboxUnread = "what somebody has put to be said could not be taken: trying again"

	// HeartbeatFailed is a warning: the lease could not be renewed. It is tried again while there is time. With KeyError.
	HeartbeatFailed = "heartbeat failed"

	// Provision says that credentials were issued. With KeyGateway and KeyMS.
	Provision = "provision"

	// TokenRefused is a warning: the connector did not accept the identity token, and there is another one. With KeyError.
	TokenRefused = "the identity token was not accepted: trying another one"

	// SecretWithheld is a warning: the connector keeps the secret of this gateway id to itself. With KeyGateway, the id
	// that is taken instead.
	SecretWithheld = "the secret of this gateway id is withheld: provisioning under a fresh one; enroll and pin instead"

	// Policy says that the connector has taken the relevance policy. With KeyPlatforms and KeyMS.
	Policy = "policy"

	// PolicyRefused is a warning: the connector did not take the relevance policy. With KeyError.
	PolicyRefused = "the policy was not taken: the connector goes by its own or the one before; the next drain tries again"

	// PolicyUnwritten is an error: the ledger does not know that the policy was taken. With KeyError.
	PolicyUnwritten = "the policy could not be written down: the next drain sends it again"

	// Dial says that a socket is being opened, with credentials in hand.
	Dial = "dial"

	// Descriptor says that the connector has let this gateway in. With KeyMS, from Dial.
	Descriptor = "descriptor"

	// NotConnected is a warning: a dial ended without a descriptor. With KeyError.
	NotConnected = "not connected"

	// SocketEnded is a warning: a socket ended that nobody had asked to end. Mostly there is a dial next. With KeyError.
	SocketEnded = "the socket ended"

	// HandshakeUnwritten is an error: the ledger does not know that this gateway was let in. With KeyError.
	HandshakeUnwritten = "the handshake could not be written down"

	// RefusedStranger is a warning: the connector refused before any descriptor of this run. With KeyError.
	RefusedStranger = "refused before a handshake: trying once with new credentials"

	// RefusedConnected is a warning: the connector refused after a descriptor of this run. With KeyError.
	RefusedConnected = "refused after a handshake: dialling once with a fresh token"

	// NoNewCredentials is a warning: after a refusal new credentials could not be had, so nothing is decided. With
	// KeyError.
	NoNewCredentials = "no new credentials"

	// Revoked is an error: the connector refuses this gateway for good, and the instance is off until an operator enables
	// it. With KeyGateway and KeyError.
	Revoked = "revoked"

	// RevokedUnwritten is an error: the ledger does not know of the revocation. With KeyError.
	RevokedUnwritten = "the opt-out could not be written down: the next wake will try again"

	// RefusalsUnwritten: the ledger does not know what the connector has refused in this run. With KeyError.
	RefusalsUnwritten = "what was refused could not be written down: the report has it"

	// LimitedUnwritten: status will not count messages of bots that were not answered. With KeyError.
	LimitedUnwritten = "how many messages of bots were over their budget could not be written down: the report has it"

	// TroubleUnwritten is an error: the ledger does not know what hindered this run, or that nothing does any more. With
	// KeyError.
	TroubleUnwritten = "what hinders this gateway could not be written down"

	// Untaken is a warning: the journal did not take deliveries, which are not acked. With KeyMessages and KeyError.
	Untaken = "messages are left with the connector"

	// LiveLeft is an error: the run ended while live deliveries waited to be taken. With KeyMessages and KeyError.
	LiveLeft = "live messages are lost: the run ended before they could be journalled"

	// LiveOverran is an error: more live deliveries came at once than there is room for. With KeyMessages, which are lost, and
	// KeyWindow.
	LiveOverran = "live messages are lost: more came at once than DORMOUSE_WINDOW has room for; more DrainMemory is more room"

	// Crowded is a warning: messages come faster than they can be taken. The connector is asked to buffer. With KeyMessages and
	// KeyBytes, which wait to be taken, and KeyWindow.
	Crowded = "more comes than DORMOUSE_WINDOW has room for: going idle, so that the connector buffers"

	// Lagging is a warning: live messages have waited for seconds to be journalled. Likewise, with KeyMessages and KeyBytes.
	Lagging = "the table is too slow for what comes: going idle, so that the connector buffers"

	// Overflowed is a warning: buffered messages have not fitted into memory. The connector still has them. With KeyMessages and
	// KeyWindow.
	Overflowed = "more came at once than DORMOUSE_WINDOW has room for: the rest comes with the next dial"

	// DeadlineNear says that the run goes idle because its time is nearly up.
	DeadlineNear = "time is nearly up: going idle"

	// MarkUncleared is a warning: the asked mark stands, and may lead to a look that nobody asked for. With KeyError.
	MarkUncleared = "the mark could not be cleared: there may be a needless look"

	// GoingIdle says that going_idle is sent. With KeyDeadline.
	GoingIdle = "going idle"

	// NoIdleAck is a warning: going_idle_ack did not come, and is asked for again. With KeyIn and KeyError.
	NoIdleAck = "no going_idle_ack: serving on and asking again"

	// Idle says that the connector buffers from now on: the socket is closed.
	Idle = "idle"

	// CloseUnanswered is a warning: the connector's close frame did not come. With KeyError.
	CloseUnanswered = "the connector did not answer the close"

	// Closed says that the socket is closed after Idle. With KeyMS, from Idle.
	Closed = "closed"

	// SecondLook says that the socket is dialled again, as a message may have come without a poke. With KeySlowClose and
	// KeyCameLate.
	SecondLook = "second look"

	// AskedAgain says that a poke came before the lease was given back: the socket is dialled again.
	AskedAgain = "asked to look again"

	// Released says that the lease is given back.
	Released = "released"

	// LeaseKept is an error: the lease could not be given back. With KeyError.
	LeaseKept = "the lease could not be given back: it runs out by itself"

	// LeftUnflipped is a warning: the run ends, and the connector sends live messages to nobody.
	LeftUnflipped = "left without going_idle_ack: live messages may be lost until the next dial"

	// NoHandOff is a warning: work is left, and this function cannot invoke itself.
	NoHandOff = "work is left and nothing to hand it to: the next wake takes it up"

	// NoProgress is a warning: work is left after a run that received and finished nothing.
	NoProgress = "work is left, but this run got nowhere: no hand-off, the schedule goes on"

	// LastHop is a warning: work is left after as many hand-offs as are allowed.
	LastHop = "work is left after DORMOUSE_MAX_HANDOFFS: no hand-off, the schedule goes on"

	// HandOffFailed is an error: work is left, and the function could not invoke itself. With KeyError.
	HandOffFailed = "work is left and could not be handed off: the schedule goes on"

	// DrainEnded comes last in a run that is a successful invocation; as a warning, with KeyError, if another socket has taken
	// the seat. With KeyReport.
	DrainEnded = "drain ended"

	// Metrics is a line of metrics in CloudWatch's embedded format: package metrics. It is written whatever the level is.
	Metrics = "metrics"

	// MetricsUnwritten is a warning. With KeyError.
	MetricsUnwritten = "the metrics of this run could not be written"

	// DrainFailed is an error. It comes last in a run that is a failed invocation. With KeyReport and KeyError.
	DrainFailed = "drain failed"
)

// Keys of package drain's events.
const (
	KeyHop       = "hop"        // how many runs handed work on before this one
	KeyEpoch     = "epoch"      // of the lease
	KeyGateway   = "gateway"    // a gateway id
	KeyReport    = "report"     // what the run answers
	KeyPokeMS    = "poke_ms"    // from the poke to the start of the run, in milliseconds
	KeyPlatforms = "platforms"  // how many the policy is about
	KeyWindow    = "window"     // DORMOUSE_WINDOW, in bytes
	KeyDeadline  = "deadline"   // whether it is because time is up
	KeyIn        = "in"         // how long until the next try
	KeySlowClose = "slow_close" // whether the connector's close came late
	KeyCameLate  = "came_late"  // whether a message came after going_idle_ack
)
