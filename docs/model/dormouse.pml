/*
 * When Dormouse dials and when it leaves: poke, wake, drain, lease, mark, budget of empty looks, sweep and hand-off, against
 * a connector that buffers, flips and pokes. README.md says what is modelled, what is left out, and how to run it.
 *
 * Each option of each loop is one atomic step: one frame, one conditional write, or one stroke of bad luck. HOSTED chooses
 * the connector that pokes while flipped; without it, it is the one that pokes only while nobody is connected and its buffer
 * was empty (contract, section 19). Each flag that takes a line of the protocol away stands at that line, and is run by
 * scripts/model.sh.
 */

#ifndef FAULTS
#define FAULTS 2 /* strokes of bad luck in a whole history */
#endif
#ifndef ENDS
#define ENDS 1 /* invocations whose time runs out */
#endif

/* Where a message is, and how far its turn has come. */
#define UNSENT 0
#define BUFFERED 1
#define LIVE 2 /* + i: a live frame on its way to drain i, hence 2 or 3 */
#define GONE 4 /* acked, or taken live */
#define LOST 5
byte place[2];
byte turn[2]; /* 0: not journalled; 1: journalled; 2: finished */

/* The connector. */
#define GHOST 3
byte seat;        /* 0: nobody; 1 + i: drain i; GHOST: a socket whose other end is no more */
bool flipped = 1; /* events are buffered, not sent */
bool sent;        /* the first buffered entry is on its way to the seat */
byte cool;        /* cooldown after a poke: 1: it began after the last descriptor; 2: before it; 3: and was sat out */

/* Lambda's queue of asynchronous invocations. */
byte wakes;
bool continues;

/* The ledger's state item. That the lease is drain i's stands for the epoch: a slot runs one drain at a time. */
#define DEAD 3
byte owner; /* 0: free; 1 + i: drain i; DEAD: a drain that is no more */
bool lapsed; /* no heartbeat for a whole life */
bool asked;  /* the mark */
#define LATER 0 /* the interval has grown beyond the first */
#define SOON 1  /* the first interval */
#define DUE 2
byte plan = DUE;

/* Two drains at most. */
#define OFF 0
#define DIAL 2
#define SERVE 3
#define GOING 4   /* going_idle is written */
#define FLIPPED 5 /* the connector has flipped, going_idle_ack is on its way */
#define CLOSED 6
#define RELEASE 7
#define HANDOFF 8
#define AGAIN 9
byte pc[2];
#define WAKE 0
#define SCHEDULE 1
#define CONTINUE 2
byte reason[2];
bool frozen[2];
bool late[2];     /* time is nearly up */
bool shaken[2];   /* there has been a handshake in this run */
bool idle[2];     /* the ack is in, and no dial since: the connector buffers for us */
bool received[2]; /* anything, in this run */
bool finished[2]; /* a turn, in this run */
bool backlog[2];  /* a buffered entry, on this socket */
byte row[2];      /* the entry on its way: 1: journalled; 2: its ack is written */
bool heir[2];     /* took over a lease that had run out */

byte faults = FAULTS;
byte ends = ENDS;

/* What only the properties look at. The search for cycles does without it. */
#ifdef SAFETY
#define ghost(x) (x)
#else
#define ghost(x) 0
#endif
byte newest;   /* 1 + the drain that was granted the lease last, if it still runs */
bool owed;     /* a poke was accepted, and no descriptor came since */
bool gap;      /* a loss that README.md admits may happen: a drain died or stalled, no dial since */
bool fresh;    /* something was received since the last sweep fell due */
bool seen[2];  /* so far all is well, and it was in the buffer at a descriptor, or came into it on an open socket */

#define clean (faults == FAULTS) /* nothing has gone wrong; time may have run out */
#define waiting (place[0] == BUFFERED || place[1] == BUFFERED)
#define head (place[0] == BUFFERED -> 0 : 1)
#define work (turn[0] == 1 || turn[1] == 1)
#define mine(i) (owner == 1 + i)
#define seated(i) (seat == 1 + i)
#define socket(i) (pc[i] >= SERVE && pc[i] <= FLIPPED)
#define running(i) (pc[i] >= DIAL && pc[i] <= RELEASE)
#define frames(i) (place[0] == LIVE + i || place[1] == LIVE + i)
#define unread(i) (seated(i) && sent && !row[i] || frames(i))

