package logs

// Events of package turn. Each has KeyDelivery, and KeySession where it is named below, unless something else is said.

// What happens to a delivery as it comes in.
const (
	// Journalled says that the journal has a delivery, before its ack is sent. With KeySession and KeyBuffered. It and the next
	// three have KeyMessageID and KeyBufferID, where the delivery has such an id.
	Journalled = "journalled"

	// SetAside is a warning: a delivery cannot become a turn; it is kept as dead and acked. With KeyReason.
	SetAside = "set aside"

	// SeenRunning says that a delivery repeats one that has not ended. With KeyState, that of the first.
	SeenRunning = "seen before, not started again"

	// SeenEnded says that a delivery repeats one that is finished or dead. With KeyState, that of the first.
	SeenEnded = "seen before, acked and dropped"

	// TooLarge is a warning: a delivery has more bytes than an entry of the journal can. With KeyBytes.
	TooLarge = "too large for the journal: a buffered message is acked when its turn is done, a crash loses a live one"

	// NotJournalled is an error: the journal has refused a buffered delivery. With KeyError.
	NotJournalled = "not journalled and not acked: the connector keeps it"

	// LiveLost is an error: the journal has refused a live delivery, and no turn can start. With KeyError.
	LiveLost = "a live message is lost: it could not be journalled"

	// LiveUnkept is an error: the journal has refused a live delivery, whose turn comes all the same. With KeyError.
	LiveUnkept = "a live message is answered without being journalled: a crash now would lose it"

	// TakingUp says that deliveries of earlier runs are queued. With KeyMessages and KeySuspects, without KeyDelivery.
	TakingUp = "taking up what an earlier run left"

	// NotLoaded is a warning: what waits in the journal could not be read. It is tried again. With KeyMessages, KeyError and KeyIn,
	// without KeyDelivery.
	NotLoaded = "messages whose turn has come could not be read: trying again"

	// KeysNotRead is a warning: what earlier runs left could not be read on. It is tried again; no turn starts before. With
	// KeyMessages, how many are known, KeyError and KeyIn, without KeyDelivery.
	KeysNotRead = "what earlier runs left could not be read: trying again"

	// EntryUnreadable is an error: an entry of the journal is no delivery. It is set aside as dead. With KeyError.
	EntryUnreadable = "an entry of the journal cannot be read: set aside as dead"
)

// What happens to a say.
const (
	// SayTaken says that a say has become a delivery. With KeySay, KeySession and KeyWaited.
	SayTaken = "say taken"

	// SaysNotTaken is a warning: the journal has refused what says have become. They stay in the inbox. With KeyMessages and
	// KeyError, without KeyDelivery.
	SaysNotTaken = "says could not be taken into the journal: they stay in the inbox"
)

