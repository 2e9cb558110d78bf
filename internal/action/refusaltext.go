package action

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// The texts by which connectors, platforms and their libraries are known to say what is wrong, as plain has them.
var (
	ambiguousTexts = []string{ // "504 Gateway Time-out", too; a bare 504 is a 5xx
		"timed out", "timeout", "timedout", " time out", "deadline exceeded",
		"ack lost", "lost ack", "no ack ", "ack not received", "no response", "did not respond",
		"operation was aborted", "request was aborted", "aborted a request", "econnaborted", "transport connection lost",
	}
	unreachedTexts = []string{ // no connection was made in time, so nothing was sent
		"connect etimedout", "connect timeout", "connecttimeout", "connection attempt timed out", "timed out while connecting",
		"connect timed out", "connection timeout to host", "connection timed out after", "dial tcp", "pool timeout",
		"from pool", "from the pool", "handshake timeout", "handshake timed out", "getaddrinfo", "name resolution", "dns ",
		"cannot connect", "can't connect", "could not connect", "couldn't connect", "unable to connect", "failed to connect",
	}
	transientTexts = []string{
		"rate limit", "ratelimit", "rate exceeded", "request limit", "m limit exceeded", "message limit exceeded",
		"too many requests", "too many messages", "too many attempts", "too fast", "too quickly", "too often", "too frequent",
		"flood", "slow down", "slow mode", "slowmode", "throttl", "please wait", "resource exhausted",
		"resource has been exhausted", "quota exceeded",
		"bad gateway", "unavailable", "service not available", "internal server error", "internal error", "server error",
		"temporar", "transient", "try again", "try later", "retry later", "please retry", "overload", "at capacity",
		"over capacity", "busy", "queue full", "queue is full", "queue overflow", "maintenance", "outage", "offline", "is down",
		"connection", "connect error", "connector error", "connect call failed", "not connected", "disconnect", "reconnect",
		"restart", "starting up", "shutting down", "going away", "not ready", "not open", "not running", "not initialized",
		"initializing", "team added to org",
		"econn", "epipe", "ehostunreach", "enetunreach", "unreachable", "no route to host", "enotfound", "eai again",
		"not resolve host", "name or service not known", "nodename nor servname", "no such host", "unexpected eof", ": eof",
		"eoferror", "eof occurred", "broken pipe", "hang up", "socket", "network", "read error", "readerror",
		"remote protocol error", "other side closed", "session closed", "target closed",
		"stream error", "transport closed", "relay send failed",
		"not routed to this profile",
	}
	fetchTexts  = []string{"fetch failed", "failed to fetch"} // of a file: what it links to is not there
	parserTexts = []string{                                   // they quote what they could not read, so that other words in them count for nothing
		"parse entities", "parse message text", "can't find end", "unsupported start tag", "unclosed start tag",
	}
	markupTexts = []string{
		"entities", "entity bounds", "bad request: entity", "blocks ", "block kit", "parse mode", "markup", "markdown", "mrkdwn",
	}
	permanentTexts = []string{
		"unsupported op", "unknown op", "not supported", "not implemented", "unimplemented", "platform not fronted",
		"permission", "missing access", "access denied", "missing scope", "insufficient scope", "insufficient privileges",
		"not enough rights", "no rights", "administrator rights", "admin required",
		"forbidden", "not allowed", "not authorized", "unauthorized", "restricted action",
		"bot was blocked", "user is blocked", "bot was kicked", "not a member", "not in channel", "is archived",
		"user is deactivated", "cannot send messages to",
	}
	doneTexts   = []string{"not modified", "exactly the same as a current"}
	doneTextsOf = map[string][]string{
		"delete": {"not found", "unknown message", "already deleted", "been deleted", "not exist", "no longer exists"},
		"react":  {"already reacted", "no reaction"},
	}
)

