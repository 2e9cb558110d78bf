package turn

import (
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestWhenAMessageWasSaid(t *testing.T) {
	received := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		platform, id string
		change       func(*relay.Event)
		want         time.Time
	}{
		"a snowflake":           {"discord", "175928847299117063", nil, time.Date(2016, 4, 30, 11, 18, 25, 796e6, time.UTC)},
		"a snowflake elsewhere": {"telegram", "175928847299117063", nil, received},
		"a small number":        {"discord", "1234", nil, received},
		"the shortest":          {"discord", "10000000000000000", nil, time.Date(2015, 1, 28, 14, 16, 25, 791e6, time.UTC)},
		"one digit less":        {"discord", "9999999999999999", nil, received},
		"no number":             {"discord", "m-1", nil, received},
		"no id":                 {"discord", "", nil, received},
		"larger than any id":    {"discord", "99999999999999999999", nil, received},
		"from the future":       {"discord", "9223372036854775807", nil, received},
		"a ts":                  {"slack", "1764237600.000250", nil, time.Date(2025, 11, 27, 10, 0, 0, 250e3, time.UTC)},
		"a ts elsewhere":        {"discord", "1764237600.000250", nil, received},
		"half a ts":             {"slack", "1764237600", nil, received},
		"no ts":                 {"slack", "x764237600.000250", nil, received},
		"an odd ts":             {"slack", "1764237600.00025x", nil, received},
		"an edit":               {"discord", "175928847299117063", func(e *relay.Event) { e.Source.MessageIsEdit = true }, received},
		"an interaction": {"discord", "", func(e *relay.Event) { e.Source.MessageID = "175928847299117063" },
			time.Date(2016, 4, 30, 11, 18, 25, 796e6, time.UTC)},
		"a ts of the source": {"slack", "", func(e *relay.Event) { e.Source.MessageID = "1764237600.000250" },
			time.Date(2025, 11, 27, 10, 0, 0, 250e3, time.UTC)},
		"a button": {"slack", "1764237600.000250", func(e *relay.Event) {
			e.PromptResponse = &relay.PromptResponse{PromptMessageID: e.MessageID}
		}, received},
		"an interaction that does not name its question": {"discord", "", func(e *relay.Event) {
			e.Source.MessageID, e.PromptResponse = "175928847299117063", &relay.PromptResponse{PromptID: "x"}
		}, time.Date(2016, 4, 30, 11, 18, 25, 796e6, time.UTC)},
		"a button with an id of its own": {"discord", "175928847299117063", func(e *relay.Event) {
			e.PromptResponse = &relay.PromptResponse{PromptMessageID: "1"}
		}, time.Date(2016, 4, 30, 11, 18, 25, 796e6, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			e := &relay.Event{MessageID: tt.id, Source: relay.Source{Platform: tt.platform}}
			if tt.change != nil {
				tt.change(e)
			}
			is.Equal(saidAt(e, received, false), tt.want)
		})
	}
}
