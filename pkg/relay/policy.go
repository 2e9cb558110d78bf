package relay

// Policy says which messages of a platform are for this gateway (section 14). The connector drops the others, so they
// wake nobody. Sending one replaces the platform's earlier one.
type Policy struct {
	Platform           string   `json:"platform"`
	RequireAddress     bool     `json:"requireAddress"`     // only what mentions or answers the bot
	FreeResponseScopes []string `json:"freeResponseScopes"` // chats where that does not hold; a list even when empty
	AllowOtherBots     bool     `json:"allowOtherBots"`
}
