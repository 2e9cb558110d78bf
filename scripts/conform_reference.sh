# Holds the reference gateway against the contract, both versions at once: what it does without waiting, and beside that how it
# sleeps, wakes and is revoked. What is known of each is in its baseline; what is new or healed fails.
# usage: sh scripts/conform_reference.sh DORMOUSE NAME=PYTHON...
set -eu
dormouse=$1
shift
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
run() {
	name=$1 part=$2 python=$3
	shift 3
	"$dormouse" conform gateway --platform discord --platform telegram --baseline "scripts/$name.json" "$@" -- \
		"$python" scripts/reference_gateway.py >"$results/$name.$part.out" 2>"$results/$name.$part.err" ||
		echo $? >"$results/$name.$part.failed"
}
for version; do
	name=${version%%=*} python=${version#*=}
	REFERENCE_IDLE=0 run "$name" awake "$python" --redial 20s &
	REFERENCE_IDLE=5 run "$name" asleep "$python" --poke-cooldown 3s --slow --only gateway-idle --only gateway-wake \
		--only gateway-idle-unacked --only gateway-revoked &
done
wait
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
