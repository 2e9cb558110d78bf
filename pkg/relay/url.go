package relay

import "strings"

// BaseURL is the connector's URL, from which all its addresses derive (section 1). Empty means that the relay is off; then
// every address is empty, too.
type BaseURL string

// NewBaseURL trims blanks, then trailing slashes. It checks nothing else: scheme and path are taken as they are.
func NewBaseURL(raw string) BaseURL {
	return BaseURL(strings.TrimRight(strings.TrimFunc(raw, isSpace), "/"))
}

// RelayURL is the WebSocket address to dial: ws or wss for http or https, and a path that ends in /relay.
func (u BaseURL) RelayURL() string {
	s := strings.TrimRight(string(u), "/")
	if s == "" {
		return ""
	}
	if rest, ok := strings.CutPrefix(s, "https://"); ok {
		s = "wss://" + rest
	} else if rest, ok := strings.CutPrefix(s, "http://"); ok {
		s = "ws://" + rest
	}
	return strings.TrimSuffix(s, "/relay") + "/relay"
}

// Provision is where credentials are asked for (section 14).
func (u BaseURL) Provision() string { return u.route("/relay/provision") }

// Policy is where the relevance policy is declared (section 14).
func (u BaseURL) Policy() string { return u.route("/relay/policy") }

// Media is where attachments are uploaded; a download appends a slash and the id (section 15).
func (u BaseURL) Media() string { return u.route("/relay/media") }

// Enroll is where an operator redeems an enrollment token (section 14).
func (u BaseURL) Enroll() string { return u.route("/relay/enroll") }

func (u BaseURL) route(path string) string {
	s := strings.TrimRight(string(u), "/")
	if s == "" {
		return ""
	}
	if rest, ok := strings.CutPrefix(s, "wss://"); ok {
		s = "https://" + rest
	} else if rest, ok := strings.CutPrefix(s, "ws://"); ok {
		s = "http://" + rest
	}
	return strings.TrimRight(strings.TrimSuffix(s, "/relay"), "/") + path
}
