package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Settings of one platform: the name goes on with the platform's, in capitals. They come before the general ones.
const (
	mentionPrefix = "GATEWAY_RELAY_REQUIRE_MENTION_"
	scopesPrefix  = "GATEWAY_RELAY_FREE_RESPONSE_SCOPES_"
	botsSuffix    = "_ALLOW_BOTS"
)

// ofPlatform says whether a variable is one of those that each platform has for itself, and whose it is.
func ofPlatform(name string) (platform string, ok bool) {
	for _, prefix := range []string{mentionPrefix, scopesPrefix} {
		if platform, ok = strings.CutPrefix(name, prefix); ok {
			return platform, platform != ""
		}
	}
	platform, ok = strings.CutSuffix(name, botsSuffix)
	return platform, ok && platform != ""
}

// policies makes the policy of each fronted platform from the settings: none if all of them are at their defaults, else one
// with all members, also with a require_mention that is false (section 14).
func (v *drainVariables) policies(values map[string]string, faults *faultList) []relay.Policy {
	general := v.mention("GATEWAY_RELAY_REQUIRE_MENTION", v.RequireMention, faults)
	v.warnStrangers(values)
	var policies []relay.Policy
	for _, front := range v.Fronts {
		platform, capitals := front.Platform, strings.ToUpper(front.Platform)
		if platform == "relay" || slices.ContainsFunc(policies, func(p relay.Policy) bool { return p.Platform == platform }) {
			continue
		}
		p := relay.Policy{
			Platform:           platform,
			RequireAddress:     general,
			FreeResponseScopes: append([]string{}, list(v.FreeScopes)...),
			AllowOtherBots:     v.allowsBots(capitals+botsSuffix, values),
		}
		own := values[mentionPrefix+capitals]
		if own != "" {
			p.RequireAddress = v.mention(mentionPrefix+capitals, own, faults)
		}
		if scopes, ok := values[scopesPrefix+capitals]; ok { // a comma alone: none
			p.FreeResponseScopes = append([]string{}, list(strings.Split(scopes, ","))...)
		}
		if v.RequireMention != "" || own != "" || len(p.FreeResponseScopes) > 0 || p.AllowOtherBots {
			policies = append(policies, p)
		}
	}
	return policies
}

func (v *drainVariables) mention(name, value string, faults *faultList) bool {
	mention, err := strconv.ParseBool(strings.ToLower(value))
	if value != "" && err != nil {
		faults.add(name, "is %.40q; want true or false", value)
	}
	return mention
}

func (v *drainVariables) allowsBots(name string, values map[string]string) bool {
	switch strings.ToLower(values[name]) {
	case "mentions", "all":
		return true
	case "", "none":
	default:
		v.warn("%s is %.40q and counts as none; want none, mentions or all", name, values[name])
	}
	return false
}

// warnStrangers warns of a setting for a platform that is not fronted. *_ALLOW_BOTS are also other programs' variables.
func (v *drainVariables) warnStrangers(values map[string]string) {
	var strangers []string
	for name := range values {
		platform, ok := ofPlatform(name)
		if ok && !strings.HasSuffix(name, botsSuffix) && !slices.ContainsFunc(v.Fronts, func(f relay.Front) bool {
			return strings.ToUpper(f.Platform) == platform
		}) {
			strangers = append(strangers, name)
		}
	}
	slices.Sort(strangers)
	for _, name := range strangers {
		v.warn("%s is not used: GATEWAY_RELAY_PLATFORMS does not have that platform", name)
	}
}
