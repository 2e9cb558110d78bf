package turn

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// saidAt is when a message was said: the ids of some platforms hold the time. Elsewhere, and for an edit or a button, whose id
// is that of an older message, it is when we received it.
func saidAt(e *relay.Event, received time.Time, edited bool) time.Time {
	if edited || e.Source.MessageIsEdit || isOfItsQuestion(e) {
		return received
	}
	var at time.Time
	var ok bool
	switch e.Source.Platform {
	case "discord":
		at, ok = snowflakeTime(cmp.Or(e.MessageID, e.Source.MessageID)) // an interaction has the latter only
	case "slack":
		at, ok = slackTime(cmp.Or(e.MessageID, e.Source.MessageID))
	}
	if !ok || at.After(received) { // their clock, or ours, is a bit off
		return received
	}
	return at
}

// isOfItsQuestion reports whether an answer to a prompt has the id of the message that asked.
func isOfItsQuestion(e *relay.Event) bool {
	return e.PromptResponse != nil && e.MessageID != "" && e.PromptResponse.PromptMessageID == e.MessageID
}

// Discord's ids count milliseconds since the beginning of 2015, in front of 22 other bits.
const (
	discordEpoch = 1_420_070_400_000
	discordBits  = 22
)

// snowflakeTime is the time in an id of Discord's.
func snowflakeTime(id string) (time.Time, bool) {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil || len(id) < 17 || len(id) > 20 { // those of 2015 have 17 digits; a shorter number is something else
		return time.Time{}, false
	}
	return time.UnixMilli(int64(n>>discordBits) + discordEpoch).UTC(), true
}

// slackTime is the time in a ts of Slack's: seconds since 1970, a point, and six digits.
func slackTime(ts string) (time.Time, bool) {
	seconds, micros, _ := strings.Cut(ts, ".")
	s, err := strconv.ParseUint(seconds, 10, 63)
	if err != nil || len(seconds) != 10 || len(micros) != 6 {
		return time.Time{}, false
	}
	m, err := strconv.ParseUint(micros, 10, 63)
	return time.Unix(int64(s), int64(m)*1000).UTC(), err == nil
}
