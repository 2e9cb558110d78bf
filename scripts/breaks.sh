#!/bin/sh
# breaks.sh BUILD-COMMAND [NAME...] breaks one promise after the other, each by a patch of chaos/breaks in a copy of the files
# that it changes, and demands that chaos notices within RUNS (50) seeds. It needs build/chaos, and a DynamoDB
# whose address is in DORMOUSE_TEST_DYNAMODB; PARALLEL (14) run side by side. A patch says behind "Noticed:" what a run has to fail with.
set -eu

build=$1
shift
[ $# -gt 0 ] || set -- $(cd chaos/breaks && ls | sed -n 's/\.patch$//p')

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

missed=
for name; do
	patch=chaos/breaks/$name.patch
	text=$(sed -n 's/^Noticed: //p' "$patch")
	file=$(sed -n 's|^+++ b/||p' "$patch")
	if [ -z "$text" ] || [ "$(printf '%s\n' "$file" | wc -l)" != 1 ]; then
		echo "breaks.sh: $patch: want one line Noticed: and one file" >&2
		exit 1
	fi
	printf '\n=== %s: %s\n' "$name" "$(head -n 1 "$patch")"
	if ! patch --quiet --fuzz=0 -p1 -o "$dir/patched.go" "$file" "$patch"; then
		echo "breaks.sh: $patch does not fit $file any more: break the promise anew and keep that" >&2
		exit 1
	fi
	printf '{"Replace":{"%s":"%s"}}\n' "$PWD/$file" "$dir/patched.go" >"$dir/overlay.json"
	sh -c "$build -overlay $dir/overlay.json -o $dir/bootstrap ./functions/drain"
	build/chaos -runs "${RUNS:-50}" -parallel "${PARALLEL:-14}" -seed 1 -drain "$dir/bootstrap" -until "$text" || missed="$missed $name"
done
if [ -n "$missed" ]; then
	echo "breaks.sh: not noticed:$missed" >&2
	exit 1
fi
printf '\nbreaks.sh: each was noticed\n'