/* The properties' names: see README.md. Each is always false, so that asserting it fails. */
hidden byte nothing_lost, one_writer, stays_until_flipped, cooldown_sat_out;
hidden byte wake_heeded, lease_free, backlog_taken, sleeps_flipped, sweep_soon;

/* unlucky counts what may go wrong, now and then. */
inline unlucky() {
	faults--;
	seen[0] = 0;
	seen[1] = 0
}

/* ---- The connector ---- */

inline poke() {
	if
	:: cool ->
		if
		:: cool == 3 -> assert(cooldown_sat_out)
		:: else
		fi
	:: else ->
		cool = 1;
		if
		:: true /* a 500, a 429, a timeout: counts as sent */
		:: true -> owed = ghost(1); wakes = (wakes < 2 -> wakes + 1 : 2)
		fi
	fi
}

inline arrive(m) {
	if
	:: seat && !flipped && waiting -> /* behind the backlog */
		place[m] = BUFFERED;
		seen[m] = ghost(clean && seat != GHOST)
	:: seat && !flipped && !waiting && seat != GHOST -> place[m] = LIVE + seat - 1
	:: seat == GHOST && !flipped && !waiting -> lose(m)
#ifdef HOSTED
	:: !seat && !flipped -> lose(m)
	:: flipped ->
#else
	:: !seat || flipped ->
#endif
		if
		:: !waiting ->
			place[m] = BUFFERED;
#ifdef HOSTED
			poke()
#else
			if
			:: !seat -> poke()
			:: else
			fi
#endif
		:: else -> place[m] = BUFFERED
		fi
	fi
}

/* lose is for a live event that is sent to nobody. */
inline lose(m) {
	if
	:: ghost(!gap) -> assert(nothing_lost)
	:: else -> place[m] = LOST
	fi
}

/* ---- The drain ---- */

/* vacant is a slot that the next drain takes: the first that is free. */
#define vacant(i) (pc[i] == OFF && (i == 0 || pc[0] != OFF))

/* off forgets everything that a run knew. */
inline off(i) {
	d_step {
		newest = (newest == 1 + i -> 0 : newest);
		pc[i] = OFF;
		reason[i] = 0;
		late[i] = 0;
		shaken[i] = 0;
		idle[i] = 0;
		received[i] = 0;
		finished[i] = 0;
		backlog[i] = 0;
		row[i] = 0;
		heir[i] = 0
	}
}

/* drop is for live frames that were on their way to a socket that ends without being read to its end. */
inline drop(i) {
	d_step {
		place[0] = (place[0] == LIVE + i -> LOST : place[0]);
		place[1] = (place[1] == LIVE + i -> LOST : place[1])
	}
}

/* unseat ends the drain's socket. */
inline unseat(i) {
	d_step {
		place[0] = (place[0] == LIVE + i -> LOST : place[0]);
		place[1] = (place[1] == LIVE + i -> LOST : place[1]);
		row[i] = 0;
		sent = (seated(i) -> 0 : sent);
		seat = (seated(i) -> 0 : seat)
	}
}

/* lost is for a drain that knows, or must assume, that the lease is another's: it writes nothing more to the ledger. */
inline lost(i) {
	if
	:: seated(i) ->
#ifndef LOSE_SILENTLY
		flipped = 1; /* going_idle and a close frame, as on SIGTERM */
#endif
		unseat(i)
	:: else -> drop(i)
	fi;
	if
	:: mine(i) -> owner = DEAD
	:: else
	fi;
	off(i)
}

/* written is for a journal write that the ledger takes. */
inline written(i) {
	if
	:: ghost(newest != 1 + i) -> assert(one_writer)
	:: else
	fi
}

/* Every journal write demands the lease, and whoever has slept through his lease does not dial. */
#ifdef UNFENCED
#define may_write(i) true
#else
#define may_write(i) mine(i)
#endif
#ifdef DIAL_WITHOUT_LEASE
#define may_dial(i) true
#else
#define may_dial(i) mine(i)
#endif