// plain is a text in lower case, its words with a blank between them: "Time-out", "retry_after" and "TooManyRequests" are two
// and three words, "2026-11-27" and "ETIMEDOUT" are one. It ends with a blank.
func plain(text string) string {
	var b strings.Builder
	var before rune
	all := []rune(text)
	for i, r := range all {
		switch {
		case r == '_', r == '-' && unicode.IsLetter(before) && i+1 < len(all) && unicode.IsLetter(all[i+1]):
			b.WriteByte(' ')
		case unicode.IsUpper(r) && unicode.IsLower(before):
			b.WriteByte(' ')
			fallthrough
		default:
			b.WriteRune(unicode.ToLower(r))
		}
		before = r
	}
	return b.String() + " "
}

func has(text string, any []string) bool {
	return slices.ContainsFunc(any, func(s string) bool { return strings.Contains(text, s) })
}

var (
	statuses = compiled(`(?:(?:(\pL+)\s+)?(\pL+))?([^\pL\d]*)\b(?:429|50\d|51[01]|52\d|530|59[89])\b([.,]?\d)?\W*(\pL*)(\s+length)?`)
	pauses   = compiled(`(?:retry after|retry in|try again in|try again after|flood control|flood wait|wait of|wait for|wait)` +
		`( ms)?(?: seconds| secs| s)?\W{0,5}(\d{1,9}(?:\.\d{1,9})?)([-/:]\d)?\s*(\pL*)`)
)

// compiled compiles an expression when it is first needed: few messages need one, and a cold start would pay for all.
func compiled(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// What stands beside a number that is no HTTP status.
var (
	units = []string{ // it counts something, and what does follows
		"char", "byte", "unit", "kb", "mb", "message", "word", "line", "emoji", "item", "second", "option", "member", "pixel",
		"percent", "embed", "files",
	}
	limits = []string{ // it is the end of something, and what says so is before it
		"offset", "position", "exceed", "exceeds", "exceeded", "than", "most", "least", "and", "max", "maximum", "minimum", "limit",
		"length", "size", "to",
	}
	things = []string{"message", "chat", "channel", "user", "thread", "topic", "id", "line"} // it is a name
)

// hasStatus reports whether a text has 429, or the HTTP status of a server's fault.
func hasStatus(text string) bool {
	return slices.ContainsFunc(statuses().FindAllStringSubmatch(text, -1), func(found []string) bool {
		first, word, gap, goesOn, next := found[1], found[2], found[3], found[4], found[5]
		switch {
		case goesOn != "", strings.ContainsAny(gap[max(len(gap)-1, 0):], ".,"):
			return false // a part of another number
		case next == "or", next == "ms", next == "px", next == "in" && found[6] != "":
			return false
		case slices.ContainsFunc(units, func(unit string) bool { return strings.HasPrefix(next, unit) }):
			return false
		case slices.Contains(limits, word), (word == "is" || word == "of") && slices.Contains(limits, first):
			return false
		}
		return !(slices.Contains(things, word) && strings.Trim(gap, " #") == "")
	})
}

// pauseIn is the pause that a text asks for: "retry after 3", "flood_control:3", "try again in 5 minutes".
func pauseIn(text string) time.Duration {
	for _, found := range pauses().FindAllStringSubmatch(text, -1) {
		seconds, err := strconv.ParseFloat(found[2], 64)
		if err != nil || found[3] != "" { // a date
			continue
		}
		switch unit := found[1] + found[4]; {
		case strings.HasPrefix(strings.TrimSpace(unit), "ms"), strings.HasPrefix(unit, "milli"):
			seconds /= 1000
		case unit == "m", strings.HasPrefix(unit, "min"):
			seconds *= time.Minute.Seconds()
		case unit == "h", unit == "hr", strings.HasPrefix(unit, "hour"):
			seconds *= time.Hour.Seconds()
		}
		return relay.Result{RetryAfter: seconds}.Pause()
	}
	return 0
}
