package relay_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestDescriptorIsNormalised(t *testing.T) {
	type descriptor struct {
		Note       string
		RawJSON    string `json:"raw_json"`
		Normalized fields // nil if the reference raises
		Derived    struct {
			LenUnit         string `json:"effective_len_unit"`
			CodeBlocks      bool   `json:"supports_code_blocks"`
			Supported       []string
			DraftStreaming  bool `json:"draft_streaming"`
			NativeTaskCards bool `json:"native_task_cards"`
		}
	}
	const noHandshake = "the reference loses its connection; ours takes defaults: no descriptor may fail the handshake"
	differences := map[string]string{
		"a fraction is left as it is (quirk)":                          "1999: a limit is an integer",
		"true counts as 1 (quirk)":                                     "4096: true is no length",
		"infinity makes the reference raise, which ends its read loop": noHandshake,
		"beyond 64 bits (quirk: kept as it is)":                        "cut to 31 bits",
		"types are not checked: a non-empty string is truthy (quirk)":  "true all the same, but as a bool",
		"a missing required field makes the reference raise":           noHandshake,
		"likewise: an empty object":                                    noHandshake,
		"not an object":                                                noHandshake,
	}
	ops := []string{
		"draft", "edit", "follow_up", "get_chat_info", "prompt", "react", "send", "send_media", "task_card", "thread_create",
		"thread_rename", "typing",
	}
	note := func(c descriptor) string { return c.Note }
	eachVector(t, vectors[descriptor](t, "descriptors"), note, differences, func(c descriptor) string {
		var d relay.Descriptor
		if err := json.Unmarshal([]byte(c.RawJSON), &d); err != nil {
			return "failed: " + err.Error()
		}
		fault := unlike("fields", fieldsOf(d), c.Normalized)
		for _, op := range ops {
			fault += unlike("supports "+op, d.Supports(op), slices.Contains(c.Derived.Supported, op))
		}
		unit := map[int]string{1: "chars", 2: "utf16"}[d.Len("😀")]
		fault += unlike("unit", unit, c.Derived.LenUnit)
		fault += unlike("code blocks", d.CodeBlocks(), c.Derived.CodeBlocks)
		fault += unlike("drafts", d.Supports("draft"), c.Derived.DraftStreaming)
		cards := d.Supports("task_card") && d.Supports("task_card_stop")
		return fault + unlike("task cards", cards, c.Derived.NativeTaskCards)
	})
}

func TestDescriptorWithoutCareGetsDefaults(t *testing.T) {
	defaults := relay.Descriptor{
		ContractVersion: 1, MaxMessageLength: 4096, SupportsEdit: true, MarkdownDialect: "plain", LenUnit: "chars", Emoji: "🔌",
	}
	limit := func(n int) relay.Descriptor { d := defaults; d.MaxMessageLength = n; return d }
	tests := map[string]struct {
		raw  string
		want relay.Descriptor
	}{
		"empty":                {`{}`, defaults},
		"null":                 {`null`, defaults},
		"array":                {`[1]`, defaults},
		"odd types":            {`{"contract_version":[],"supports_edit":"no","pii_safe":1,"supported_ops":{"send":1}}`, defaults},
		"fraction":             {`{"max_message_length":1999.5}`, limit(1999)},
		"numeric string":       {`{"max_message_length":" 2000 "}`, limit(2000)},
		"true":                 {`{"max_message_length":true}`, defaults},
		"infinite":             {`{"max_message_length":1e999}`, defaults},
		"enormous":             {`{"max_message_length":1e300}`, limit(1<<31 - 1)},
		"enormous string":      {`{"max_message_length":"9223372036854775807"}`, limit(1<<31 - 1)},
		"beyond all":           {`{"max_message_length":"99999999999999999999"}`, defaults},
		"hardly anything":      {`{"max_message_length":1e-300}`, defaults},
		"very negative":        {`{"max_message_length":-1e300}`, defaults},
		"the last of two wins": {`{"max_message_length":5,"max_message_length":6}`, limit(6)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			d := relay.Descriptor{Platform: "stale"}
			is.NoErr(json.Unmarshal([]byte(tt.raw), &d))
			is.Equal(d, tt.want)
		})
	}
}

func TestDescriptorSplitsByItsLimitAndUnit(t *testing.T) {
	is := is.New(t)
	d := relay.Descriptor{MaxMessageLength: 50, LenUnit: "utf16"}
	parts := d.Split(strings.Repeat("😀", 60))
	is.Equal(len(parts), 4)
	for _, part := range parts {
		is.True(d.Len(part) <= 50)
	}
}

func FuzzDescriptor(f *testing.F) { // any JSON gives a usable descriptor, and what that marshals to gives it again
	for _, c := range vectors[struct {
		RawJSON string `json:"raw_json"`
	}](f, "descriptors") {
		f.Add([]byte(c.RawJSON))
	}
	f.Add([]byte(`{"max_message_length":"9","len_unit":"utf16","supported_ops":["draft","\ud800",""]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		is := is.New(t)
		var d, again relay.Descriptor
		if err := d.UnmarshalJSON(raw); err != nil {
			is.True(!json.Valid(raw)) // only bad JSON is refused
			return
		}
		is.True(d.MaxMessageLength > 0)
		wire, err := json.Marshal(d)
		is.NoErr(err)
		is.NoErr(json.Unmarshal(wire, &again))
		is.Equal(again, d)
	})
}