/* acquire is a start and its first write: a drain that has not come so far might as well be in the queue still. */
inline acquire(i, why) {
	if
	:: owner && !lapsed -> /* taken */
#ifndef LOSER_DOES_NOT_MARK
		if
		:: why != SCHEDULE -> asked = 1
		:: else
		fi
#endif
	:: (!owner || lapsed) && why == WAKE && faults -> /* the budget of empty looks is spent */
		unlucky();
		asked = 1
	:: !owner || lapsed ->
		reason[i] = why;
		heir[i] = owner != 0;
		owner = 1 + i;
		newest = ghost(1 + i);
		lapsed = 0;
		pc[i] = DIAL
	fi
}

/* descriptor is a dial that succeeds. It undoes the flip, and the connector starts with its backlog. */
inline descriptor(i) {
	seat = 1 + i;
	flipped = 0;
	sent = waiting;
	seen[0] = ghost(clean && place[0] == BUFFERED);
	seen[1] = ghost(clean && place[1] == BUFFERED);
	if
	:: cool -> cool = 2
	:: else
	fi;
	owed = 0;
	gap = 0;
	shaken[i] = 1;
	idle[i] = 0;
	backlog[i] = 0;
	row[i] = 0;
	pc[i] = SERVE
}

/* acked is an ack that the connector reads. One that was written behind going_idle brings no other entry. */
inline acked(i) {
	k = head;
	place[k] = GONE;
	seen[k] = 0;
	k = 0;
	row[i] = 0;
	sent = waiting && !flipped
}

/* clear takes the mark away. */
inline clear(i) {
	if
	:: mine(i) -> asked = 0
	:: else
	fi
}

/* soon is when a sweep is to follow after the first interval: something was received, by this run or perhaps by the dead one
   whose lease it took over, a turn is left, or the connector may not have flipped. */
#if defined(HEIR_PLANS_NOTHING)
#define soon(i) (received[i] || !idle[i] || work)
#elif defined(WORK_PLANS_NOTHING)
#define soon(i) (received[i] || !idle[i] || heir[i])
#elif defined(UNFLIPPED_SWEEP_DOUBLES)
#define soon(i) (received[i] || !idle[i] && reason[i] != SCHEDULE || heir[i] || work)
#else
#define soon(i) (received[i] || !idle[i] || heir[i] || work)
#endif

/* swept is that the planned sweep was due; a look that the mark asked for before that moves no plan. */
#ifdef EARLY_LOOK_DOUBLES
#define swept true
#else
#define swept (plan == DUE)
#endif

/* giveBack frees the lease and plans the next sweep. */
inline giveBack(i) {
	owner = 0;
	lapsed = 0;
	if
	:: soon(i) -> plan = SOON
	:: !soon(i) && reason[i] == SCHEDULE && swept -> plan = LATER
	:: else /* a look that nobody planned moves no plan */
	fi
}

inline release(i) {
	if
	:: !mine(i) -> off(i)
#ifdef RELEASE_UNCONDITIONALLY
	:: mine(i) ->
#else
	:: mine(i) && asked -> pc[i] = DIAL
	:: mine(i) && !asked ->
#endif
		if
		:: !idle[i] -> assert(stays_until_flipped)
		:: else
		fi;
		cool = (cool && backlog[i] -> 3 : cool);
		giveBack(i);
		off(i)
	fi
}

/* handOff is the end of a run that could not end in release: out of time, or out of patience with the connector. */
inline handOff(i) {
	if
	:: shaken[i] && !idle[i] && !late[i] -> assert(stays_until_flipped)
	:: else
	fi;
	if
	:: !mine(i) -> off(i)
#ifdef HANDOFF_RESPECTS_MARK
	:: mine(i) && asked -> owner = DEAD; pc[i] = AGAIN
	:: mine(i) && !asked ->
#else
	:: mine(i) ->
#endif
		giveBack(i);
		if
		:: late[i] && (work || asked || !idle[i]) && (received[i] || finished[i]) -> pc[i] = AGAIN
		:: late[i] && (work || asked || !idle[i]) && !(received[i] || finished[i]) ->
			if
			:: faults -> unlucky() /* it got nowhere: no hand-off */
			:: else
			fi;
			off(i)
		:: else -> off(i)
		fi
	fi
}

