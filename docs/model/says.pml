/*
 * Speaking first: two says for one gateway, one of which EventBridge sends twice. Whoever gets one keeps it under its key, and
 * then has it seen: by the holder of the lease, or as a run of his own. Two runs at most at a time; a process dies at any step,
 * and a run's time is up, at most FAULTS and ENDS times. README.md, "The parts", says what must hold; each flag takes one rule
 * away.
 */

#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef ENDS
#define ENDS 1
#endif

#define NONE 2 /* this invocation carries no say */

/* A say's item, and the entry that it becomes. */
#define ABSENT 0
#define WAITS 1
#define TAKEN 2
byte inbox[2];
#define OPEN 1
#define SENT 2
#define DONE 3
byte entry[2];     /* 0: there is none */
bool over[2];      /* the entry has ended, and may be forgotten after a week; the say's key is known for longer */

/* The state item. */
byte owner;        /* 0: the lease is free */
bool asked;
bool said;         /* a mark for a say has come since the holder was last told of it */
bool passed[2] = 1; /* the lease has passed to another since this run found it held */
bool lapsed;       /* the holder is dead, and his lease has run out */
bool gone;         /* the holder is dead */

/* Lambda's queue. */
byte events[2];    /* invocations that carry a say */
byte again;        /* others: a run that was out of time has handed on */

bool rests[2] = 1; /* a process without an invocation */
byte sends[2];     /* what the chat got */
byte excused;      /* processes that died between a send and its outcome */
bool marked[2];    /* an invocation has left it to the holder, who has not looked since */
byte faults = FAULTS;
byte ends = ENDS;
bool tick;

hidden byte said_once, none_lost, seen_soon, left_behind; /* asserted where it would break */

#define free (!owner || lapsed)
#define mine (owner == me + 1)
#define pass passed[0] = 1; passed[1] = 1
#define open(k) (entry[k] == OPEN || entry[k] == SENT)
#define there (inbox[0] == WAITS || inbox[1] == WAITS || open(0) || open(1))
#define atRest (rests[0] && rests[1] && !events[0] && !events[1] && !again)
#define unseen(k) (marked[k] && inbox[k] == WAITS)

/* dies is a process that ends without a word. Lambda invokes once more for what it has not heard the end of. */
#define dies atomic { faults -> faults--; goto died }

/* put is the conditional write of a say's item, before anything else is done with it. */
inline put() {
	if
#ifdef PUT_ANYWAY
	:: k != NONE -> inbox[k] = WAITS
#else
	:: k != NONE && inbox[k] == ABSENT -> inbox[k] = WAITS
	:: k != NONE && inbox[k] == TAKEN -> speaks = 0 /* no more reason for a run than a schedule is */
	:: k != NONE && inbox[k] == WAITS
#endif
	:: k == NONE
	fi
}

/* hear is an answer of the ledger that has the state item. */
inline hear() {
	due = due || said;
	said = 0
}

/* look reads the index of says. What the ledger has told of marks so far is heard then. */
inline look() {
	due = 0;
	saw[0] = (inbox[0] == WAITS);
	saw[1] = (inbox[1] == WAITS);
	marked[0] = 0; marked[1] = 0
}

/* take is one transaction: the say is taken, and its entry is written unless it is known. */
inline take(n) {
	saw[n] = 0;
	if
	:: inbox[n] == WAITS ->
		inbox[n] = TAKEN;
#ifdef FORGET_TAKEN
		inbox[n] = ABSENT;
#endif
		if
		:: !entry[n] -> entry[n] = OPEN
		:: else
		fi
	:: else
	fi
}

#ifdef TAKE_APART
#define takes(n) \
	:: atomic { saw[n] && inbox[n] == WAITS -> inbox[n] = TAKEN } \
	:: atomic { saw[n] && inbox[n] == TAKEN -> saw[n] = 0; entry[n] = (entry[n] -> entry[n] : OPEN) }
#else
#define takes(n) :: atomic { saw[n] -> take(n) }
#endif

/* sending is an action that leaves, and its outcome, which is written down before the entry is finished. */
inline send(n) {
	sends[n]++;
	if
	:: sends[n] > 1 + excused -> assert(said_once)
	:: else
	fi
}

#define nothing (!due && !saw[0] && !saw[1] && !open(0) && !open(1))