// What happens to its turn.
const (
	// Turn says that the agent is asked. With KeySession and KeyAttempt.
	Turn = "turn"

	// AnswersLater says that the agent has announced its answer for later: the message waits for it. With KeySession and KeyUntil.
	AnswersLater = "the agent answers later"

	// Merged says that several messages are one turn: KeyDelivery is the key of the last one. With KeySession and KeyMessages.
	Merged = "messages are one turn"

	// SetFailed is a warning: such a turn has failed, and its messages are tried one by one. With KeySession, KeyError and
	// KeyMessages.
	SetFailed = "the turn of several messages failed: they are tried one by one"

	// TurnStopped says that a person has stopped the turn: its answer is not sent. With KeySession.
	TurnStopped = "turn stopped"

	// AgentUnavailable is a warning: the agent cannot be reached or throttles. With KeySession, KeyError, KeyTries and, unless
	// that was the last time, KeyIn.
	AgentUnavailable = "the agent is out of reach: no attempt is counted"

	// BotsLimited is a warning, once an hour and chat: a bot's message is finished without an answer. With KeySession and KeyOf,
	// how many there may be.
	BotsLimited = "the chat's bots are over DORMOUSE_BOT_TURNS: they are not answered for the rest of the hour"

	// DaySpent is a warning, once a run and day. With KeySession and KeyOf, how many turns there may be.
	DaySpent = "the day's budget of turns is used up: what comes waits until 00:00 UTC"

	// TurnNotCounted is a warning: a message that no journal has got a turn, and the next run does not count it. With KeyError.
	TurnNotCounted = "a turn could not be counted for the day's budget"

	// ChatsUnreadable is a warning: it is as if nothing were remembered of a chat. With KeyError, without KeyDelivery.
	ChatsUnreadable = "what is remembered of chats cannot be read"

	// ChatNotNoted is a warning: the next run will not know something of a chat. With KeyError, without KeyDelivery.
	ChatNotNoted = "what is new of a chat could not be written down"

	// AttemptFailed is a warning. With KeySession, KeyError, KeyAttempt and KeyOf.
	AttemptFailed = "attempt failed"

	// Dead is an error: a delivery is given up. With KeyAttempts and KeyError, and KeyAnswer if no journal has the answer.
	Dead = "message is dead: kept with its error"

	// ApologyNotKept is an error: what a chat is to be told could not be kept, and so its message is not dead yet. With KeyError.
	ApologyNotKept = "an apology could not be kept: its message is left for the next run"

	// ChatNotTold is a warning: a text of our own cannot be sent to the chat. With KeyError.
	ChatNotTold = "the chat is not told"

	// AttachmentNotFetched is a warning. With KeySession, KeyNumber, that of the attachment from 0, and KeyError.
	AttachmentNotFetched = "an attachment could not be fetched: the agent gets what is known of it"

	// AttachmentsNotFetched is a warning: there are more of these than AttachmentNotFetched is logged for. With KeySession and
	// KeyMessages, how many.
	AttachmentsNotFetched = "more attachments could not be fetched"

	// FileNotUploaded is a warning: a file of the answer is lost. With KeySession, KeyBytes and KeyError.
	FileNotUploaded = "a file could not be uploaded: a text is sent in its place"
)

// What happens to the actions of its answer before the first leaves. With KeySession.
const (
	// ActionWrong is a warning: an action of the agent's is not sent. With KeyError, which names the field that is wrong.
	ActionWrong = "an action of the answer is wrong: it is left out"

	// ActionsWrong is a warning: more actions of the answer are wrong than ActionWrong is logged for. With KeyMessages, how many.
	ActionsWrong = "more actions of the answer are wrong: they are left out"

	// AnswerCut is a warning: an answer has more actions, or a text more parts, than are sent. The chat is told.
	AnswerCut = "an answer is too much: the rest of it is left out"
)

// What happens to the actions of its answer. Each has KeySession, KeyOp and KeyRequest.
const (
	// Reply says that the connector has carried out an action. With KeyMessageID, which may be empty.
	Reply = "reply"

	// OutcomeUnknown is a warning: an action has been sent and no result came. With KeyError.
	OutcomeUnknown = "no answer to an action: it may have reached the chat and is not sent again"

	// ActionRefused is a warning. With KeyClass, KeyCode, which may be empty, and KeyError, what the connector said.
	ActionRefused = "the connector refused an action"

	// ActionWaits says that an action is sent again. With KeyIn, how long it waits, and KeyTries.
	ActionWaits = "an action waits to be sent again"

	// ActionNotSent is a warning: there was no socket to send an action over, or no right to. With KeyError.
	ActionNotSent = "an action could not be sent: left for the next run"

	// ChatDeclined is a warning: the connector has declined the action's chat before.
	ChatDeclined = "not sent: the connector has declined this chat"

	// NoReact says that a react is left out.
	NoReact = "not sent: within a day the chat has refused a react for good"

	// CannotEdit is a warning: the platform has no edits, or the connector has told no id for the message.
	CannotEdit = "a message cannot be edited: the last text that it was to have is sent"

	// NoThread says that an action is for a thread that was not created.
	NoThread = "an action is for a thread that was not created: skipped"
	// NoMessageKnown is a warning: an edit or a delete does not say which message it is for. The text of an edit may go out as
	// a message.
	NoMessageKnown = "not made: this turn has put no message there that is known by an id"
)

