/*
 * A late answer: one message whose agent has said that the answer comes later, and that answer in two parts, each a say, of which
 * the second is the last. Parts come in any order, also before the agent has said so; the message's time is over at any moment,
 * and a person may stop it. Looks at the inbox, the turn, what is sent and the message's time go on side by side in one process,
 * which dies at any step, at most FAULTS times. says.pml is how a say gets that far. README.md, "The parts", says what must hold;
 * each flag takes one rule away.
 */

#ifndef FAULTS
#define FAULTS 2
#endif

/* The message in the journal. */
#define ASKED 0    /* its turn runs */
#define LATE 1     /* it waits for its answer */
#define ANSWERED 2 /* finished by the last part */
#define STOPPED 3  /* finished by a person */
#define DEAD 4
byte message = ASKED;
#define isOpen (message == ASKED || message == LATE)

/* A part: in the inbox, then an entry. */
#define ABSENT 0
#define WAITS 1
#define OPEN 2  /* taken: its entry has it, to be sent */
#define SENT 3  /* the outcome is written down */
#define DONE 4
#define GIVEN 5 /* given up, with its words */
byte part[2];
#define ended(p) (part[p] == DONE || part[p] == GIVEN)

/* What the chat is told of a message that is dead. It is kept before the message is dead. */
#define OWED 1
#define TOLD 2
#define VOID 3
byte apology;

byte sends[2];
byte excused;      /* processes that died between a send and its outcome */
bool timeOver;     /* the message's time */
bool stops;        /* a person has stopped it, and what was taken of its answer is being ended */
bool hasStopped;   /* that is done */
bool patient;      /* nobody will */
bool silent;       /* the last part never comes */
byte faults = FAULTS;

/* What is in memory alone. */
bool looks;        /* the inbox and the message have been read, as follows */
bool saw[2];
byte seen;
bool gives;        /* the message's time was over, and its apology is kept */
bool flies[2];     /* an action has left, and no outcome has come */
#ifdef FINISH_APART
bool finishes;     /* the last part is taken, the message is to be finished */
#endif

hidden byte one_end, in_order, sent_once, none_refused, nothing_after_a_stop; /* asserted where it would break */

active proctype turn() { /* with its agent. If its process dies before that is written, it is asked again */
end:
	do
	:: atomic { message == ASKED -> message = LATE }
	od
}

/* Whoever has the answer. He sends it again if he does not hear that it is kept, which the say's key makes one. */
active proctype job() {
end:
	do
	:: atomic { part[0] == ABSENT -> part[0] = WAITS }
	:: atomic { part[1] == ABSENT && !silent -> part[1] = WAITS }
#ifdef TAKE_AGAIN
	:: atomic { part[0] == DONE && message == LATE -> part[0] = WAITS } /* its key is not known any more */
#endif
	:: atomic { part[1] == ABSENT && !silent -> silent = 1 }
	od
}

/* taken is the transaction that takes a part. If the message has ended meanwhile, it takes nothing: the inbox is read again. */
inline taken(p) {
#ifndef TAKE_UNCONDITIONALLY
	if
	:: message == LATE ->
#endif
		part[p] = OPEN;
#ifdef FINISH_APART
		finishes = finishes || p == 1
#else
		message = (p == 1 && message == LATE -> ANSWERED : message)
#endif
#ifndef TAKE_UNCONDITIONALLY
	:: else
	fi
#endif
}

inline refused(p) {
	part[p] = GIVEN;
	if
	:: isOpen -> assert(none_refused)
	:: else
	fi
}

#ifdef TAKE_ANY
#define follows(p) true
#else
#define follows(p) (p == 0 || part[0] >= OPEN)
#endif

