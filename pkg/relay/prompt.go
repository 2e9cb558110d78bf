package relay

import "strings"

// PromptToken is what a prompt's button carries on the platform (section 11). Its text is hp1:<prompt>:<option>. Each id
// is 1 to 32 of A-Z a-z 0-9 _ . -; the whole should not be longer than 64 bytes, as some platforms cut it there.
type PromptToken struct {
	PromptID string
	OptionID string
}

// ParsePromptToken reads a token. Any other text is not a token, and false.
func ParsePromptToken(s string) (PromptToken, bool) {
	ids, ok := strings.CutPrefix(s, "hp1:")
	prompt, option, found := strings.Cut(ids, ":")
	if !ok || !found || !isPromptID(prompt) || !isPromptID(option) {
		return PromptToken{}, false
	}
	return PromptToken{prompt, option}, true
}

// String is the token's text.
func (t PromptToken) String() string { return "hp1:" + t.PromptID + ":" + t.OptionID }

func isPromptID(s string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
	return 0 < len(s) && len(s) <= 32 && strings.Trim(s, alphabet) == ""
}
