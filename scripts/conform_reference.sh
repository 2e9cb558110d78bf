# Holds the reference gateway against the contract, both versions at once: what it does without waiting, and beside that how it
# sleeps, wakes and is revoked. What is known of each is in its baseline; what is new or healed fails. A part that comes out
# otherwise is run once more, alone: a check that something does not come within a time is no proof on a busy machine.
# usage: sh scripts/conform_reference.sh DORMOUSE NAME=PYTHON...
set -eu
dormouse=$1
shift
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
run() {
	name=$1 part=$2 python=$3
	shift 3
	rm -f "$results/$name.$part.failed"
	"$dormouse" conform gateway --platform discord --platform telegram --baseline "scripts/$name.json" "$@" -- \
		"$python" scripts/reference_gateway.py >"$results/$name.$part.out" 2>"$results/$name.$part.err" ||
		echo $? >"$results/$name.$part.failed"
}
awake() {
	REFERENCE_IDLE=0 run "${1%%=*}" awake "${1#*=}" --redial 20s
}
asleep() {
	REFERENCE_IDLE=5 run "${1%%=*}" asleep "${1#*=}" --poke-cooldown 3s --slow --only gateway-idle --only gateway-wake \
		--only gateway-idle-unacked --only gateway-revoked
}
for version; do
	awake "$version" &
	asleep "$version" &
done
wait
for version; do
	for part in awake asleep; do
		if [ -f "$results/${version%%=*}.$part.failed" ]; then
			echo "${version%%=*}, $part: not as it is known, so once more, alone"
			$part "$version"
		fi
	done
done
status=0
for version; do
	name=${version%%=*}
	for part in awake asleep; do
		echo "$name, $part: $(tail -n 1 "$results/$name.$part.out")"
		if [ -f "$results/$name.$part.failed" ]; then
			cat "$results/$name.$part.out"
			grep -v '^\(pass\|skip\) ' "$results/$name.$part.err" | tail -n 60
			status=1
		fi
	done
done
exit $status
