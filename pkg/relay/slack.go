package relay

import (
	"strings"
)

// slackCommands are the sub-commands that may follow Slack's single /hermes command: those of section 4.
var slackCommands = names("new", "reset", "model", "reasoning", "personality", "retry", "undo", "status", "sethome",
	"stop", "steer", "compress", "title", "resume", "usage", "help", "insights", "reload-mcp", "reload-skills", "voice",
	"update", "restart", "approve", "deny", "thread", "queue", "background", "bg", "disk-cleanup", "clear")

// resolveSlackCommand turns "/hermes status now" into the command "/status now", and "/hermes what is up" into the text
// "what is up" (section 6). It repeats until the first word is another one, so that its result decodes as itself.
func (e *Event) resolveSlackCommand() {
	if e.Source.Platform != "slack" {
		return
	}
	for {
		word, rest := firstWord(e.Text)
		if word != "/hermes" {
			return
		}
		sub, args := firstWord(rest)
		if sub == "compact" {
			sub = "compress"
		}
		switch {
		case rest == "":
			e.Text = "/help"
		case slackCommands[sub] != "":
			e.Text = strings.TrimFunc("/"+sub+" "+args, isSpace)
		default:
			e.Text = rest
		}
		e.MessageType = "text"
		if strings.HasPrefix(e.Text, "/") {
			e.MessageType = "command"
		}
	}
}

// firstWord cuts s, trimmed, after its first word; rest is trimmed as well.
func firstWord(s string) (word, rest string) {
	s = strings.TrimFunc(s, isSpace)
	if i := strings.IndexFunc(s, isSpace); i >= 0 {
		return s[:i], strings.TrimLeftFunc(s[i:], isSpace)
	}
	return s, ""
}
