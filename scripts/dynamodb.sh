#!/bin/sh
# dynamodb.sh moto VENV COMMAND... and dynamodb.sh local DIRECTORY COMMAND... start a DynamoDB on loopback, run the command
# with its address in DORMOUSE_TEST_DYNAMODB, and stop it again. VENV is a Python environment with moto's server. moto stands
# in for other AWS services, too, so its address is also in DORMOUSE_TEST_MOTO. DIRECTORY has the jars of Amazon's DynamoDB
# Local.
set -eu

kind=$1 place=$2
shift 2

log=$(mktemp)
server=
cleanup() {
	if [ -n "$server" ]; then
		kill "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
	rm -f "$log"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

port=$(python3 "$(dirname "$0")/free_ports.py" 1)
case $kind in
moto) # without the variable it looks for instance metadata
	AWS_EC2_METADATA_DISABLED=true "$place/bin/python" "$(dirname "$0")/moto_server.py" -H 127.0.0.1 -p "$port" >"$log" 2>&1 </dev/null & ;;
local) # with telemetry it would send usage data to Amazon
	DDB_LOCAL_TELEMETRY=0 java -Xmx256m -Djava.library.path="$place" -Dsqlite4java.library.path="$place" -cp "$place/*" \
		com.amazonaws.services.dynamodbv2.local.main.ServerRunner -inMemory -sharedDb -disableTelemetry -port "$port" \
		>"$log" 2>&1 </dev/null & ;;
*) echo "dynamodb.sh: want moto or local, not $kind" >&2; exit 1 ;;
esac
server=$!

await() {
	tries=600
	until python3 -c 'import socket, sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1)' "$port" 2>/dev/null; do
		tries=$((tries - 1))
		kill -0 "$server" 2>/dev/null && [ "$tries" -gt 0 ] || return 1
		sleep 0.1
	done
}
await || { cat "$log" >&2; echo "dynamodb.sh: the server did not start" >&2; exit 1; }
if [ "$kind" = moto ]; then
	export DORMOUSE_TEST_MOTO="http://127.0.0.1:$port"
fi
DORMOUSE_TEST_DYNAMODB=http://127.0.0.1:$port "$@"
