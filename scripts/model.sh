#!/bin/sh
# model.sh searches docs/model/dormouse.pml exhaustively, for each rule by which connectors poke, and the small models beside
# it. Each must keep every property. Without one of its lines it must break the property that is named for that line here. The
# script prints a line for each run and fails if a run has another result. FAULTS and ENDS set another bound for the safety of
# the whole protocol, JOBS how many runs go on at a time, DIR where they work.
set -eu

models=$(cd "$(dirname "$0")/.." && pwd)/docs/model

# kind, FAULTS, ENDS, the property that must be broken or "-", and the flag that takes a line away.
runs() {
	if [ -n "${FAULTS:-}${ENDS:-}" ]; then
		echo "safety ${FAULTS:-1} ${ENDS:-1} -"
	else
		echo "safety 2 0 -
		safety 1 1 -"
	fi
	echo "looked 1 1 -
	safety 1 1 wake_heeded CLEAR_AFTER_CLOSE
	safety 1 1 wake_heeded RELEASE_UNCONDITIONALLY
	safety 1 1 wake_heeded LOSER_DOES_NOT_MARK
	safety 1 1 lease_free HANDOFF_RESPECTS_MARK
	looked 0 1 looked NO_SCHEDULE
	safety 1 1 nothing_lost ACK_BEFORE_JOURNAL
	safety 1 1 one_writer UNFENCED
	safety 1 1 stays_until_flipped LEAVE_WITHOUT_ACK
	safety 2 0 stays_until_flipped GIVE_UP_UNFLIPPED
	safety 1 1 cooldown_sat_out NO_HOLD
	safety 1 1 backlog_taken LEAVE_BACKLOG
	safety 1 1 nothing_lost LOSE_SILENTLY
	safety 2 0 sleeps_flipped DIAL_WITHOUT_LEASE
	safety 1 1 sleeps_flipped UNFLIPPED_SWEEP_DOUBLES
	safety 1 1 sweep_soon HEIR_PLANS_NOTHING
	safety 1 1 sweep_soon WORK_PLANS_NOTHING
	safety 1 1 sweep_soon EARLY_LOOK_DOUBLES"
}

# The same of the small models: which one, its kind and so on. In "stored" it is strikes with credentials in a store.
parts() {
	echo "window safety 2 0 -
	window looked 2 0 -
	window safety 2 0 nothing_lost ACK_UNKEPT
	window safety 2 0 in_order LOAD_ANY
	window safety 2 0 memory_bounded LOAD_BEYOND
	window safety 2 0 memory_bounded RECOVER_WHOLE
	window looked 2 0 looked READER_WAITS
	refusals safety 1 0 -
	refusals looked 0 0 -
	refusals safety 1 0 sent_once RESEND_DONE
	refusals safety 1 0 sent_once RESEND_UNKNOWN
	refusals safety 1 0 sent_once RETRY_SENDS_ALL
	refusals safety 1 0 not_overtaken OVERTAKE
	refusals safety 1 0 no_end_unseen FINISH_REFUSED
	refusals safety 1 0 nothing_after_a_decline SEND_AFTER_DECLINE
	refusals looked 0 0 looked NEVER_GIVES_UP
	strikes safety 1 0 -
	strikes looked 1 0 -
	strikes safety 1 0 no_false_opt_out FIRST_STRIKE
	strikes safety 1 0 few_dials DESCRIPTOR_ACQUITS
	strikes looked 1 0 looked DESCRIPTOR_ACQUITS
	stored safety 1 0 -
	stored looked 1 0 -
	stored safety 1 0 no_false_opt_out NO_MINUTE
	stored safety 1 0 no_false_opt_out MINUTE_OF_THE_FIRST
	stored safety 1 0 few_dials DESCRIPTOR_ACQUITS
	stored looked 1 0 looked DESCRIPTOR_ACQUITS
	says safety 1 1 -
	says safety 2 0 -
	says looked 1 0 -
	says safety 1 1 said_once PUT_ANYWAY
	says safety 1 1 said_once FORGET_TAKEN
	says safety 1 1 none_lost ACCEPTED_UNKEPT
	says safety 1 1 none_lost TAKE_APART
	says safety 1 1 seen_soon HEARTBEAT_DEAF
	says safety 1 1 left_behind MARK_BEFORE_KEEP
	says safety 1 1 left_behind CLEAR_DEAF
	says safety 1 1 left_behind RELEASE_DEAF
	says safety 1 1 left_behind HANDOFF_DEAF
	says looked 1 0 looked NO_SCHEDULE
	late safety 2 0 -
	late looked 2 0 -
	late safety 2 0 one_end TAKE_UNCONDITIONALLY
	late safety 2 0 one_end FINISH_APART
	late safety 2 0 one_end APOLOGY_STANDS
	late safety 2 0 in_order TAKE_ANY
	late safety 2 0 none_refused EARLY_IS_REFUSED
	late safety 2 0 nothing_after_a_stop STOP_LEAVES_TAKEN
	late safety 2 0 sent_once TAKE_AGAIN
	late looked 2 0 looked NEVER_OVER
	versions safety 2 0 -
	versions looked 2 0 -
	versions safety 2 0 none_skipped OUTCOME_OF_A_NEW_WORD
	versions safety 2 0 sent_once RESEND_ITS_OUTCOMES
	versions looked 2 0 looked KEY_OF_A_NEW_FORM"
}

