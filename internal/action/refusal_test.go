package action_test

import (
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
