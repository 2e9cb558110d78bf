package prices

// What one conversation takes, in seconds that Lambda bills. docs/costs.md says where they come from.
const (
	Start = 0.06 // init of a process that is cold
	Stay  = 67.0 // drain's, from the poke: 65 s from the descriptor (DORMOUSE_POKE_COOLDOWN), then going idle and a second look
	Poke  = 0.10 // wake's, for one poke
	Sweep = 3.7  // a look of the schedule at a connector that has nothing
	Skip  = 0.10 // a firing of the schedule that is not due
)

// What the table takes, in units.
const (
	drainWrites   = 10 // lease, seven heartbeats, mark, release
	drainReads    = 2  // recovery, says
	messageWrites = 18
	messageReads  = 1 // its chat
	logGB         = 10e-6
)

// Talk is what a conversation of a poke's drain takes, part by part.
type Talk struct{ Start, Stay, Poke, Table, Log Use }

// TalkOf is a conversation of so many messages within a minute, after a cold start, with a drain of memory MB.
func TalkOf(messages, memory float64) Talk {
	return Talk{
		Start: Use{GBSeconds: GBSeconds(Start, memory)},
		Stay:  Use{GBSeconds: GBSeconds(Stay, memory)},
		Poke:  Use{GBSeconds: GBSeconds(Start+Poke, WakeMemory), Requests: 2, APIRequests: 1},
		Table: Use{Writes: drainWrites + messages*messageWrites, Reads: drainReads + messages*messageReads},
		Log:   Use{LogGB: logGB},
	}
}

// All is the conversation as a whole.
func (t Talk) All() Use { return t.Start.And(t.Stay).And(t.Poke).And(t.Table).And(t.Log) }

// Rest is what a month takes without a message: the schedule, every 5 minutes, of which one firing an hour sweeps.
func Rest(memory float64) Use {
	const firings, sweeps = 8640, 720
	return Use{
		GBSeconds: GBSeconds(sweeps*(Start+Sweep)+(firings-sweeps)*Skip, memory), Requests: firings,
		Writes: firings - sweeps + 4*sweeps, Reads: 2 * sweeps, LogGB: firings * 1e-6,
	}
}