active [2] proctype drain() {
	byte me = _pid;
	byte k;
	bool speaks, saw[2], flies;
	bool due; /* an answer of the ledger has told of a mark, and no look has followed */

idle:
	atomic {
		k = NONE; due = 0; speaks = 0;
		saw[0] = 0; saw[1] = 0; flies = 0;
		passed[me] = 1; rests[me] = 1
	}
end:
	if
	:: atomic { events[0] -> events[0]--; k = 0; speaks = 1; rests[me] = 0 }
	:: atomic { events[1] -> events[1]--; k = 1; speaks = 1; rests[me] = 0 }
	:: atomic { again -> again--; rests[me] = 0 }
#if !defined(SAFETY) && !defined(NO_SCHEDULE)
	/* The schedule: a sweep, or a look for the mark; only where it finds something, for the search's sake. */
	:: atomic { free && (asked || lapsed || there) -> rests[me] = 0 }
#endif
	fi;

#ifndef MARK_BEFORE_KEEP
	if
	:: atomic { true -> put() }
	:: dies
	fi;
#endif

acquire:
	if
	:: atomic { free -> owner = me + 1; pass; lapsed = 0; gone = 0; said = 0 }
	:: atomic { !free -> passed[me] = 0; goto taken }
	:: dies
	fi;
#ifdef MARK_BEFORE_KEEP
	if
	:: atomic { true -> put() }
	:: dies
	fi;
#endif
	if
	:: atomic { true -> look() } /* beside what earlier runs left */
	:: dies
	fi;

serve:
	do
	/* A heartbeat: each third of a lease. Its answer is the state item. */
	:: atomic { said ->
#ifndef HEARTBEAT_DEAF
		hear();
#endif
		if
		:: (unseen(0) || unseen(1)) && !due -> assert(seen_soon)
		:: else
		fi }
	:: atomic { due && !saw[0] && !saw[1] -> look() }
	takes(0)
	takes(1)
	:: atomic { entry[0] == OPEN && !flies -> send(0); flies = 1 }
	:: atomic { entry[0] == OPEN && flies -> flies = 0; entry[0] = SENT }
	:: atomic { entry[0] == SENT -> entry[0] = DONE; over[0] = 1 }
	:: atomic { entry[1] == OPEN -> send(1); entry[1] = DONE; over[1] = 1 } /* its steps are those of the other one */
	/* Quiet: the mark is cleared, and what is marked from now on is a reason to look again. */
	:: atomic { nothing ->
		asked = 0;
#ifndef CLEAR_DEAF
		hear();
#endif
		if
		:: !due -> goto going
		:: else
		fi }
	:: atomic { ends -> ends--; goto handOff }
	:: dies
	od;

	/* going_idle, its ack, the close: all that comes meanwhile is served in another look. */
going:
	do
	:: atomic { said -> hear(); goto serve } /* a heartbeat in between */
	:: atomic { !asked -> owner = 0; said = 0; pass; goto well } /* the release */
	:: atomic { asked ->
#ifndef RELEASE_DEAF
		hear();
		goto serve
#else
		owner = 0; said = 0; pass; /* as for a poke, if there is no token for it: the mark stands */
		goto well
#endif
		}
	:: atomic { ends -> ends--; goto handOff }
	:: dies
	od;

handOff:
	if
	:: atomic { true ->
		entry[0] = (flies -> SENT : entry[0]); /* no answer came in time: unknown, and not sent again */
		flies = 0;
		owner = 0; pass;
		if
#ifndef HANDOFF_DEAF
		:: asked || due || saw[0] || saw[1] || open(0) || open(1) -> again++
#else
		:: open(0) || open(1) -> again++
#endif
		:: else
		fi;
		said = 0;
		goto well }
	:: dies
	fi;

taken: /* by another run */
	if
	:: atomic { !speaks -> goto well } /* a continuation finds another drain, a schedule marks nobody */
	:: atomic { speaks && !passed[me] ->
		asked = 1; said = 1;
#ifdef MARK_BEFORE_KEEP
		goto keep
#else
		marked[k] = (inbox[k] == WAITS -> 1 : marked[k]);
		goto well
#endif
		}
	:: atomic { speaks && passed[me] -> goto acquire } /* it was given back meanwhile */
	:: dies
	fi;
#ifdef MARK_BEFORE_KEEP
keep:
	if
	:: atomic { true -> put() }
	:: dies
	fi;
#endif

well: /* the invocation ends well: Lambda forgets it */
	atomic {
		if
		:: k != NONE && inbox[k] == ABSENT && !entry[k] && !over[k] -> assert(none_lost)
		:: else
		fi;
		goto idle
	}

died:
	atomic {
		if
#ifndef ACCEPTED_UNKEPT
		:: k != NONE -> events[k]++
#endif
		:: k != NONE && inbox[k] != ABSENT /* tried for long enough */
#ifdef ACCEPTED_UNKEPT
		:: k != NONE && inbox[k] == ABSENT && !events[k] && !entry[k] -> assert(none_lost)
		:: k != NONE && inbox[k] == ABSENT && events[k]
#endif
		:: k == NONE
		fi;
		if
		:: mine -> gone = 1
		:: else
		fi;
		if
		:: flies -> excused++
		:: else
		fi;
		if
		:: inbox[0] == TAKEN && !entry[0] && !over[0] -> assert(none_lost)
		:: inbox[1] == TAKEN && !entry[1] && !over[1] -> assert(none_lost)
		:: else
		fi;
		goto idle
	}
}

init {
#ifdef SAFETY
	atomic { events[0] = 2; events[1] = 1 } /* they come when they come: an event that waits may start at any time */
#else
	atomic { events[0] = 1; events[1] = 1 } /* a death doubles one */
#endif
end:
	do
	:: atomic { gone && !lapsed -> lapsed = 1 }
#ifdef SAFETY
	:: atomic { entry[0] == DONE -> entry[0] = 0 } /* a week later */
	:: atomic { atRest && faults == FAULTS && there -> assert(left_behind) }
#else
	:: atomic { !(gone && !lapsed) -> tick = !tick } /* time goes on, so that nothing ends by standing still */
#endif
	od
}

#ifndef SAFETY
ltl all_said { <> [] (over[0] && over[1] && inbox[0] == TAKEN && inbox[1] == TAKEN) }
#endif
