package relay

import (
	"math"
	"slices"
)

// Descriptor is what the connector says about one platform (section 7), with defaults for what is missing or odd.
type Descriptor struct {
	ContractVersion              int      `json:"contract_version"`
	Platform                     string   `json:"platform"`
	Label                        string   `json:"label"`
	MaxMessageLength             int      `json:"max_message_length"` // in LenUnit; always positive
	SupportsDraftStreaming       bool     `json:"supports_draft_streaming"`
	SupportsEdit                 bool     `json:"supports_edit"`
	SupportsThreads              bool     `json:"supports_threads"`
	MarkdownDialect              string   `json:"markdown_dialect"`
	LenUnit                      string   `json:"len_unit"` // utf16; anything else counts as chars
	Emoji                        string   `json:"emoji"`
	PlatformHint                 string   `json:"platform_hint"`
	PIISafe                      bool     `json:"pii_safe"`
	SupportsContext              bool     `json:"supports_context"`
	SupportsInchannelContinuable bool     `json:"supports_inchannel_continuable"`
	SupportsBlockFormatting      bool     `json:"supports_block_formatting"`
	SupportedOps                 []string `json:"supported_ops,omitempty"` // empty: the legacy set, see Supports
}

// defaultDescriptor has the defaults of the optional fields. For required fields it has what the reference assumes before
// a handshake.
var defaultDescriptor = Descriptor{
	ContractVersion:  1,
	MaxMessageLength: 4096,
	SupportsEdit:     true,
	MarkdownDialect:  "plain",
	LenUnit:          UnitChars,
	Emoji:            "\U0001F50C", // electric plug
}

// UnmarshalJSON fails only for bad JSON: a careless descriptor must not break the handshake. What is missing or of
// another type takes its default; if raw is not an object, everything does.
func (d *Descriptor) UnmarshalJSON(raw []byte) error {
	v, ok := parse(raw)
	if !ok {
		return errNotJSON
	}
	*d = decodeDescriptor(v)
	return nil
}

func decodeDescriptor(v value) Descriptor {
	d := defaultDescriptor
	for name, v := range v.members() {
		switch string(name) {
		case "contract_version":
			d.ContractVersion = positive(v, defaultDescriptor.ContractVersion)
		case "platform":
			d.Platform = v.text()
		case "label":
			d.Label = v.text()
		case "max_message_length":
			d.MaxMessageLength = positive(v, defaultDescriptor.MaxMessageLength)
		case "supports_draft_streaming":
			d.SupportsDraftStreaming = v.isTrue()
		case "supports_edit":
			d.SupportsEdit = string(v) != "false"
		case "supports_threads":
			d.SupportsThreads = v.isTrue()
		case "markdown_dialect":
			d.MarkdownDialect = v.text()
		case "len_unit":
			d.LenUnit = v.text()
		case "emoji":
			d.Emoji = v.text()
		case "platform_hint":
			d.PlatformHint = v.text()
		case "pii_safe":
			d.PIISafe = v.isTrue()
		case "supports_context":
			d.SupportsContext = v.isTrue()
		case "supports_inchannel_continuable":
			d.SupportsInchannelContinuable = v.isTrue()
		case "supports_block_formatting":
			d.SupportsBlockFormatting = v.isTrue()
		case "supported_ops":
			d.SupportedOps = nil
			for v := range v.elements() {
				if v.isString() && len(v) > len(`""`) {
					d.SupportedOps = append(d.SupportedOps, v.text())
				}
			}
		}
	}
	return d
}

// positive is v as a positive integer of at most 31 bits, else the default.
func positive(v value, otherwise int) int {
	n, ok := v.integer()
	if !ok || n <= 0 {
		return otherwise
	}
	return int(min(n, math.MaxInt32))
}

var legacyOps = []string{"send", "edit", "typing", "follow_up"}

// Supports reports whether the connector takes op for this platform (section 7): one of those it lists, or the legacy
// send, edit, typing and follow_up if it lists nothing. A draft needs SupportsDraftStreaming as well.
func (d Descriptor) Supports(op string) bool {
	if op == "draft" && !d.SupportsDraftStreaming {
		return false
	}
	if len(d.SupportedOps) == 0 {
		return slices.Contains(legacyOps, op)
	}
	return slices.Contains(d.SupportedOps, op)
}

// CodeBlocks reports whether the platform's dialect has fenced code (section 7).
func (d Descriptor) CodeBlocks() bool { return d.MarkdownDialect != "" && d.MarkdownDialect != "plain" }

// Len is text's length in the platform's unit, LenUnit, as MaxMessageLength counts it.
func (d Descriptor) Len(text string) int { return textLen(text, d.LenUnit) }

// Split cuts text into parts that fit the platform, for sending one after another (section 11). A text that fits is one
// part, unchanged. Otherwise each part ends in a counter like " (1/3)". Cuts fall on line ends, else on blanks, else between
// two characters as a reader sees them; not within a link, a mention or an entity that fits. White space around a cut goes, but
// not in code. A fenced block (CommonMark's) that is cut is closed and opened again, with its language and with the quote and
// the indentation that it is in; a table repeats its head. Where the dialect is CommonMark ("markdown") the counter has a line
// of its own after what it would be read as part of. Line ends are line feeds in the parts. A limit below 32 is kept as well
// as can be: parts with counters may exceed it.
func (d Descriptor) Split(text string) []string {
	return splitter{
		limit: d.MaxMessageLength, unit: d.LenUnit,
		ownLine: d.MarkdownDialect == "markdown", marked: d.MarkdownDialect != "" && d.MarkdownDialect != "plain",
	}.split(text)
}
