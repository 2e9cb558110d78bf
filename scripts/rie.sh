#!/bin/sh
# rie.sh PYTHON runs the functions in build/ under the official runtime interface emulator, to check that they do not only
# work with internal/locallambda. PYTHON must have the aws-sam-cli package, which contains the emulator. The emulator takes
# one invocation at a time and has no asynchronous ones, so wake calls a stand-in for the Lambda API here.
set -eu

python=$1
case $(uname -m) in
x86_64) arch=x86_64 ;;
aarch64 | arm64) arch=arm64 ;;
*) echo "rie.sh: there is no emulator for $(uname -m)" >&2; exit 1 ;;
esac
rie=$("$python" -c 'import samcli, os; print(os.path.dirname(samcli.__file__))')/local/rapid/aws-lambda-rie-$arch

dir=$(mktemp -d)
running=
cleanup() {
	status=$?
	for pid in $running; do kill "$pid" 2>/dev/null || true; done
	wait
	if [ "$status" != 0 ]; then tail -n 40 "$dir"/*.log >&2; fi
	rm -rf "$dir"
}
trap cleanup EXIT

# start NAME COMMAND... runs a command in the background, with its output in a file.
start() {
	name=$1
	shift
	"$@" >"$dir/$name.log" 2>&1 </dev/null &
	running="$running $!"
}

# emulate NAME PORT API VARIABLE=VALUE... starts the emulator for a function. The function gets no other variables of this
# environment.
emulate() {
	name=$1 port=$2 api=$3
	shift 3
	start "$name" env -i PATH="$PATH" AWS_LAMBDA_FUNCTION_NAME="$name" AWS_REGION=us-east-1 \
		AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_SESSION_TOKEN=none "$@" \
		"$rie" --runtime-interface-emulator-address "127.0.0.1:$port" --runtime-api-address "127.0.0.1:$api" \
		"build/functions/$name/bootstrap"
}

# request SECONDS ARGUMENT... is one HTTP request.
request() {
	seconds=$1
	shift
	curl --noproxy '*' --silent --show-error --fail --max-time "$seconds" "$@"
}

# await PORT returns once something listens there.
await() {
	curl --noproxy '*' --silent --output /dev/null --retry 60 --retry-delay 1 --retry-connrefused "http://127.0.0.1:$1/" ||
		{ echo "rie.sh: nothing listens on port $1" >&2; exit 1; }
}

# invoke NAME PORT EVENT WANT sends an event of events/ and fails unless the answer contains WANT.
invoke() {
	await "$2"
	answer=$(request 60 --data-binary "@events/$3" "http://127.0.0.1:$2/2015-03-31/functions/function/invocations")
	echo "$1 $3: $answer"
	case $answer in
	*"$4"*) ;;
	*) echo "rie.sh: $1 was to answer $4" >&2; exit 1 ;;
	esac
}

read -r connector control lambda wake wakeapi drain drainapi <<PORTS
$("$python" "$(dirname "$0")/free_ports.py" 7)
PORTS

start connector build/dormouse connector --listen "127.0.0.1:$connector" --control "127.0.0.1:$control"
await "$control"

emulate drain "$drain" "$drainapi" GATEWAY_RELAY_URL="http://127.0.0.1:$connector" GATEWAY_RELAY_ID=gw-rie \
	GATEWAY_RELAY_IDENTITY_TOKEN=dev DORMOUSE_ALLOW_ENV_SECRETS=1 GATEWAY_RELAY_PLATFORMS=telegram \
	GATEWAY_RELAY_BOT_IDS='{"telegram":{"botId":"700100"}}' \
	DORMOUSE_EMPTY_AFTER=3s DORMOUSE_IDLE_AFTER=1s DORMOUSE_POKE_COOLDOWN=1s
invoke drain "$drain" drain-wake.json '"status":"empty"'
request 10 --output /dev/null "http://127.0.0.1:$control/deliver" --data '{"event": {
	"text": "hello", "message_type": "text", "message_id": "m-1",
	"source": {"platform": "telegram", "chat_id": "4711", "chat_type": "dm", "user_id": "4711"}}}'
invoke drain "$drain" drain-wake.json '"acked":1'

start lambda "$python" -c '
import http.server, sys
class Lambda(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print(self.path, self.headers["X-Amz-Invocation-Type"], body.decode(), flush=True)
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Lambda).serve_forever()' "$lambda"
emulate wake "$wake" "$wakeapi" DORMOUSE_DRAIN_FUNCTION=stack-drain AWS_ENDPOINT_URL_LAMBDA="http://127.0.0.1:$lambda"
invoke wake "$wake" wake-get.json '"statusCode":202'
grep -q '/functions/stack-drain/invocations Event .*"reason":"wake"' "$dir/lambda.log"
