#!/bin/sh
# again.sh COMMAND... runs a command that fetches from a registry, and up to twice more if it fails: a registry can be away for
# a moment. What stays wrong fails a minute later.
for pause in 10 40; do
	"$@" && exit
	echo "again.sh: failed, and tried again in $pause s: $*" >&2
	sleep "$pause"
done
exec "$@"
