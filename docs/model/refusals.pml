/*
 * What becomes of an answer that the connector refuses: two actions of one message, and one of a later message of the same
 * chat. An action may be taken, refused for now, refused for good, declined, or get no answer; the process may die at every
 * step; an operator puts a dead message back once. README.md, "The parts", says what must hold.
 */

#ifndef FAULTS
#define FAULTS 1 /* deaths of the process */
#endif
#define TRIES 2 /* then what is refused for now is given up */

/* Outcomes, as known and as written. */
#define NONE 0
#define OK 1
#define UNKNOWN 2
#define DECLINED 3
#define PERMANENT 4
byte known[3];   /* in memory; the next action leaves once it is written */
byte written[3]; /* in the journal */
byte shown[3];   /* how often the chat has it */
byte tries[3];
bool excused[3]; /* it may come twice: its process died, or had no answer, between the send and what became of it */

#define OPEN 0
#define ANSWERED 1
#define DEAD 2
byte end_of[2];  /* of the two messages; actions 0 and 1 are the first's, 2 the second's */
bool paused;     /* the chat waits: something of it was refused for now */
bool retried;
bool declined;   /* the chat has declined the first message */
byte faults = FAULTS;

#define message(a) (a == 2)
#define settled(o) (o == OK || o == UNKNOWN)

hidden byte sent_once, not_overtaken, no_end_unseen, nothing_after_a_decline;

/* leave is the action that goes out, and what comes back. */
inline leave(a) {
	if
	:: shown[a] && !excused[a] -> assert(sent_once)
	:: a == 2 && (paused || end_of[0] == OPEN) -> assert(not_overtaken)
	:: a < 2 && declined -> assert(nothing_after_a_decline)
	:: else ->
		if
		:: shown[a] = (shown[a] < 2 -> shown[a] + 1 : 2); known[a] = OK
		:: known[a] = UNKNOWN                     /* no answer, and the chat has it or not */
		:: shown[a] = (shown[a] < 2 -> shown[a] + 1 : 2); known[a] = UNKNOWN
		:: known[a] = PERMANENT
		:: known[a] = DECLINED; declined = (a < 2 -> 1 : declined)
		:: tries[a] < TRIES -> tries[a]++; paused = 1 /* refused for now */
#ifndef NEVER_GIVES_UP
		:: tries[a] >= TRIES -> known[a] = PERMANENT
#else
		:: tries[a] >= TRIES -> paused = 1
#endif
		fi
	fi
}

/* may_leave: written down is what decides, and what came before it must be settled. */
#ifdef SEND_AFTER_DECLINE
#define goes_on(a) (a != 1 || written[0])
#else
#define goes_on(a) (a != 1 || settled(written[0]) || written[0] == PERMANENT)
#endif
#ifdef RESEND_DONE
#define unsent(a) (!known[a] && (!written[a] || written[a] == OK && excused[a] == 0 && shown[a] < 2))
#else
#define unsent(a) (!known[a] && !written[a])
#endif
#ifdef OVERTAKE
#define oldest(a) true
#else
#define oldest(a) (a != 2 || end_of[0] != OPEN)
#endif
#ifdef RESEND_UNKNOWN
#define remember(a) written[a] = (known[a] == UNKNOWN -> NONE : known[a])
#else
#define remember(a) written[a] = known[a]
#endif

/* close is the end of a message whose actions all have outcomes, or that was declined. */
inline close(n, all_settled) {
	if
#ifdef FINISH_REFUSED
	:: true -> end_of[n] = ANSWERED
#else
	:: all_settled -> end_of[n] = ANSWERED
	:: else -> end_of[n] = DEAD
#endif
	fi;
	if
	:: end_of[n] == ANSWERED && !(all_settled) -> assert(no_end_unseen)
	:: else
	fi
}

active proctype process() {
end:
	do
	:: atomic { end_of[0] == OPEN && !paused && unsent(0) -> leave(0) }
	:: atomic { end_of[0] == OPEN && !paused && unsent(1) && goes_on(1) -> leave(1) }
	:: atomic { end_of[1] == OPEN && !paused && unsent(2) && oldest(2) -> leave(2) }
	:: atomic { paused && !known[0] && !known[1] && !known[2] -> paused = 0 } /* the pause is over */
	:: atomic { known[0] -> remember(0); known[0] = NONE }
	:: atomic { known[1] -> remember(1); known[1] = NONE }
	:: atomic { known[2] -> remember(2); known[2] = NONE }
	:: atomic { end_of[0] == OPEN && !known[0] && !known[1] && (written[0] && written[1] || written[0] == DECLINED) ->
		close(0, (settled(written[0]) && settled(written[1]))) }
	:: atomic { end_of[1] == OPEN && !known[2] && written[2] -> close(1, settled(written[2])) }
	od
}

/* die forgets what was not written: its successor cannot know whether such an action had left. */
inline die(a) {
	excused[a] = (excused[a] || known[a] != NONE);
	known[a] = NONE
}

active proctype world() {
end:
	do
	:: atomic { faults -> faults--; die(0); die(1); die(2); declined = (written[0] == DECLINED || written[1] == DECLINED); paused = 0 }
	:: atomic { end_of[0] == DEAD && !retried -> /* dead retry: what has not reached the chat goes out */
		retried = 1;
		declined = 0;
		end_of[0] = OPEN;
#ifdef RETRY_SENDS_ALL
		written[0] = NONE;
		written[1] = NONE;
#else
		written[0] = (settled(written[0]) -> written[0] : NONE);
		written[1] = (settled(written[1]) -> written[1] : NONE);
#endif
		tries[0] = 0;
		tries[1] = 0 }
	od
}

#ifndef SAFETY
bool tick; /* time goes on, so that nothing ends by standing still */
active proctype time() {
	do
	:: tick = !tick
	od
}
ltl every_message_ends { <> [] (end_of[0] != OPEN && end_of[1] != OPEN) }
#endif
