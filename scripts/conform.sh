# Holds the built drain against the contract under each preset at once, and says what came of each.
# usage: sh scripts/conform.sh DORMOUSE
set -eu
dormouse=$1
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
for preset in hosted whatrouter agentsync rustcell slacksidecar; do
	platforms=
	case $preset in hosted | agentsync | rustcell) platforms='--platform discord --platform telegram' ;; esac
	# shellcheck disable=SC2086
	"$dormouse" conform gateway --suite all --preset "$preset" $platforms -- \
		"$dormouse" host --schedule 2s --listen 127.0.0.1:0 --lambda 127.0.0.1:0 \
		>"$results/$preset.out" 2>"$results/$preset.err" || echo $? >"$results/$preset.failed" &
done
wait
status=0
for preset in hosted whatrouter agentsync rustcell slacksidecar; do
	echo "$preset: $(tail -n 1 "$results/$preset.out")"
	if [ -f "$results/$preset.failed" ]; then
		cat "$results/$preset.out"
		tail -n 60 "$results/$preset.err"
		status=1
	fi
done
exit $status
