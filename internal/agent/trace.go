package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// lambdaTrace is the name under which Lambda's runtime client keeps the X-Amzn-Trace-Id of an invocation in its context.
const lambdaTrace = "x-amzn-trace-id"

// Sizes of W3C trace context's ids, in hex digits.
const (
	traceDigits  = 32
	parentDigits = 16
)

// Traceparent is the trace context that a turn goes to its agent with (W3C Trace Context, version 00). On Lambda it is that of
// the invocation: its trace, with its segment as the parent, sampled if it is. Elsewhere the trace is a new one that nobody has
// sampled; all attempts of a delivery are in the same, as its key names it.
func Traceparent(ctx context.Context, key string) string {
	given, _ := ctx.Value(lambdaTrace).(string)
	trace, parent, sampled := xray(given)
	if trace == "" {
		trace = key
	}
	if !isTraceID(trace, traceDigits) {
		trace = randomTraceID(traceDigits)
	}
	if !isTraceID(parent, parentDigits) {
		parent = randomTraceID(parentDigits)
	}
	flags := "00"
	if sampled {
		flags = "01"
	}
	return "00-" + trace + "-" + parent + "-" + flags
}

// xray reads an X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1. What cannot be read
// is empty.
func xray(header string) (trace, parent string, sampled bool) {
	for part := range strings.SplitSeq(header, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch strings.ToLower(name) {
		case "root":
			version, digits, _ := strings.Cut(strings.ToLower(value), "-")
			if id := strings.Replace(digits, "-", "", 1); version == "1" && isTraceID(id, traceDigits) {
				trace = id
			}
		case "parent":
			parent = strings.ToLower(value)
		case "sampled":
			sampled = value == "1"
		}
	}
	if trace == "" {
		return "", "", false // the others are of no trace
	}
	return trace, parent, sampled
}

// isTraceID says whether an id has so many lower-case hex digits that are not all zero.
func isTraceID(id string, digits int) bool {
	return len(id) == digits && strings.Trim(id, "0123456789abcdef") == "" && strings.Trim(id, "0") != ""
}

func randomTraceID(digits int) string {
	id := make([]byte, digits/2)
	rand.Read(id)
	id[0] |= 1 // all zero is no id
	return hex.EncodeToString(id)
}