/* quiet is whoever has nothing to do; after a backlog, not before the connector's cooldown is over. */
#if defined(NO_HOLD)
#define quiet(i) (!unread(i) && !row[i] && !work)
#elif defined(LEAVE_BACKLOG)
#define quiet(i) (!row[i] && !work)
#else
#define quiet(i) (!unread(i) && !row[i] && !work && !(backlog[i] && cool == 2))
#endif

/* may_give_up is whoever leaves the connector flipped, or has not met it. */
#ifdef GIVE_UP_UNFLIPPED
#define may_give_up(i) true
#else
#define may_give_up(i) (!shaken[i] || idle[i])
#endif

/* ripe is a message whose turn may end: its ack is written, and its turn started before time was nearly up. */
#define ripe(i, m) (turn[m] == 1 && !(row[i] == 1 && place[m] == BUFFERED) && !(late[i] && pc[i] >= GOING))
#define ready(i) (ripe(i, 0) || ripe(i, 1))

/* retry: Lambda starts an invocation that died once more, or it has done so before. */
inline retry(i) {
	if
	:: reason[i] == WAKE -> wakes = (wakes < 2 -> wakes + 1 : 2)
	:: reason[i] == CONTINUE -> continues = 1
	:: true
	fi
}

/* crash is SIGKILL, a host that fails, or SIGTERM. */
inline crash(i) {
	if
	:: seated(i) ->
		if
		:: !flipped -> gap = ghost(1)
		:: else
		fi;
		if
		:: unseat(i)                          /* the kernel closes the socket */
		:: drop(i); seat = GHOST; sent = 0    /* nobody does */
		:: frozen[i] == 0 -> flipped = 1; unseat(i) /* going_idle and a close frame, within SIGTERM's 300 ms */
		fi
	:: else -> drop(i)
	fi;
	if
	:: mine(i) -> owner = DEAD
	:: else
	fi;
	retry(i);
	frozen[i] = 0;
	off(i)
}

