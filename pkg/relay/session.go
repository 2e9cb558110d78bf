package relay

import (
	"cmp"
	"strings"
)

// SessionOptions change what SessionKey tells apart (section 8). The zero value is the reference's default.
type SessionOptions struct {
	SharedGroups          bool   // one session for a group instead of one per user in it
	ThreadSessionsPerUser bool   // a thread's users have sessions of their own; not if SharedGroups
	Profile               string // key namespace, with multiplexed profiles only; not Source.Profile
}

// SessionKey names the conversation that src belongs to (section 8): events with equal keys share one, and their turns
// run one after another. Nothing in it is escaped, so it cannot be taken apart again.
func SessionKey(src Source, opt SessionOptions) string {
	dm := src.ChatType == "dm"
	chat, participant := src.ChatID, cmp.Or(src.UserIDAlt, src.UserID)
	if src.Platform == "whatsapp" {
		if dm {
			chat = whatsappNumber(chat)
		}
		participant = cmp.Or(whatsappNumber(participant), participant)
	}
	kind, thread := src.ChatType, src.ThreadID
	if thread == "" && !dm && src.ProspectiveThreadID != "" {
		kind, thread = "thread", src.ProspectiveThreadID
	}

	key := namespace(opt.Profile)
	add := func(part string) {
		if part != "" {
			key += ":" + part
		}
	}
	add(src.Platform)
	key += ":" + kind // the one part that is written even when empty
	if src.Platform == "slack" {
		add(src.ScopeID) // elsewhere a chat id is unique by itself
	}
	add(chat)
	switch {
	case dm && chat == "":
		add(participant)
		add(thread)
	case dm:
		add(thread)
	default:
		add(thread)
		if !opt.SharedGroups && (thread == "" || opt.ThreadSessionsPerUser) {
			add(participant)
		}
	}
	return key
}

// SessionKey is e's session key with default options.
func (e Event) SessionKey() string { return SessionKey(e.Source, SessionOptions{}) }

// ThreadedSource is e's source as the reference's Slack adapter sees it by default (section 8): a top-level Slack
// message starts a thread, so its thread id is its own message id, and its session is its own. SessionKey and
// Event.SessionKey do not do this; a gateway that wants it passes this source to SessionKey.
func (e Event) ThreadedSource() Source {
	src := e.Source
	if src.Platform == "slack" && src.ThreadID == "" {
		src.ThreadID = cmp.Or(e.MessageID, src.MessageID)
	}
	return src
}

func namespace(profile string) string {
	switch profile {
	case "", "default":
		return "agent:main"
	case "main":
		return "agent:main~"
	}
	return "agent:" + profile
}

// KeyProfile is the profile in a session key (section 8), "" for the default one and for a text that is no key.
func KeyProfile(key string) string {
	rest, ok := strings.CutPrefix(key, "agent:")
	name, _, _ := strings.Cut(rest, ":")
	switch {
	case !ok, name == "main":
		return ""
	case name == "main~":
		return "main"
	}
	return name
}

// whatsappNumber cuts the device and the server off a JID, so that every form of a number is one chat.
func whatsappNumber(id string) string {
	id = strings.Replace(strings.TrimFunc(id, isSpace), "+", "", 1)
	id, _, _ = strings.Cut(id, ":")
	id, _, _ = strings.Cut(id, "@")
	return id
}
