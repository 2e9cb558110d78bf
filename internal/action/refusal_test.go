package action_test

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestARefusalHasAClass(t *testing.T) {
	text := func(s string) relay.Result { return relay.Result{Error: s} }
	yes, no := new(true), new(false)
	tests := map[string]struct {
		op   string // send if empty
		r    relay.Result
		want action.Class
		wait time.Duration
	}{
		// The texts of contract sections 11, 19 and 20.
		"flood":                     {"", text("Too Many Requests: retry after 7"), action.Transient, 7 * time.Second},
		"flood control":             {"", text("flood_control:12"), action.Transient, 12 * time.Second},
		"flood, without a time":     {"", text("Flood control exceeded"), action.Transient, 0},
		"a fraction":                {"", text("You are being rate limited. retry_after: 0.65"), action.Transient, 650 * time.Millisecond},
		"a rate limit":              {"", text("rate limit exceeded"), action.Transient, 0},
		"a closed connection":       {"", text("Connection Closed"), action.Transient, 0},
		"not connected":             {"", text("whatsapp is not connected (state: connecting)"), action.Transient, 0},
		"503":                       {"", text("503"), action.Transient, 0},
		"429":                       {"", text("HTTP 429"), action.Transient, 0},
		"502 in a sentence":         {"", text("discord answered 502: Bad Gateway"), action.Transient, 0},
		"a status as code":          {"", relay.Result{Code: "503"}, action.Transient, 0},
		"sendMessage timed out":     {"", text("sendMessage timed out"), action.Unknown, 0},
		"gateway timeout":           {"", text("504 Gateway Timeout"), action.Unknown, 0},
		"a bare 504":                {"", text("504"), action.Transient, 0}, // words decide
		"a 504 without the word":    {"", text("HTTP 504"), action.Transient, 0},
		"a 504 as code":             {"", relay.Result{Code: "504"}, action.Transient, 0},
		"a 504 with both":           {"", relay.Result{Code: "504", Error: "Gateway Timeout"}, action.Unknown, 0},
		"a 524":                     {"", text("524: A timeout occurred"), action.Unknown, 0},
		"a bare 504, not retryable": {"", relay.Result{Error: "504", Retryable: no}, action.Transient, 0},
		"ETIMEDOUT":                 {"", text("ETIMEDOUT"), action.Unknown, 0},
		"read ETIMEDOUT":            {"", text("read ETIMEDOUT"), action.Unknown, 0},
		"ReadTimeout":               {"", text("httpx.ReadTimeout"), action.Unknown, 0},
		"a retryable 504":           {"", relay.Result{Error: "504 Gateway Timeout", Retryable: new(true)}, action.Transient, 0},

		// No connection was made, so nothing has been sent.
		"connect ETIMEDOUT":   {"", text("connect ETIMEDOUT 10.0.0.1:443"), action.Transient, 0},
		"undici":              {"", text("UND_ERR_CONNECT_TIMEOUT: Connect Timeout Error"), action.Transient, 0},
		"Python":              {"", text("httpx.ConnectTimeout: timed out"), action.Transient, 0},
		"Go":                  {"", text("Post https://api: dial tcp 10.0.0.1:443: i/o timeout"), action.Transient, 0},
		"a pool":              {"", text("Pool timeout: All connections in the connection pool are occupied."), action.Transient, 0},
		"a handshake":         {"", text("net/http: TLS handshake timeout"), action.Transient, 0},
		"a name":              {"", text("getaddrinfo ETIMEOUT api.example"), action.Transient, 0},
		"but it is not known": {"", relay.Result{Error: "connect ETIMEDOUT", Ambiguous: true}, action.Unknown, 0},
		"refused for good":    {"", relay.Result{Code: "egress_declined", Error: "connect timeout"}, action.Declined, 0},

		"ack lost":               {"", text("ack lost"), action.Unknown, 0},
		"markup":                 {"", text("Bad Request: can't parse entities: Can't find end of the entity"), action.Markup, 0},
		"an edit of nothing":     {"edit", text("Bad Request: message to edit not found"), action.Unclear, 0},
		"an edit that is there":  {"edit", text("Bad Request: message is not modified: specified new"), action.Done, 0},
		"a deleted message":      {"delete", text("message to delete not found"), action.Done, 0},
		"a chat that is unknown": {"", text("Bad Request: chat not found"), action.Unclear, 0},
		"a forgotten chat":       {"", text("chat not routed to this profile"), action.Transient, 0},
		"closing":                {"", text("relay transport closed"), action.Transient, 0},
		"a write that failed":    {"", text("relay send failed: write: broken pipe"), action.Transient, 0},
		"restarting":             {"", text("client is restarting, try again later"), action.Transient, 0},
		"disconnected":           {"", text("Disconnected from the gateway"), action.Transient, 0},
		"not ready":              {"", text("client not ready"), action.Transient, 0},
		"reconnecting":           {"", text("whatsapp: Reconnecting"), action.Transient, 0},
		"a platform is away":     {"", text("Telegram is unavailable"), action.Transient, 0},
		"overloaded":             {"", text("API Overloaded"), action.Transient, 0},
		"an unknown op":          {"react", text("unsupported op: react"), action.Permanent, 0},
		"another platform":       {"", text("platform not fronted"), action.Permanent, 0},
		"a decline":              {"", relay.Result{Code: "egress_declined", Error: "discord egress declined: not routed"}, action.Declined, 0},
		"a decline as text":      {"", text("discord Egress Declined: target not routed to an onboarded tenant"), action.Declined, 0},
		"rights on Telegram":     {"", text("Bad Request: not enough rights to send text messages to the chat"), action.Permanent, 0},
		"rights on Discord":      {"", text("Missing Permissions"), action.Permanent, 0},
		"rights on Slack":        {"", text("missing_scope"), action.Permanent, 0},
		"blocked":                {"", text("Forbidden: bot was blocked by the user"), action.Permanent, 0},
		"a refused token":        {"", text("refused by the development connector"), action.Unclear, 0},
		"nothing":                {"", relay.Result{}, action.Unclear, 0},

		// The fields, and which rule is first.
		"ambiguous":                       {"", relay.Result{Error: "x", Ambiguous: true}, action.Unknown, 0},
		"ambiguous before declined":       {"", relay.Result{Code: "egress_declined", Ambiguous: true}, action.Unknown, 0},
		"ambiguous before retryable":      {"", relay.Result{Ambiguous: true, Retryable: yes}, action.Unknown, 0},
		"timed out, but retryable":        {"", relay.Result{Error: "timed out", Retryable: yes}, action.Transient, 0},
		"timed out, not retryable":        {"", relay.Result{Error: "timed out", Retryable: no}, action.Unknown, 0},
		"retryable":                       {"", relay.Result{Error: "x", Retryable: yes}, action.Transient, 0},
		"not retryable":                   {"", relay.Result{Error: "x", Retryable: no}, action.Permanent, 0},
		"retryable markup":                {"", relay.Result{Error: "can't parse entities", Retryable: yes}, action.Transient, 0},
		"markup, not retryable":           {"", relay.Result{Error: "can't parse entities", Retryable: no}, action.Markup, 0},
		"rate_limited":                    {"", relay.Result{Code: "rate_limited"}, action.Transient, 0},
		"retry_after":                     {"", relay.Result{Error: "x", RetryAfter: 1.5}, action.Transient, 1500 * time.Millisecond},
		"the field before the text":       {"", relay.Result{Error: "retry after 9", RetryAfter: 2}, action.Transient, 2 * time.Second},
		"a pause beyond reason":           {"", relay.Result{RetryAfter: 1e300}, action.Transient, 30 * 24 * time.Hour},
		"a limit is no status":            {"", text("content: at most 500 characters"), action.Unclear, 0},
		"a number inside another":         {"", text("message 15031 is gone"), action.Unclear, 0},
		"the code speaks as the text":     {"", relay.Result{Code: "FLOOD_WAIT_3", Error: "420"}, action.Transient, 3 * time.Second},
		"not found of a send is not done": {"", text("not found"), action.Unclear, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			if tt.op == "" {
				tt.op = "send"
			}
			is.Equal(action.ClassOf(tt.op, tt.r), action.Refusal{Class: tt.want, After: tt.wait})
		})
	}
}

