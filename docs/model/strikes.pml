/*
 * When a refusal is an opt-out: the second strike, and a rotation that takes less than a minute between connector and store.
 * STORED: the credentials are pinned in a store that is read anew before each dial in question; without it they are
 * provisioned, and a fresh token is a new proof by itself. README.md, "The parts", says what must hold; each flag takes one
 * rule away.
 */

#ifndef FAULTS
#define FAULTS 1 /* refusals that mean nothing: a connector that has not heard of the new secret yet, or errs */
#endif

/* The phases of internal/drain/phase.go, of a gateway that an earlier run knows as let in. */
mtype = { stranger, renewed, connected, on_trial, on_parole, revoked };
mtype phase = stranger;

byte good = 1;   /* the secret that the connector takes */
byte stored = 1; /* what the store holds */
byte hand = 1;   /* what the drain has in hand */
bool opted_out;  /* the connector refuses this gateway from now on */
bool up;         /* a socket is open */
bool turning;    /* a rotation is under way */
byte faults = FAULTS;

/* The question of internal/drain/doubt.go: whether a refusal is an opt-out. */
bool question;   /* it is open */
bool minute;     /* a minute has passed since */
bool reread;     /* the store was read after that minute and held the same */
bool let_in_since; /* it was let in since the refusal that opened the question */
bool again;      /* the minute has begun again */
byte tries;      /* dials in this minute, up to 2 */
byte dials;      /* after the opt-out, up to MOST */
#ifdef STORED
#define MOST 8   /* the pauses grow: the minute is over after the second dial in it at the latest, and not before the first */
#else
#define MOST 3
#endif

hidden byte no_false_opt_out, few_dials;

inline revoke() {
	phase = revoked;
	up = 0;
	if
	:: !opted_out -> assert(no_false_opt_out)
	:: else
	fi
}

inline close_question() {
	question = 0;
	minute = 0;
	reread = 0;
	let_in_since = 0;
	again = 0;
	tries = 0
}

/* refused is a refusal, of a dial or of a socket that was up. */
inline refused() {
	up = 0;
#ifdef STORED
	if
	:: !question -> question = 1; minute = 0; reread = 0; tries = 0
#ifndef MINUTE_OF_THE_FIRST
	:: question && let_in_since && !again -> again = 1; minute = 0; reread = 0; tries = 0
#endif
	:: else
	fi;
	if
#ifdef NO_MINUTE
	:: phase == on_trial || phase == on_parole || phase == renewed -> revoke()
	:: else ->
#else
	:: question && reread -> revoke()
	:: else ->
#endif
		phase = (phase == connected || phase == on_trial || phase == on_parole -> on_trial : renewed)
	fi
#else
	if
	:: phase == stranger -> phase = renewed; hand = good /* provisioned anew */
#ifdef FIRST_STRIKE
	:: phase == connected -> revoke()
#else
	:: phase == connected -> phase = on_trial
#endif
	:: phase == on_trial || phase == on_parole || phase == renewed -> revoke()
	fi
#endif
}

inline let_in() {
	up = 1;
	let_in_since = question;
#ifdef DESCRIPTOR_ACQUITS
	close_question();
	phase = connected
#else
	phase = (phase == on_trial -> on_parole : (phase == on_parole -> on_parole : connected))
#endif
}

/* read_store is what comes before a dial while the question is open. */
inline read_store() {
#ifdef STORED
	if
	:: question && stored != hand -> hand = stored; close_question()
	:: question && stored == hand && minute -> reread = 1
	:: else
	fi
#else
	skip
#endif
}

active proctype drain() {
end:
	do
	:: atomic { phase != revoked && !up ->
		read_store();
		if
		:: opted_out && dials >= MOST ->
#ifdef SAFETY
			assert(few_dials)
#else
			skip
#endif
		:: opted_out && dials < MOST -> dials++
		:: else
		fi;
		tries = (question && tries < 2 -> tries + 1 : tries);
		if
		:: opted_out -> refused()              /* at the upgrade */
		:: opted_out -> let_in()               /* or a moment after its descriptor */
		:: !opted_out && hand != good -> refused()
		:: !opted_out && hand == good -> let_in()
		:: !opted_out && hand == good && faults -> faults--; refused()
		fi;
#ifdef STORED
		minute = (question && !turning && phase != revoked && tries > 1 -> 1 : minute)
#endif
		}
	:: atomic { up && opted_out -> refused() }
	:: atomic { up && !opted_out && hand != good -> refused() } /* a rotation closes the socket */
	:: atomic { up && !opted_out && hand == good && faults -> faults--; refused() }
	:: atomic { up && !opted_out && hand == good -> /* it has lived a minute: no opt-out */
		close_question();
		phase = connected }
	od
}

active proctype world() {
end:
	do
#ifdef STORED
	:: atomic { good == 1 && !turning && !opted_out -> turning = 1; good = 2 } /* rotate: the connector first, */
	:: atomic { turning -> stored = 2; turning = 0 }                         /* and the store within a minute */
	:: atomic { question && !minute && !turning && tries > 0 -> minute = 1 }
#endif
	:: atomic { !opted_out && !turning -> opted_out = 1 }
	od
}

#ifndef SAFETY
ltl stays_out { [] (opted_out -> <> (phase == revoked)) }
#endif