active [2] proctype drain() {
	byte i = _pid;
	byte k;
end:
	do
	/* Lambda starts an invocation, sometimes twice, or in vain: it dies at once, and so does its repetition. */
	:: atomic { vacant(i) && wakes ->
		if
		:: wakes--; acquire(i, WAKE)
		:: faults -> unlucky(); acquire(i, WAKE)
		:: faults -> unlucky(); wakes--; owed = 0 /* as good as a poke that was never sent */
		fi }
	:: atomic { vacant(i) && continues ->
		if
		:: continues = 0; acquire(i, CONTINUE)
		:: faults -> unlucky(); acquire(i, CONTINUE)
		:: faults -> unlucky(); continues = 0
		fi }

#ifdef HOSTED /* whoever has the seat is replaced; else he keeps it */
	:: atomic { pc[i] == DIAL && !frozen[i] && may_dial(i) -> descriptor(i) }
#else
	:: atomic { pc[i] == DIAL && !frozen[i] && may_dial(i) && !seat -> descriptor(i) }
#endif

	/* A buffered delivery: journalled, then acked; the ack brings the next. */
#ifdef ACK_BEFORE_JOURNAL
	:: atomic { socket(i) && !frozen[i] && seated(i) && sent && !row[i] ->
		received[i] = 1; backlog[i] = 1; fresh = ghost(1); row[i] = 1;
		k = head; place[k] = GONE; sent = waiting && !flipped; k = 0 }
	:: atomic { socket(i) && !frozen[i] && row[i] ->
		if
		:: mine(i) ->
			turn[0] = (place[0] == GONE && !turn[0] -> 1 : turn[0]);
			turn[1] = (place[1] == GONE && !turn[1] -> 1 : turn[1]);
			row[i] = 0
		:: else -> lost(i)
		fi }
#else
	:: atomic { socket(i) && !frozen[i] && seated(i) && sent && !row[i] ->
		if
		:: may_write(i) ->
			written(i);
			received[i] = 1;
			backlog[i] = 1;
			fresh = ghost(1);
			row[i] = 1;
			k = head;
			turn[k] = (turn[k] -> turn[k] : 1);
			k = 0
		:: else -> lost(i)
		fi }
	:: atomic { socket(i) && !frozen[i] && row[i] == 1 -> row[i] = 2 }
	:: atomic { (pc[i] == SERVE || pc[i] == FLIPPED) && seated(i) && row[i] == 2 -> acked(i) }
#endif

	/* A live one. */
	:: atomic { socket(i) && !frozen[i] && frames(i) ->
		if
		:: may_write(i) ->
			written(i);
			received[i] = 1;
			fresh = ghost(1);
			k = (place[0] == LIVE + i -> 0 : 1);
			place[k] = GONE;
			turn[k] = 1;
			k = 0
		:: else -> lost(i)
		fi }

	/* A turn ends: of this run's deliveries, or of what an earlier run left. */
	:: atomic { socket(i) && !frozen[i] && ready(i) ->
		if
		:: may_write(i) ->
			written(i);
			finished[i] = 1;
			k = (ripe(i, 0) -> 0 : 1);
			turn[k] = 2;
			k = 0
		:: else -> lost(i)
		fi }

	/* Quiet long enough, or time is nearly up: clear the mark, then going_idle. */
	:: atomic { pc[i] == SERVE && !frozen[i] && seated(i) &&
		(late[i] && row[i] != 2 || quiet(i)) ->
		if
		:: !mine(i) -> lost(i)
		:: else ->
#ifndef CLEAR_AFTER_CLOSE
			asked = 0;
#endif
			pc[i] = GOING
		fi }
	:: atomic { pc[i] == GOING && seated(i) -> flipped = 1; pc[i] = FLIPPED }
#ifdef LEAVE_WITHOUT_ACK
	:: atomic { pc[i] == GOING && !frozen[i] && seated(i) && !unread(i) -> unseat(i); pc[i] = CLOSED }
#endif
	/* The ack comes behind every frame that was sent before it; the close follows at once. */
	:: atomic { pc[i] == FLIPPED && !frozen[i] && seated(i) && !unread(i) ->
		unseat(i);
		idle[i] = 1;
		pc[i] = CLOSED }
	:: atomic { pc[i] == CLOSED && !frozen[i] ->
		if
		:: late[i] -> pc[i] = HANDOFF
		:: !late[i] && work -> pc[i] = DIAL
		:: !late[i] && !work && faults -> unlucky(); pc[i] = DIAL /* the peer's close came late: a second look */
		:: !late[i] && !work ->
#ifdef CLEAR_AFTER_CLOSE
			clear(i);
#endif
			pc[i] = RELEASE
		fi }
	:: atomic { pc[i] == RELEASE && !frozen[i] -> release(i) }

	/* Time is nearly up; then it is up. */
	:: atomic { running(i) && !late[i] && ends -> ends--; late[i] = 1 }
	:: atomic { late[i] && pc[i] >= DIAL && pc[i] <= FLIPPED && !frozen[i] ->
		if
		:: mine(i) ->
			gap = ghost(gap || seated(i) && !flipped);
			unseat(i);
			pc[i] = HANDOFF
		:: else -> lost(i)
		fi }
	:: atomic { late[i] && pc[i] == RELEASE && !frozen[i] -> pc[i] = HANDOFF }
	:: atomic { pc[i] == HANDOFF && !frozen[i] -> handOff(i) }
	:: atomic { pc[i] == AGAIN && !frozen[i] ->
		if
		:: continues = 1
		:: faults -> unlucky() /* MAX_HANDOFFS, or the invoke failed */
		fi;
		off(i) }

	/* The socket has ended: replaced by a later holder, or dropped by a connector that took us for dead. What it held is read first. */
	:: atomic { socket(i) && !frozen[i] && !seated(i) && !frames(i) ->
		row[i] = 0;
		if
		:: !mine(i) -> lost(i)
		:: mine(i) -> pc[i] = DIAL
		fi }

	/* The heart. */
	:: atomic { running(i) && !frozen[i] && mine(i) && lapsed -> lapsed = 0 }
	:: atomic { running(i) && !frozen[i] && !mine(i) -> lost(i) }

	/* Bad luck. */
	:: atomic { pc[i] != OFF && faults && !frozen[i] -> unlucky(); crash(i) }
	:: atomic { pc[i] != OFF && faults && !frozen[i] ->
		unlucky();
		frozen[i] = 1;
		gap = ghost(gap || seated(i) && !flipped) }
	:: atomic { running(i) && faults && !frozen[i] && mine(i) -> unlucky(); lost(i) } /* no heartbeat succeeds */
	:: atomic { pc[i] == GOING && faults && seated(i) && !frozen[i] -> unlucky(); pc[i] = SERVE } /* no ack */
	:: atomic { socket(i) && faults && seated(i) && mine(i) && !frozen[i] -> /* the socket breaks */
		unlucky();
		gap = ghost(gap || !flipped);
		unseat(i);
		pc[i] = DIAL }
	:: atomic { pc[i] == DIAL && faults && !frozen[i] && !late[i] && may_give_up(i) -> /* 100 s of patience are over */
		unlucky();
		if
		:: true
		:: reason[i] == WAKE -> wakes = (wakes < 2 -> wakes + 1 : 2) /* failed: Lambda tries once more */
		fi;
		pc[i] = HANDOFF }
	od
}