// What platforms, and the libraries that speak to them, say: each line has an op, if it is not send, and after a sign of the
// class the pause in seconds, if one is asked for.
func TestTheTextsOfPlatformsAndLibraries(t *testing.T) {
	for want, texts := range map[action.Class][]string{
		action.Transient: {
			`12|Telegram says: [420 FLOOD_WAIT_X] - A wait of 12 seconds is required (caused by "messages.SendMessage")`,
			`23|A wait of 23 seconds is required (caused by SendMessageRequest)`,
			`35|Flood control exceeded. Retry in 35 seconds`,
			`5|Telegram server says - Flood control exceeded on method 'SendMessage' in chat 1. Retry in 5 seconds.`,
			`7|GrammyError: Call to 'sendMessage' failed! (429: Too Many Requests: retry after 7)`,
			`|HttpError: Network request for 'sendMessage' failed!`,
			`|internal_error`,
			`|Internal error, please retry later`,
			`|service_unavailable`,
			`|ratelimited`,
			`|message_limit_exceeded`,
			`|team_added_to_org`,
			`|20028: The write action you are performing on the channel has hit the write rate limit.`,
			`|20016: This action cannot be performed due to slowmode rate limit`,
			`|130000: API resource is currently overloaded. Try again a little later`,
			`|500 Internal Server Error (error code: 0)`,
			`17|Bad Request: SLOWMODE_WAIT_17`,
			`|This channel is in slow mode`,
			`|connect EHOSTUNREACH 10.0.0.1:443`,
			`|connect ENETUNREACH 10.0.0.1:443`,
			`|[Errno 113] No route to host`,
			`|[Errno -3] Temporary failure in name resolution`,
			`|[Errno -2] Name or service not known`,
			`|[Errno 8] nodename nor servname provided, or not known`,
			`|lookup api.telegram.org: no such host`,
			`|EAI_AGAIN`,
			`|queryA ENOTFOUND api.telegram.org`,
			`|httpx.ConnectError`,
			`|httpx.ReadError`,
			`|httpx.RemoteProtocolError: Server disconnected without sending a response.`,
			`|All connection attempts failed`,
			`|Cannot connect to host api.telegram.org:443 ssl:default [None]`,
			`|aiohttp.ClientConnectorError`,
			`|Connection timeout to host https://api.telegram.org/`,
			`|curl: (6) Could not resolve host: api.telegram.org`,
			`|Unable to connect to the remote server`,
			`|could not connect to server`,
			`|TypeError: fetch failed`,
			`|SocketError: other side closed`,
			`|Post "https://api.telegram.org/x": EOF`,
			`|unexpected EOF`,
			`|EOFError`,
			`|read tcp 10.0.0.1:1->10.0.0.2:443: use of closed network connection`,
			`|WebSocket is not open: readyState 3 (CLOSED)`,
			`|Session closed. Most likely the page has been closed.`,
			`|Protocol error (Runtime.callFunctionOn): Target closed.`,
			`|Stream Errored (restart required)`,
			`|Stream Errored (conflict)`,
			`|Connection was lost`,
			`|Client is not initialized yet`,
			`|connector is starting up`,
			`|The service is shutting down`,
			`|going away`,
			`|Down for maintenance`,
			`|platform offline`,
			`|telegram is down`,
			`|Server busy`,
			`|at capacity`,
			`|Queue full`,
			`|queue overflow`,
			`|Throttled`,
			`|ThrottlingException: Rate exceeded`,
			`|TooManyRequests`,
			`|InternalServerError`,
			`|BadGateway`,
			`|ServiceUnavailable`,
			`|RESOURCE_EXHAUSTED`,
			`|Resource has been exhausted (e.g. check quota).`,
			`|Quota exceeded for quota metric 'Message writes'`,
			`|M_LIMIT_EXCEEDED`,
			`2|M_LIMIT_EXCEEDED (retry_after_ms: 2000)`,
			`1.5|retry after 1500ms`,
			`1.5|retry after 1500 ms`,
			`120|retry after 2 minutes`,
			`300|Rate limited, try again in 5 minutes`,
			`34|Too many messages. Try again in 34 seconds.`,
			`30|Retry-After: 30`,
			`30|429 retryAfter=30`,
			`5|{'ok': False, 'error_code': 429, 'parameters': {'retry_after': '5'}}`,
			`5|{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 5","parameters":{"retry_after":5}}`,
			`|429 Retry-After: Fri, 27 Nov 2026 18:00:00 GMT`,
			`|429, retry after 2026-11-27T18:00:00Z`,
			`|(#131056) (Business Account, Consumer Account) pair rate limit hit`,
			`|(#4) Application request limit reached`,
			`|(#80007) Rate limit issues`,
			`|(#2) Service temporarily unavailable`,
			`|525 SSL handshake failed`,
			`|Origin error 520`,
			`|HTTP status 530`,
			`|You are sending messages too fast`,
			`|You're sending messages too quickly`,
			`|Too many messages`,
			`|Please wait a few minutes before you try again.`,
			`30|Please wait 30 seconds`,
			`|421 4.7.0 Try again later`,
			`|451 4.3.0 Temporary lookup failure`,
			`|450 4.2.1 mailbox busy`,
			`|421 Service not available, closing transmission channel`,
			`|upstream connect error or disconnect/reset before headers. reset reason: overflow`,
			`|server error`,
			`|Telegram server error`,
			`|relay transport not connected`,
			`|whatsapp is not connected (state: logged_out)`,
			`|signal-cli daemon not running`,
			`|Platform discord not connected`,
			`|Rate limit exceeded: 5 per 1 second`,
		},
		action.Markup: {
			`|Bad Request: can't parse entities: Can't find end of the entity starting at byte offset 503`,
			`|Bad Request: can't parse entities: Unsupported start tag "connection" at byte offset 12`,
			`|Bad Request: can't parse entities: Unsupported start tag "timeout" at byte offset 429`,
			`|Bad Request: can't parse entities: Character '.' is reserved and must be escaped with the preceding '\'`,
			`|ENTITY_BOUNDS_INVALID`,
			`|Bad Request: wrong entities`,
			`|Bad Request: ENTITIES_TOO_LONG`,
			`|invalid_blocks`,
			`|msg_blocks_too_long`,
			`|invalid_blocks_format`,
		},
		action.Unclear: {
			`|413 Request Entity Too Large`,
			`|HTTP 422 Unprocessable Entity`,
			`|Message blocked by AutoMod`,
			`|DiscordAPIError[50035]: Invalid Form Body content[BASE_TYPE_MAX_LENGTH]: Must be 2000 or fewer in length.`,
			`|Must be between 1 and 500 in length.`,
			`|Length must not exceed 500`,
			`|The maximum is 500.`,
			`|content is longer than 503`,
			`|(#131026) Message undeliverable`,
			`|message 503 was removed by a moderator`,
			`|Bad Request: message is too long`,
			`|msg_too_long`,
			`|Bad Request: message to be replied not found`,
			`:send_media|fetch failed`,
			`|timeout_s must be at most 3600`,
			`|550 5.1.1 User unknown`,
		},
		action.Permanent: {
			`|Forbidden: bot was blocked by the user`,
			`|USER_IS_BLOCKED`,
			`|no_permission`,
			`|ekm_access_denied`,
			`|CHAT_ADMIN_REQUIRED`,
			`|CHAT_WRITE_FORBIDDEN`,
			`|50013: Missing Permissions`,
			`|DiscordAPIError[50001]: Missing Access`,
			`|50007: Cannot send messages to this user`,
			`|(#10) Application does not have permission for this action`,
			`|(#200) Permissions error`,
			`|PERMISSION_DENIED: The caller does not have permission`,
			`|insufficient_scope`,
			`|Insufficient permissions`,
			`|Access denied`,
			`|Forbidden: bot is not a member of the supergroup chat`,
			`|op not supported`,
			`|Unsupported operation: draft`,
			`|unknown op: draft`,
			`|not implemented`,
		},
		action.Unknown: {
			`|request_timeout`,
			`|504 Gateway Time-out`,
			`|408 Request Time-out`,
			`|context deadline exceeded`,
			`|DEADLINE_EXCEEDED`,
			`|AbortError: This operation was aborted`,
			`|The operation was aborted due to timeout`,
			`|ETIMEDOUT`,
			`|ESOCKETTIMEDOUT`,
			`|timeout of 10000ms exceeded`,
			`|ECONNABORTED`,
			`|no ack received`,
			`|ack not received within 20s`,
			`|Operation timed out after 5000 milliseconds with 0 bytes received`,
			`|read tcp 10.0.0.1:1->10.0.0.2:443: i/o timeout`,
			`|GatewayTimeout`,
			`|relay outbound timed out`,
			`|relay transport connection lost`,
		},
		action.Declined: {
			`|discord Egress Declined: tenant lookup timed out`,
		},
		action.Done: {
			`:edit|MESSAGE_NOT_MODIFIED`,
			`:edit|message not modified`,
			`:edit|specified new message content and reply markup are exactly the same as a current content and reply markup of the message`,
			`:delete|10008: Unknown Message`,
			`:delete|message already deleted`,
			`:delete|message_not_found`,
			`:delete|Message does not exist`,
			`:react|already_reacted`,
			`:react|no_reaction`,
		},
	} {
		for _, line := range texts {
			about, text, _ := strings.Cut(line, "|")
			seconds, op, _ := strings.Cut(about, ":")
			wait, err := time.ParseDuration(cmp.Or(seconds, "0") + "s")
			if err != nil {
				t.Fatal(err)
			}
			got := action.ClassOf(cmp.Or(op, "send"), relay.Result{Error: text})
			if got != (action.Refusal{Class: want, After: wait}) {
				t.Errorf("%s: %s, %v", line, got.Class, got.After)
			}
		}
	}
}

