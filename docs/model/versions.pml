/*
 * Two versions side by side, one message: an upgrade and a rollback may come at every step, with the work in the table. The
 * newer version writes what the older one does not know (when an action may be tried again), in attributes of its own; what
 * the older one knows keeps its meaning. README.md, "The parts", says what must hold; each flag takes one rule away.
 */

#ifndef FAULTS
#define FAULTS 2 /* processes that die, each followed by one of the other version or of its own */
#endif

/* The table's entry. */
#define UNKEPT 0  /* journalled, no answer yet */
#define KEPT 1    /* its answer is kept; the outcome is empty */
#define SENT 2    /* its outcome is written */
#define FINISHED 3
#define DEAD 4
byte entry = UNKEPT;
bool open_key = 1; /* it is where recovery looks, in the form that both know */
bool due;          /* newer: not before its time */
bool later;        /* newer, and a rule taken away: an outcome of a new word */

bool newer = 1;    /* the version that runs */
bool has;          /* it has taken the entry up */
byte known;        /* in memory: 1: refused for now, 2: taken by the chat */
byte shown;
bool excused;      /* a death between the send and its outcome */
byte refusals = 1; /* that pass */
byte faults = FAULTS;

hidden byte sent_once, none_skipped;

inline send() {
	if
	:: shown && !excused -> assert(sent_once)
	:: else ->
		if
		:: shown = (shown < 2 -> shown + 1 : 2); known = 2
		:: refusals -> refusals--; known = 1
		fi
	fi
}

active proctype process() {
end:
	do
	:: atomic { !has && open_key && entry < FINISHED -> has = 1 } /* recovery */
	:: atomic { has && entry == UNKEPT -> entry = KEPT }
#ifdef OUTCOME_OF_A_NEW_WORD
	:: atomic { has && !newer && later && entry == KEPT -> entry = FINISHED;
		if
		:: !shown -> assert(none_skipped)
		:: else
		fi }
	:: atomic { has && entry == KEPT && !known && !(newer && due) && !(later && !newer) -> send() }
#else
	/* The older version knows no time to wait for, and sends at once. */
	:: atomic { has && entry == KEPT && !known && !(newer && due) -> send() }
#endif
	:: atomic { has && known == 2 -> known = 0; entry = SENT }
#ifdef RESEND_ITS_OUTCOMES
	:: atomic { has && newer && entry == SENT -> entry = KEPT }
#endif
	:: atomic { has && known == 1 && newer -> /* refused for now: its outcome stays empty, and it waits */
		known = 0;
		due = 1;
#ifdef OUTCOME_OF_A_NEW_WORD
		later = 1;
#endif
#ifdef KEY_OF_A_NEW_FORM
		open_key = 0
#else
		skip
#endif
		}
	:: atomic { has && known == 1 && !newer -> known = 0; entry = DEAD } /* the older one gives it up, where it can be seen */
	:: atomic { has && entry == SENT -> entry = FINISHED }
	od
}

active proctype world() {
end:
	do
	:: atomic { due -> due = 0; later = (newer -> 0 : later); /* its time comes; this version looks for it by its own key, too */
#ifdef KEY_OF_A_NEW_FORM
		open_key = newer
#else
		skip
#endif
		}
	:: atomic { faults -> /* the process ends, and the next one is of this version or of the other */
		faults--;
		excused = (excused || known == 2);
		known = 0;
		has = 0;
		if
		:: newer = !newer
		:: true
		fi }
	od
}

#ifndef SAFETY
bool tick; /* time goes on, so that nothing ends by standing still */
active proctype time() {
	do
	:: tick = !tick
	od
}
ltl taken_up { <> [] (entry >= FINISHED) }
#endif
