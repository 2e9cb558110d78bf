#!/bin/sh
# fuzz.sh TIME runs each fuzz target of each package for TIME, one after another, and fails on the first finding.
set -eu

list=$(go test -list '^Fuzz' ./...) || { echo "$list" >&2; exit 1; }
targets=$(echo "$list" | awk '
	/^Fuzz/     { name[n++] = $1 }
	$1 == "ok"  { for (i = 0; i < n; i++) print $2, name[i]; n = 0 }')
[ -n "$targets" ] || { echo "fuzz.sh: no fuzz target found" >&2; exit 1; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "$targets" | while read -r package target; do
	echo "fuzz $package $target"
	if ! go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "$package" >"$log" 2>&1; then
		# Before Go 1.27 a run can end in this error at the end of its time without a finding (go.dev/issue/75804).
		if ! grep -q '^ *context deadline exceeded$' "$log" || grep -q 'Failing input' "$log"; then
			cat "$log" >&2
			exit 1
		fi
	fi
	grep 'fuzz: elapsed' "$log" | tail -n 1
done