func FuzzRefusals(f *testing.F) { // whatever is said, there is one class, and a pause is bounded
	f.Add("send", "rate_limited", "Too Many Requests: retry after 1", 0.5, int8(1), false)
	f.Add("delete", "", "message to delete not found", 0.0, int8(0), false)
	f.Add("send", "egress_declined", "flood_control:999999999999", -1.0, int8(-1), true)
	f.Fuzz(func(t *testing.T, op, code, text string, after float64, retryable int8, ambiguous bool) {
		if !(after > 0) {
			after = 0 // as the decoder has it
		}
		r := relay.Result{Code: code, Error: text, RetryAfter: after, Ambiguous: ambiguous}
		if retryable != 0 {
			r.Retryable = new(retryable > 0)
		}
		got := action.ClassOf(op, r)
		switch {
		case got.Class == "", got.Class == action.Cosmetic:
			t.Fatalf("no class: %+v", got)
		case got.After < 0, got.After > 30*24*time.Hour, got.After > 0 && got.Class != action.Transient:
			t.Fatalf("a pause of %v for %s", got.After, got.Class)
		case ambiguous && got.Class != action.Unknown:
			t.Fatalf("ambiguous and %s: it would be sent again", got.Class)
		case got.Class == action.Transient && retryable <= 0 && strings.Contains(strings.ToLower(text), "timed out"):
			t.Fatal("what may have arrived would be sent again")
		case r.Declined() && got.Class != action.Declined && got.Class != action.Unknown:
			t.Fatalf("a decline is %s", got.Class)
		}
	})
}