# one makes a run and says how it ended.
one() {
	rule=$1 kind=$2 faults=$3 ends=$4 want=$5 flag=${6:-}
	name="$rule$kind$faults$ends$flag"
	work=$DIR/$name
	mkdir "$work"
	cd "$work"

	set -- "-DFAULTS=$faults" "-DENDS=$ends"
	model=$models/$rule.pml nfair=8 hash=20
	case $rule in
	flipped) model=$models/dormouse.pml nfair=3 hash=25; set -- "$@" -DHOSTED ;;
	empty) model=$models/dormouse.pml nfair=3 hash=25 ;;
	stored) model=$models/strikes.pml; set -- "$@" -DSTORED ;;
	esac
	if [ -n "$flag" ]; then
		set -- "$@" "-D$flag"
		grep '^#' "$model" | grep -qw "$flag" || { echo "model: there is no flag $flag" >&2; return 1; }
	fi
	optimise=-O2
	[ "$want" = - ] || optimise=-O0 # it ends soon, so compiling is most of the time
	case $kind in
	safety)
		spin -a -DSAFETY "$@" "$model" >log 2>&1 && cc "$optimise" -w -DSAFETY -DMEMLIM=8192 -o pan pan.c >>log 2>&1 ||
			{ cat log >&2; return 1; }
		./pan -m100000 "-w$hash" >out 2>&1 || true ;;
	looked) # under weak fairness: what can always run does run at some time
		spin -a "$@" "$model" >log 2>&1 && cc "$optimise" -w "-DNFAIR=$nfair" -DNOREDUCE -DMEMLIM=8192 -o pan pan.c >>log 2>&1 ||
			{ cat log >&2; return 1; }
		./pan -a -f -m100000 "-w$hash" >out 2>&1 || true ;;
	esac

	got=$(sed -n 's/^pan:[0-9]*: assertion violated \([a-z_]*\).*/\1/p; s/^pan:[0-9]*: acceptance cycle.*/looked/p' out)
	if [ -z "$got" ] && grep -q 'errors: 0$' out && ! grep -Eq 'search not completed|max search depth|out of memory' out; then got=-; fi
	verdict="keeps all"
	[ "$kind" = safety ] || verdict="keeps looked"
	[ "$got" = - ] || verdict="breaks ${got:-?}"
	awk -v rule="$rule" -v what="${flag:-the protocol}" -v kind="$kind" -v bound="FAULTS=$faults ENDS=$ends" -v verdict="$verdict" '
		/states, stored/ { states = $1 }
		/elapsed time/ { seconds = $4 }
		/memory usage \(Mbyte\)|total actual memory usage/ { memory = $1 }
		END {
			printf "%-8s %-24s %-8s %-16s %-27s %9d states %6.1f s %5d MB\n", rule, what, kind, bound, verdict, states, seconds, memory
		}' out
	cd "$DIR"
	if [ "$got" != "$want" ]; then
		[ "$want" = - ] && want="nothing"
		echo "model: $rule ${flag:-the protocol}: must break $want; docs/model/README.md says how to read a counterexample" >&2
		tail -20 "$work/out" >&2
		return 1
	fi
	rm -r "$work"
}

if [ "${1:-}" = one ]; then
	shift
	one "$@"
	exit
fi

for tool in spin cc; do
	command -v "$tool" >/dev/null || { echo "make model: $tool is missing (Debian: apt-get install spin gcc libc6-dev)" >&2; exit 1; }
done
DIR=$(mktemp -d)
export DIR
trap 'rm -rf "$DIR"' EXIT
trap 'exit 130' INT TERM
echo "The connector pokes while flipped; or, empty, while nobody is connected and if its buffer was empty."
{ runs | while read -r run; do
	echo "flipped $run"
	case $run in
	*LOSE_SILENTLY) ;; # the empty one buffers while nobody is connected, and loses nothing
	*) echo "empty $run" ;;
	esac
done; parts; } | xargs -P "${JOBS:-2}" -L 1 sh "$0" one