/* A look: what is there is read, the message too; then each part is taken, is given up, or stays where it is. */
active proctype inbox() {
end:
	do
	:: atomic { !looks && (part[0] == WAITS || part[1] == WAITS) ->
		looks = 1; seen = message; saw[0] = (part[0] == WAITS); saw[1] = (part[1] == WAITS) }
	:: atomic { looks && saw[0] -> saw[0] = 0;
		if
		:: seen == LATE -> taken(0)
		:: seen > LATE -> refused(0)
#ifdef EARLY_IS_REFUSED
		:: seen == ASKED -> refused(0)
#else
		:: seen == ASKED
#endif
		fi }
	:: atomic { looks && !saw[0] && saw[1] -> saw[1] = 0;
		if
		:: seen == LATE && follows(1) -> taken(1)
		:: seen == LATE && !follows(1)
		:: seen > LATE -> refused(1)
		:: seen == ASKED
		fi }
	:: atomic { looks && !saw[0] && !saw[1] -> looks = 0; seen = 0 }
#ifdef FINISH_APART
	:: atomic { finishes -> finishes = 0; message = (message == LATE -> ANSWERED : message) }
#endif
	od
}

inline send(p) {
	sends[p]++; flies[p] = 1;
	if
	:: sends[p] > 1 + excused -> assert(sent_once)
	:: p == 1 && !sends[0] -> assert(in_order)
	:: hasStopped -> assert(nothing_after_a_stop)
	:: else
	fi
}

/* Parts are of one session: one after the other. */
active proctype sender() {
end:
	do
	:: atomic { !stops && part[0] == OPEN && !flies[0] -> send(0) }
	:: atomic { part[0] == OPEN && flies[0] -> flies[0] = 0; part[0] = SENT }
	:: atomic { part[0] == SENT -> part[0] = DONE }
	:: atomic { !stops && part[1] == OPEN && !flies[1] && part[0] != OPEN && part[0] != SENT -> send(1) }
	:: atomic { part[1] == OPEN && flies[1] -> flies[1] = 0; part[1] = SENT }
	:: atomic { part[1] == SENT -> part[1] = DONE }
	od
}

active proctype lifetime() {
end:
	do
#ifndef NEVER_OVER
	:: atomic { message == LATE && timeOver && !gives && !stops -> gives = 1; apology = (apology -> apology : OWED) }
#endif
	/* The message is dead if it is open still, else its answer has come, and nobody is told that none did. */
	:: atomic { gives -> gives = 0;
		if
		:: message == LATE -> message = DEAD
		:: message != LATE && apology == OWED -> apology = VOID
		:: else
		fi }
	/* What an earlier process left: whose message is open waits for what becomes of that. */
	:: atomic { !gives && apology == OWED && message == DEAD -> apology = TOLD }
	:: atomic { !gives && apology == OWED && (message == ANSWERED || message == STOPPED) ->
#ifdef APOLOGY_STANDS
		apology = TOLD
#else
		apology = VOID
#endif
		}
	od
}

/* Who waits for an answer may stop it, or may not. A stop ends the message, then what was taken of its answer and has not left. */
active proctype person() {
end:
	do
	:: atomic { message == LATE && !gives && !stops && !hasStopped && !patient -> stops = 1; message = STOPPED }
	:: atomic { !stops && !hasStopped && !patient -> patient = 1 }
	:: atomic { stops && !flies[0] && !flies[1] -> stops = 0; hasStopped = 1;
#ifndef STOP_LEAVES_TAKEN
		part[0] = (part[0] == OPEN -> DONE : part[0]);
		part[1] = (part[1] == OPEN -> DONE : part[1])
#endif
		}
	od
}

active proctype world() {
end:
	do
	:: atomic { message == LATE && !timeOver -> timeOver = 1 }
	/* A process dies. The command to stop is in the journal until it is carried out. */
	:: atomic { faults -> faults--;
		excused = (flies[0] || flies[1] -> excused + 1 : excused);
		looks = 0; saw[0] = 0; saw[1] = 0; seen = 0; gives = 0; flies[0] = 0; flies[1] = 0;
#ifdef FINISH_APART
		finishes = 0
#endif
		}
	/* Answered, dead or stopped: one of them, whatever comes at the same moment. */
	:: atomic { part[1] >= OPEN && part[1] != GIVEN && (message == DEAD || apology == TOLD) -> assert(one_end) }
	od
}

#ifndef SAFETY
bool tick; /* time goes on, so that nothing ends by standing still */
active proctype time() {
	do
	:: tick = !tick
	od
}
ltl all_end { <> [] (message > LATE && ended(0) && (ended(1) || part[1] == ABSENT) && apology != OWED) }
#endif