// What the journal did not take of a turn. Each is an error with KeyError, but SuspectStays, which is a warning.
const (
	// StartNotJournalled says that the agent is not asked.
	StartNotJournalled = "a turn's start could not be journalled: left for the next run"

	// ResultsNotKept says that what became of actions cannot be told to their agent now.
	ResultsNotKept = "the results of an answer could not be kept: left for the next run"
	// AnswerNotKept says that a whole answer is thrown away.
	AnswerNotKept = "an answer could not be kept, so it is not sent: left for the next run"

	// ActionNotKept says that an action of a stream is thrown away.
	ActionNotKept = "an action could not be kept, so it is not sent: left for the next run"

	// DraftNotNoted says that a chat does not see a text grow.
	DraftNotNoted = "a draft could not be noted, so it is not shown: its text follows when it is whole"

	// OutcomeNotJournalled says that the next run sends an action once more.
	OutcomeNotJournalled = "an action's outcome could not be journalled: left for the next run"

	// FailureNotJournalled says that a failed attempt is not counted. With KeySession, and KeyReason, why it failed.
	FailureNotJournalled = "a failed attempt could not be journalled: left for the next run"

	// FinishNotJournalled says that the next run takes up a delivery that is done with.
	FinishNotJournalled = "answered, but not journalled as finished: the next run may send the answer again"

	// WaitNotJournalled is a warning: the next run tries a delivery at once that has to wait.
	WaitNotJournalled = "when a message may be tried again could not be journalled"

	// Unwritten says what is known and in no journal as the run ends: an action's outcome, with KeyNumber and KeyOutcome, or
	// without them that a delivery is done with. It has no KeyError.
	Unwritten = "known and not written: the next run may send it again"

	// SuspectStays says that a delivery that is deferred could not be put back to where it was before its turn.
	SuspectStays = "the next run will take a turn for a suspect that was only cut short"
)

// What happens to prompts. Those about an answer to a prompt have KeySession and KeyPrompt.
const (
	// PromptNotKept is an error. With KeyError.
	PromptNotKept = "a prompt could not be kept, so it is not sent: left for the next run"

	// PromptNotDropped is a warning. With KeyError.
	PromptNotDropped = "a refused prompt stays known until its time is over"

	// PromptForeign says that a button of another gateway's prompt was pressed.
	PromptForeign = "an answer to another gateway's prompt: dropped"

	// PromptAnsweredBefore says that a button of a prompt was pressed that has been answered.
	PromptAnsweredBefore = "a prompt answered before: dropped"

	// PromptClosed says that a button was pressed too late; the chat is told.
	PromptClosed = "a prompt that is not open any more"

	// PromptsUnreadable is an error. With KeyError.
	PromptsUnreadable = "prompts cannot be read: left for the next run"
)

// Keys of package turn's events.
const (
	KeyBuffered  = "buffered"   // whether the connector had buffered the delivery
	KeySay       = "say"        // the key of a say
	KeyWaited    = "waited_ms"  // how long it was in the inbox
	KeyUntil     = "until"      // when its time is over
	KeyState     = "state"      // of an entry of the journal; "unkept" for a delivery that has none
	KeyMessages  = "messages"   // how many
	KeySuspects  = "suspects"   // how many of them
	KeyAttempt   = "attempt"    // its number, from 1
	KeyOf        = "of"         // how many attempts a delivery has
	KeyNumber    = "number"     // of an item, from 0
	KeyOp        = "op"         // of an action
	KeyRequest   = "request"    // the request id of an action; empty for one that is not kept
	KeyMessageID = "message_id" // of the message that an action made, or that came
	KeyBufferID  = "buffer_id"  // the connector's, of a delivery that it had buffered
	KeyCode      = "code"       // of a refusal
	KeyPrompt    = "prompt"     // the prompt's id
	KeyClass     = "class"      // of a refusal
	KeyTries     = "tries"      // how often it was in vain
	KeyOutcome   = "outcome"    // of an action
	KeyAnswer    = "answer"     // the actions of an answer
)
