package conform

// drains is the contract's sentence on what a dial brings.
const drains = "After a reconnect the connector drains its buffer in order, one entry per ack (ack-gated), and then goes live."

var sleepChecks = []Check{
	{
		ID: "poke-get", Suite: Sleep, Section: 12, Level: Must,
		Sentence: "the first message for a gateway that is idle and away pokes the wake URL: a GET without content",
		Quote:    "The wake poke is an unsigned GET without content to the registered `wakeUrl`, on the FIRST buffered event",
		needs:    needs{inject: true, wake: true},
		run:      checkPoke,
	},
	{
		ID: "poke-once", Suite: Sleep, Section: 12, Level: Should,
		Sentence: "more messages within the cooldown do not poke again",
		Quote:    "A cooldown per instance limits its rate.",
		needs:    needs{inject: true, wake: true, slow: true},
		run:      checkPokeOnce,
	},
	{
		ID: "poke-open", Suite: Sleep, Section: 19, Level: Should,
		Sentence: "a message between going_idle_ack and the end of the socket pokes, too",
		Quote:    "a message between `going_idle` and the end of the socket is buffered without a poke",
		needs:    needs{inject: true, wake: true, slow: true},
		run:      checkPokeOpen,
	},
	{
		ID: "poke-cooldown", Suite: Sleep, Section: 19, Level: Should,
		Sentence: "a message that came in the cooldown is poked for once the cooldown is over",
		Quote:    "from then on the buffer is not empty, so no later message pokes either",
		needs:    needs{inject: true, wake: true, slow: true},
		run:      checkPokeCooldown,
	},
	{
		ID: "poke-failed", Suite: Sleep, Section: 19, Level: Should,
		Sentence: "a poke that was answered 500 is repeated, at the latest when the cooldown is over",
		Quote:    "a 500, a 429 or a timeout counts as sent",
		needs:    needs{inject: true, wake: true, slow: true},
		run:      checkPokeFailed,
	},
	{
		ID: "poke-connected", Suite: Sleep, Section: 12, Level: Should,
		Sentence: "a message for a gateway that is connected and not idle pokes nobody",
		Quote:    "on the FIRST buffered event of a flipped\n  instance",
		needs:    needs{inject: true, wake: true},
		run:      checkPokeConnected,
	},
	{
		ID: "idle-ack", Suite: Sleep, Section: 12, Level: Must,
		Sentence: "going_idle is answered by going_idle_ack",
		Quote:    "`go_idle` sends `going_idle` and waits for `going_idle_ack`",
		run: func(t *trial) error {
			_, err := t.idler()
			return err
		},
	},
	{
		ID: "idle-flip", Suite: Sleep, Section: 12, Level: Must,
		Sentence: "after going_idle_ack nothing more is sent on that socket: it is buffered",
		Quote:    "A new dial makes the connector drain its buffer and ends the flip.",
		needs:    needs{inject: true},
		run:      checkFlip,
	},
	{
		ID: "idle-again", Suite: Sleep, Section: 12, Level: Should,
		Sentence: "a second going_idle on the same socket is acked, too",
		Quote:    "It\n  returns false when not connected, or when the time is over.",
		run: func(t *trial) error {
			p, err := t.calm()
			for range 2 {
				if err == nil {
					err = p.idle()
				}
			}
			return err
		},
	},
	{
		ID: "idle-hello", Suite: Sleep, Section: 21, Level: Should,
		Sentence: "a further hello on the socket that has gone idle is answered, and ends no flip: nothing is sent there",
		Quote:    "A further hello on a socket neither takes the seat nor ends the flip.",
		needs:    needs{inject: true},
		run:      checkIdleHello,
	},
	{
		ID: "idle-window", Suite: Sleep, Section: 12, Level: Must,
		Sentence: "what is written between going_idle_ack and the end of the socket comes at the next dial",
		Quote:    "the ack may come after further inbound frames",
		needs:    needs{inject: true},
		run:      checkWindow,
	},
	{
		ID: "buffer-away", Suite: Sleep, Section: 12, Level: Must,
		Sentence: "what is written while an idle gateway is away comes at its next dial, with a bufferId that is a string",
		Quote:    drains,
		needs:    needs{inject: true},
		run: func(t *trial) error {
			p, err := t.buffered(t.chat())
			if err != nil {
				return err
			}
			return p.inTurn(1)
		},
	},
	{
		ID: "buffer-unsaid", Suite: Sleep, Section: 21, Level: Should,
		Sentence: "what is written after a gateway has gone without going_idle comes at its next dial",
		Quote:    "buffer for a gateway that has gone without `going_idle`, too",
		needs:    needs{inject: true},
		run:      checkUnsaid,
	},
	{
		ID: "buffer-order", Suite: Sleep, Section: 12, Level: Must,
		Sentence: "buffered messages of several chats come in the order in which they were written",
		Quote:    drains,
		needs:    needs{inject: true},
		run: func(t *trial) error {
			p, err := t.buffered(t.chat(), t.chat(), t.chat())
			if err != nil {
				return err
			}
			return p.inTurn(3)
		},
	},
	{
		ID: "buffer-chat", Suite: Sleep, Section: 12, Level: Must,
		Sentence: "an ack alone brings the next buffered message of the same chat",
		Quote:    drains,
		needs:    needs{inject: true},
		run: func(t *trial) error {
			chat := t.chat()
			p, err := t.buffered(chat, chat, chat)
			if err != nil {
				return err
			}
			return p.inTurn(3)
		},
	},
	{
		ID: "buffer-gated", Suite: Sleep, Section: 12, Level: Should,
		Sentence: "one buffered message is in flight: the next one comes after its ack",
		Quote:    "one entry per ack (ack-gated)",
		needs:    needs{inject: true},
		run:      checkGated,
	},
	{
		ID: "buffer-live", Suite: Sleep, Section: 12, Level: Must,
		Sentence: "once the buffer is drained, what is written comes at once",
		Quote:    "and then goes live",
		needs:    needs{inject: true},
		run:      checkLiveAgain,
	},
	{
		ID: "buffer-acked", Suite: Sleep, Section: 6, Level: Must,
		Sentence: "a message that was acked does not come again",
		Quote:    "A failed ack is ignored, and the entry comes again.",
		needs:    needs{inject: true},
		run:      checkAcked,
	},
	{
		ID: "buffer-again", Suite: Sleep, Section: 19, Level: Must,
		Sentence: "a message whose socket was cut before its ack comes again, with the same bufferId",
		Quote:    "A socket cut before the ack: the same row with the same id at the next hello",
		needs:    needs{inject: true},
		run:      checkAgain,
	},
	{
		ID: "buffer-wrong-ack", Suite: Sleep, Section: 19, Level: Must,
		Sentence: "an ack of another id, of the id as a number, or without an id takes no message out of the buffer",
		Quote:    "`inbound_ack` with the id as a JSON **number**, or another id: ignored silently",
		needs:    needs{inject: true},
		run:      checkWrongAck,
	},
	{
		ID: "buffer-idle-first", Suite: Sleep, Section: 19, Level: Should,
		Sentence: "after going_idle an ack is taken, and brings no further message on that socket",
		Quote:    "`going_idle` sent before the ack of the last row: the ack is taken, nothing more is pumped",
		needs:    needs{inject: true},
		run:      checkIdleFirst,
	},
}
