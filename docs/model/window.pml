/*
 * The journal is the queue, memory a window of it: three messages of two sessions, a reader that never waits, a journal that
 * may refuse for a while, ROOM bodies of what is journalled in memory and UNKEPT of what is not, a socket that ends at any time, a
 * process that dies, and a stop. README.md, "The parts", says what must hold; each flag takes one rule away.
 */

#define N 3
#define ROOM 1   /* journalled bodies in memory */
#define UNKEPT 1 /* bodies of what is not journalled: beyond it the socket is ended */
#ifndef FAULTS
#define FAULTS 2
#endif

#define session(m) (m == 2) /* 0 and 1 are of one session, in this order */

/* Where a message is. */
#define AT 0     /* with the connector */
#define READ 1   /* in memory only */
#define KEPT 2   /* journalled, its body not in memory */
#define LOADED 3 /* journalled, its body in memory */
#define RUNS 4
#define DONE 5
byte place[N];
bool forgotten[N]; /* the connector has its ack */

bool up = 1;       /* the socket, as the drain sees it */
bool broken;       /* it has ended */
bool refuses;      /* the journal takes nothing for now */
bool stop;         /* a stop for the first session is on its way */
bool stopped;
byte faults = FAULTS;

#define unkept ((place[0] == READ) + (place[1] == READ) + (place[2] == READ))
#define has(m) (place[m] == LOADED || place[m] == RUNS)
#define loaded (has(0) + has(1) + has(2))
#define next(m) (m != 1 || place[0] == DONE) /* the oldest of its session that has not ended */
#define first(m) ((m == 0 || place[0] != AT) && (m != 2 || place[1] != AT)) /* the connector sends in order */

hidden byte nothing_lost, in_order, memory_bounded; /* asserted where it would break */

#ifdef READER_WAITS
#define reads (loaded < ROOM)
#else
#define reads true
#endif

/* take is one frame. What does not fit ends the socket: the connector sends it again. */
inline take(m) {
	if
	:: unkept >= UNKEPT -> up = 0
	:: else ->
		place[m] = READ;
#ifdef ACK_UNKEPT
		forgotten[m] = 1
#endif
	fi
}

active proctype reader() {
end:
	do
	:: atomic { up && !broken && reads && place[0] == AT -> take(0) }
	:: atomic { up && !broken && reads && place[1] == AT && first(1) -> take(1) }
	:: atomic { up && !broken && reads && place[2] == AT && first(2) -> take(2) }
	:: atomic { up && broken && reads -> up = 0 } /* the end of the socket is read behind all that came before it */
	:: atomic { up && stop && reads -> /* seen at once, and no turn */
		stop = 0;
		stopped = 1;
		place[0] = (place[0] >= KEPT -> DONE : place[0]) }
	od
}

active proctype dialer() {
end:
	do
	:: atomic { !up -> broken = 0; up = 1 }
	od
}

/* keep is a journal write. The body stays in memory if there is room and its turn is next. */
inline keep(m) {
	forgotten[m] = 1;
	place[m] = (loaded < ROOM && next(m) -> LOADED : KEPT)
}

active proctype intake() {
end:
	do
	:: atomic { !refuses && place[0] == READ -> keep(0) }
	:: atomic { !refuses && place[1] == READ && place[0] != READ -> keep(1) }
	:: atomic { !refuses && place[2] == READ && place[0] != READ && place[1] != READ -> keep(2) }
	od
}

#ifdef LOAD_ANY
#define due(m) true
#else
#define due(m) next(m)
#endif
#ifdef LOAD_BEYOND
#define fits true
#else
#define fits (loaded < ROOM)
#endif

inline load(m) {
	place[m] = LOADED;
	if
	:: loaded > ROOM -> assert(memory_bounded)
	:: else
	fi
}

active proctype loader() {
end:
	do
	:: atomic { place[0] == KEPT && due(0) && fits -> load(0) }
	:: atomic { place[1] == KEPT && due(1) && fits -> load(1) }
	:: atomic { place[2] == KEPT && due(2) && fits -> load(2) }
	od
}

inline begin(m) {
	place[m] = RUNS;
	if
	:: !next(m) -> assert(in_order)
	:: else
	fi
}

active proctype turns() {
end:
	do
	:: atomic { place[0] == LOADED -> begin(0) }
	:: atomic { place[1] == LOADED && due(1) -> begin(1) }
	:: atomic { place[2] == LOADED -> begin(2) }
	/* An answer needs the socket: whoever waits for a turn's end before he reads waits for ever once it is broken. */
	:: atomic { place[0] == RUNS && up && !broken -> place[0] = DONE }
	:: atomic { place[1] == RUNS && up && !broken -> place[1] = DONE }
	:: atomic { place[2] == RUNS && up && !broken -> place[2] = DONE }
	od
}

/* forget is a process that dies: what was in memory is gone, and its successor reads keys, no bodies. */
inline forget(m) {
	if
	:: place[m] == READ && forgotten[m] -> assert(nothing_lost)
	:: place[m] == READ && !forgotten[m] -> place[m] = AT
	:: place[m] == LOADED || place[m] == RUNS ->
#ifdef RECOVER_WHOLE
		place[m] = LOADED
#else
		place[m] = KEPT
#endif
	:: else -> skip;
#ifdef RECOVER_WHOLE
		place[m] = (place[m] == KEPT -> LOADED : place[m]);
		if
		:: loaded > ROOM -> assert(memory_bounded)
		:: else
		fi
#endif
	fi
}

active proctype world() {
end:
	do
	:: atomic { faults && !broken && up -> faults--; broken = 1 }
	:: atomic { faults && !refuses -> faults--; refuses = 1 }
	:: atomic { refuses -> refuses = 0 }
	:: atomic { !stopped && !stop && place[0] == RUNS -> stop = 1 }
	:: atomic { faults -> faults--; forget(0); forget(1); forget(2); up = 0 }
	od
}

#define answered (place[0] == DONE && place[1] == DONE && place[2] == DONE)
#ifndef SAFETY
bool tick; /* time goes on, so that nothing ends by standing still */
active proctype time() {
	do
	:: tick = !tick
	od
}
ltl all_end { (<> [] answered) && [] (broken -> <> !broken) && [] (stop -> <> !stop) }
#endif