/* ---- Messages, time and the schedule ---- */

inline thaw(i) {
	frozen[i] = 0;
	if
	:: seated(i) && mine(i) -> gap = 0 /* what was sent meanwhile is still to be read */
	:: else
	fi
}

/* clock is what surely comes to pass. */
active proctype clock() {
end:
	do
	:: atomic { cool -> cool = 0 }
	:: atomic { seat == GHOST -> seat = 0 }
	:: atomic { seat && seat != GHOST && frozen[seat - 1] -> seat = 0; sent = 0 } /* no pong */
	:: atomic { owner && !lapsed && (owner == DEAD || frozen[owner - 1]) -> lapsed = 1 }
	:: atomic { frozen[0] -> thaw(0) }
	:: atomic { frozen[1] -> thaw(1) }
	:: atomic { frozen[0] -> crash(0) } /* Lambda's timeout */
	:: atomic { frozen[1] -> crash(1) }
	od
}

#define reason_to_look (lapsed || !owner && (asked || plan == DUE))

/* world is messages, which may never come, and sweeps: they fall due and the schedule fires, for ever. A firing that would
   end in the acquiring write's condition is left out. */
active proctype world() {
end:
	do
	:: atomic { place[0] == UNSENT -> arrive(0) }
	:: atomic { place[0] != UNSENT && place[1] == UNSENT -> arrive(1) }
	:: atomic { !owner && plan != DUE -> plan = DUE; fresh = 0 }
#ifdef NO_SCHEDULE
	:: atomic { plan == DUE -> plan = LATER } /* time goes on all the same */
#else
	:: atomic { vacant(0) && reason_to_look -> acquire(0, SCHEDULE) }
	:: atomic { vacant(1) && reason_to_look -> acquire(1, SCHEDULE) }
#endif
	od
}

/* ---- Properties; those of a single step are asserted at that step ---- */

#define rest (pc[0] == OFF && pc[1] == OFF && !wakes && !continues)
#define unplanned (!owner && !asked && plan == LATER)

#ifdef SAFETY
active proctype monitor() {
end:
	do
	:: atomic { rest && clean && owed -> assert(wake_heeded) }
	:: atomic { rest && owed && unplanned -> assert(wake_heeded) }
	:: atomic { rest && clean && owner -> assert(lease_free) }
	:: atomic { rest && clean && (place[0] == BUFFERED && seen[0] || place[1] == BUFFERED && seen[1]) -> assert(backlog_taken) }
	:: atomic { clean && ends == ENDS && (place[0] == LOST || place[1] == LOST) -> assert(nothing_lost) }
	:: atomic { rest && (place[0] == GONE && !turn[0] || place[1] == GONE && !turn[1]) -> assert(nothing_lost) }
	:: atomic { rest && !flipped && unplanned -> assert(sleeps_flipped) }
	:: atomic { rest && fresh && unplanned -> assert(sweep_soon) }
	:: atomic { rest && work && unplanned -> assert(sweep_soon) }
	od
}
#else
ltl looked { <> [] (!waiting && !work && place[0] != 2 && place[0] != 3 && place[1] != 2 && place[1] != 3) }
#endif
