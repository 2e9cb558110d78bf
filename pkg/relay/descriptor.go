package relay

import (
	"math"
	"slices"
)

// Descriptor is what the connector says of one fronted platform, normalised (section 7).
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

// defaultDescriptor has the defaults of the optional fields, and for required ones that are missing the reference's
// placeholder from before a handshake.
var defaultDescriptor = Descriptor{
	ContractVersion:  1,
	MaxMessageLength: 4096,
	SupportsEdit:     true,
	MarkdownDialect:  "plain",
	LenUnit:          UnitChars,
	Emoji:            "\U0001F50C", // electric plug
}

// UnmarshalJSON fails only for bad JSON: a handshake must not depend on a connector's care. What is missing or of
// another type takes its default, and so does everything if raw is not an object.
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

// Supports says whether the connector takes op for this platform (section 7): what it lists, or the legacy send, edit,
// typing and follow_up if it lists nothing. A draft must be announced by SupportsDraftStreaming as well.
func (d Descriptor) Supports(op string) bool {
	if op == "draft" && !d.SupportsDraftStreaming {
		return false
	}
	if len(d.SupportedOps) == 0 {
		return slices.Contains(legacyOps, op)
	}
	return slices.Contains(d.SupportedOps, op)
}

// CodeBlocks says whether the platform's dialect has fenced code (section 7).
func (d Descriptor) CodeBlocks() bool { return d.MarkdownDialect != "" && d.MarkdownDialect != "plain" }

// Len is text's length in the platform's unit, the one of MaxMessageLength.
func (d Descriptor) Len(text string) int { return TextLen(text, d.LenUnit) }

// Split is SplitText by the platform's limit and unit.
func (d Descriptor) Split(text string) []string {
	return SplitText(text, d.MaxMessageLength, d.LenUnit)
}
