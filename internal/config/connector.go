package config

import (
	"encoding/json"
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

// bots is platform to bot id, from discord=1234,telegram=5678 or from the reference's JSON, in which a bot id may be a number.
func (v *drainVariables) bots() map[string]string {
	if v.BotIDs == "" {
		return map[string]string{}
	}
	if bots, ok := pairs(v.BotIDs); ok {
		return bots
	}
	bots := map[string]string{}
	var entries map[string]json.RawMessage
	if json.Unmarshal([]byte(v.BotIDs), &entries) != nil || entries == nil {
		v.warn(`GATEWAY_RELAY_BOT_IDS is not a JSON object or a list of PLATFORM=ID and counts as empty; ` +
			`want discord=1234,telegram=5678 or {"discord":{"botId":"1234"}}`)
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

// pairs reads a list of PLATFORM=ID. It is none if a part has no platform or no id, or if it is JSON. An id may have an equals
// sign, but no comma.
func pairs(text string) (map[string]string, bool) {
	if strings.HasPrefix(text, "{") {
		return nil, false
	}
	bots := map[string]string{}
	for _, part := range list(strings.Split(text, ",")) {
		platform, id, _ := strings.Cut(part, "=")
		platform, id = strings.TrimSpace(platform), strings.TrimSpace(id)
		if platform == "" || id == "" {
			return nil, false
		}
		bots[platform] = id
	}
	return bots, true
}
