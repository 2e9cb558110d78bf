package config

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// list trims the parts of a comma list and drops blank ones.
func list(parts []string) []string {
	var kept []string
	for _, part := range parts {
		if part = strings.TrimSpace(part); part != "" {
			kept = append(kept, part)
		}
	}
	return kept
}

// parseURL returns the URL, or what is wrong with it. The fault quotes nothing of the URL, which may hold a secret.
func parseURL(raw string, schemes ...string) (u *url.URL, fault string) {
	want := "want " + schemes[0] + "://host and a path, if any"
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, "is not a URL with a host; " + want
	case !slices.Contains(schemes, u.Scheme) || !strings.HasPrefix(raw, u.Scheme+"://"):
		return nil, "does not begin with one of the schemes " + strings.Join(schemes, ", ") + ", in small letters; " + want
	case u.User != nil:
		return nil, "has a user or password inside, which would end up in logs; " + want
	}
	return u, ""
}

func loopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return strings.EqualFold(u.Hostname(), "localhost") || ip != nil && ip.IsLoopback()
}

func isFunctionName(s string) bool {
	return s != "" && isWord(s, "-_:.$/")
}

// isTableName says whether the text can be a DynamoDB table's name, 3 to 255 of the characters allowed there, or its ARN. It
// uses no regular expression: to compile one takes milliseconds of each start.
func isTableName(value string) bool {
	name := value
	if parts := strings.SplitN(value, ":", 6); len(parts) == 6 && parts[0] == "arn" && parts[2] == "dynamodb" {
		name, _ = strings.CutPrefix(parts[5], "table/")
	}
	return len(name) >= 3 && len(name) <= 255 && isWord(name, "_.-")
}

// isWord says whether text consists of letters, digits and the characters in others.
func isWord(text, others string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return !strings.ContainsRune(others, r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// isSecretARN says whether the text can be the ARN of a parameter or of a secret.
func isSecretARN(value string) bool {
	parts := strings.SplitN(value, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || parts[3] == "" || parts[4] == "" {
		return false
	}
	name, ok := strings.CutPrefix(parts[5], map[string]string{"ssm": "parameter/", "secretsmanager": "secret:"}[parts[2]])
	return ok && name != "" && name != parts[5] && isWord(name, "/_+=.@-")
}
