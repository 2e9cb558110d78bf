package config

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func (v *drainVariables) checkConnector(faults *faultList) {
	const name = "GATEWAY_RELAY_URL"
	u, fault := parseURL(string(v.URL), "https", "wss", "http", "ws")
	switch {
	case v.URL == "":
		faults.add(name, "is not set; want the connector's base URL, such as https://connector.example")
	case fault != "":
		faults.add(name, "%s", fault)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		faults.add(name, "has a query or a fragment; want scheme, host and path alone")
	case (u.Scheme == "http" || u.Scheme == "ws") && !loopback(u):
		v.warn("%s is not encrypted: others can read credentials and messages on the way; use https or wss", name)
	}
	v.URL = relay.NewBaseURL(string(v.URL))

	if v.WakeURL != "" {
		if _, fault := parseURL(v.WakeURL, "https", "http"); fault != "" {
			faults.add("GATEWAY_RELAY_WAKE_URL", "%s", fault)
		}
	}
}

func (v *drainVariables) checkGatewayID(faults *faultList) {
	const name = "GATEWAY_RELAY_ID"
	switch {
	case v.GatewayID != "":
	case v.Secret.Usable():
		faults.add(name, "is not set; want the id that GATEWAY_RELAY_SECRET was issued for")
	case v.FunctionName == "":
		faults.add(name, "is not set; want an id for this gateway that stays the same from start to start")
	default:
		v.GatewayID = "gw-" + v.FunctionName
	}
}

// fronts reads the fronted platforms and their bots (section 4). It also takes the older single variables, each if the
// plural one is unset; the reference no longer does. A map that cannot be read counts as empty, with a warning.
func (v *drainVariables) fronts() []relay.Front {
	platforms := list(v.Platforms)
	if v.Platforms == nil && v.Platform != "" {
		platforms = []string{v.Platform}
	}
	if len(platforms) == 0 {
		platforms = []string{"relay"}
	}
	bots := v.bots()
	if v.BotIDs == "" && v.BotID != "" {
		if len(platforms) == 1 {
			bots[platforms[0]] = v.BotID
		} else {
			v.warn("GATEWAY_RELAY_BOT_ID is not used: it is for a single platform; use GATEWAY_RELAY_BOT_IDS")
		}
	}
	var fronts []relay.Front
	for _, platform := range platforms {
		if bots[platform] == "" && platform != "relay" {
			v.warn("no bot id for platform %q: the connector will refuse its actions; "+
				"name it as GATEWAY_RELAY_PLATFORMS does in GATEWAY_RELAY_BOT_IDS", platform)
		}
		fronts = append(fronts, relay.Front{Platform: platform, BotID: bots[platform]})
	}
	return fronts
}

// bots is platform to bot id. A bot id may be a number.
func (v *drainVariables) bots() map[string]string {
	bots := map[string]string{}
	var entries map[string]json.RawMessage
	if v.BotIDs != "" && (json.Unmarshal([]byte(v.BotIDs), &entries) != nil || entries == nil) {
		v.warn(`GATEWAY_RELAY_BOT_IDS is not a JSON object and counts as empty; want {"discord":{"botId":"..."}}`)
	}
	for platform, raw := range entries {
		var entry map[string]json.RawMessage
		var text string
		var number json.Number
		if json.Unmarshal(raw, &entry) != nil {
			continue
		}
		if id := entry["botId"]; json.Unmarshal(id, &text) == nil {
			bots[platform] = strings.TrimSpace(text)
		} else if json.Unmarshal(id, &number) == nil {
			bots[platform] = number.String()
		}
	}
	return bots
}

// policies makes the policy of each fronted platform from the settings: none if all of them are at their defaults, else one
// with all members, also with a require_mention that is false (section 14).
func (v *drainVariables) policies(values map[string]string, faults *faultList) []relay.Policy {
	mention, err := strconv.ParseBool(strings.ToLower(v.RequireMention))
	if v.RequireMention != "" && err != nil {
		faults.add("GATEWAY_RELAY_REQUIRE_MENTION", "is %.40q; want true or false", v.RequireMention)
	}
	scopes := append([]string{}, list(v.FreeScopes)...)
	var policies []relay.Policy
	for _, front := range v.Fronts {
		platform := front.Platform
		if platform == "relay" || slices.ContainsFunc(policies, func(p relay.Policy) bool { return p.Platform == platform }) {
			continue
		}
		bots := false
		name := strings.ToUpper(platform) + "_ALLOW_BOTS"
		switch strings.ToLower(values[name]) {
		case "mentions", "all":
			bots = true
		case "", "none":
		default:
			v.warn("%s is %.40q and counts as none; want none, mentions or all", name, values[name])
		}
		if v.RequireMention != "" || len(scopes) > 0 || bots {
			policies = append(policies, relay.Policy{
				Platform: platform, RequireAddress: mention, FreeResponseScopes: scopes, AllowOtherBots: bots,
			})
		}
	}
	return policies
}
