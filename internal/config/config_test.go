package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/texts"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const canary = "canary-5ecret"

// environ is the least that drain needs, and more. If nothing of that is an identity or a secret, the gateway has none.
func environ(more map[string]string) map[string]string {
	all := map[string]string{"GATEWAY_RELAY_URL": "https://connector.example", "AWS_LAMBDA_FUNCTION_NAME": "drain"}
	proof := regexp.MustCompile("^GATEWAY_RELAY_(IDENTITY|IDP|SECRET|CREDENTIALS)")
	none := true
	for name := range more {
		none = none && !proof.MatchString(name)
	}
	if none {
		all["GATEWAY_RELAY_IDENTITY"] = "none"
	}
	maps.Copy(all, more)
	return all
}

func TestDefaults(t *testing.T) {
	is := is.New(t)
	got, err := config.Drain(environ(nil))
	is.NoErr(err)
	is.Equal(len(got.Warnings), 0)
	got.Warnings = nil
	is.Equal(got, config.DrainSettings{
		URL:             "https://connector.example",
		GatewayID:       "gw-drain",
		Fronts:          []relay.Front{{Platform: "relay"}},
		Auth:            config.AuthNone,
		Agent:           "echo",
		AgentTimeout:    5 * time.Minute,
		Concurrency:     8,
		MaxAttempts:     3,
		OutboundTimeout: 75 * time.Second,
		GiveUpAfter:     24 * time.Hour,
		StaleAfter:      15 * time.Minute,
		BotTurns:        20,
		Reactions:       true,
		Merge:           true,
		Stop:            "/stop",
		Apology:         "Sorry, this message could not be answered.",
		IdleAfter:       20 * time.Second,
		PokeCooldown:    65 * time.Second,
		SecondLook:      500 * time.Millisecond,
		Window:          64 << 20,
		Sweep:           5 * time.Minute,
		SweepMax:        time.Hour,
		Lease:           30 * time.Second,
		HandoffMargin:   30 * time.Second,
		MaxHandoffs:     12,
		FunctionName:    "drain",
		LogLevel:        slog.LevelInfo,
	})
	wake, err := config.Wake(map[string]string{"DORMOUSE_DRAIN_FUNCTION": "stack-drain"})
	is.NoErr(err)
	is.Equal(wake, config.WakeSettings{DrainFunction: "stack-drain", LogLevel: slog.LevelInfo})
}

func TestEverythingSet(t *testing.T) {
	is := is.New(t)
	all := map[string]string{
		"GATEWAY_RELAY_URL": " wss://connector.example/relay// ", "GATEWAY_RELAY_ID": "gw-1",
		"GATEWAY_RELAY_INSTANCE_ID": "inst", "GATEWAY_RELAY_WAKE_URL": "https://wake.example/w/x",
		"GATEWAY_RELAY_ENDPOINT": "https://in.example", "GATEWAY_RELAY_ROUTE_KEYS": "a, b,,",
		"GATEWAY_RELAY_DISPLAY_NAME": "Dory", "DORMOUSE_SETTINGS": `{"GATEWAY_RELAY_DISPLAY_NAME":"not this one"}`,
		"GATEWAY_RELAY_PLATFORMS": "discord,slack", "GATEWAY_RELAY_BOT_IDS": `{"discord":{"botId":"1"},"slack":{"botId":"2"}}`,
		"GATEWAY_RELAY_PLATFORM": "telegram", "GATEWAY_RELAY_BOT_ID": "3",
		"GATEWAY_RELAY_IDENTITY": "oidc", "GATEWAY_RELAY_IDENTITY_TOKEN": "", "GATEWAY_RELAY_CREDENTIALS_ARN": "",
		"GATEWAY_RELAY_IDENTITY_TOKEN_ARN": "", "GATEWAY_RELAY_IDENTITY_AUDIENCE": "", "GATEWAY_RELAY_IDP_CLIENT_SECRET_ARN": "",
		"DORMOUSE_AGENT_SECRET_ARN": "", "GATEWAY_RELAY_REQUIRE_MENTION": "false", "GATEWAY_RELAY_FREE_RESPONSE_SCOPES": "c1, c2,",
		"SLACK_ALLOW_BOTS":            "All",
		"GATEWAY_RELAY_IDP_TOKEN_URL": "https://idp.example/token", "GATEWAY_RELAY_IDP_CLIENT_ID": "client",
		"GATEWAY_RELAY_IDP_CLIENT_SECRET": " s ", "GATEWAY_RELAY_IDP_SCOPE": "relay provision", "GATEWAY_RELAY_SECRET": " ",
		"DORMOUSE_ALLOW_ENV_SECRETS": "1", "DORMOUSE_AGENT": "http://127.0.0.1:8080/turn", "DORMOUSE_AGENT_TIMEOUT": "1m",
		"DORMOUSE_CONCURRENCY": "2", "DORMOUSE_MAX_ATTEMPTS": "1", "DORMOUSE_GIVE_UP_AFTER": "1h", "DORMOUSE_STALE_AFTER": "0s", "DORMOUSE_OUTBOUND_TIMEOUT": "1s",
		"DORMOUSE_STOP": "/halt", "DORMOUSE_APOLOGY": "Sorry, that did not work.", "DORMOUSE_PASSTHROUGH": "on",
		"DORMOUSE_BOT_TURNS": "0", "DORMOUSE_MAX_TURNS_PER_DAY": "500",
		"DORMOUSE_TEXTS":        `{"apology": "unused", "closed_question": "Too late."}`,
		"DORMOUSE_AGENT_STREAM": "on", "DORMOUSE_AGENT_DURABLE": "",
		"DORMOUSE_REACTIONS":    "off", // on is the default
		"DORMOUSE_MERGE":        "off", // likewise
		"DORMOUSE_COMMANDS":     `[{"name": "new", "description": "Starts anew."}]`,
		"DORMOUSE_AGENT_SECRET": "whsec_c2lnbmVk", "DORMOUSE_TABLE": "stack-ledger",
		"DORMOUSE_IDLE_AFTER": "2s", "DORMOUSE_EMPTY_AFTER": "1500ms", "DORMOUSE_POKE_COOLDOWN": "0s",
		"DORMOUSE_SECOND_LOOK": "0", "DORMOUSE_SWEEP": "2m", "DORMOUSE_SWEEP_MAX": "2m", "DORMOUSE_LEASE": "9s",
		"DORMOUSE_HANDOFF_MARGIN": "3s", "DORMOUSE_MAX_HANDOFFS": "0", "DORMOUSE_LOG_LEVEL": "debug",
		"AWS_LAMBDA_FUNCTION_NAME": "drain",
		"DORMOUSE_WINDOW":          "262144", "GOMEMLIMIT": "204MiB", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
	}
	got, err := config.Drain(all)
	is.NoErr(err)
	own, err := texts.Parse(all["DORMOUSE_TEXTS"])
	is.NoErr(err)
	commands, err := relay.ParseCommands([]byte(all["DORMOUSE_COMMANDS"]))
	is.NoErr(err)
	is.Equal(got, config.DrainSettings{
		URL: "wss://connector.example/relay", GatewayID: "gw-1", InstanceID: "inst", WakeURL: "https://wake.example/w/x",
		Endpoint: "https://in.example", RouteKeys: []string{"a", "b"}, DisplayName: "Dory",
		Fronts: []relay.Front{{Platform: "discord", BotID: "1"}, {Platform: "slack", BotID: "2"}},
		Auth:   config.AuthOIDC, IDPTokenURL: "https://idp.example/token", IDPClientID: "client",
		IDPClientSecret: relay.NewSecret(" s "), IDPScope: "relay provision",
		Policies: []relay.Policy{
			{Platform: "discord", FreeResponseScopes: []string{"c1", "c2"}},
			{Platform: "slack", FreeResponseScopes: []string{"c1", "c2"}, AllowOtherBots: true},
		},
		Agent: "http://127.0.0.1:8080/turn", AgentSecret: relay.NewSecret("whsec_c2lnbmVk"), Passthrough: true, AgentStream: true,
		AgentTimeout: time.Minute, Concurrency: 2, MaxAttempts: 1, GiveUpAfter: time.Hour, MaxTurnsPerDay: 500,
		OutboundTimeout: time.Second, Stop: "/halt", Apology: "Sorry, that did not work.", Texts: own, Commands: commands,
		IdleAfter: 2 * time.Second, EmptyAfter: 1500 * time.Millisecond, Sweep: 2 * time.Minute, SweepMax: 2 * time.Minute,
		Lease: 9 * time.Second, HandoffMargin: 3 * time.Second, FunctionName: "drain", LogLevel: slog.LevelDebug,
		Table: "stack-ledger", Window: 256 << 10,
	})
	is.Equal(got.Instance(), "inst")
	for _, name := range config.DrainVariables() { // the test leaves none out
		_, ok := all[name]
		is.True(ok)
	}
	is.Equal(config.WakeVariables(), []string{"DORMOUSE_DRAIN_FUNCTION", "DORMOUSE_LOG_LEVEL", "DORMOUSE_SETTINGS"})
}

func TestTheWindowGoesByTheMemory(t *testing.T) {
	for _, tt := range []struct {
		limit, size string
		want        int64
	}{
		{"204MiB", "256", 51 << 20},
		{"", "256", 64 << 20},
		{"off", "512", 128 << 20},
		{"1GiB", "", 256 << 20},
		{"4194304", "", 1 << 20},
		{"4194304B", "", 1 << 20},
		{"1KiB", "", 64 << 10},
		{"99999999999TiB", "", 64 << 20},
		{"", "", 64 << 20},
	} {
		is := is.New(t)
		got, err := config.Drain(environ(map[string]string{"GOMEMLIMIT": tt.limit, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": tt.size}))
		is.NoErr(err)
		is.Equal(got.Window, tt.want)
	}
	for value, want := range map[string]string{
		"1000": "is 1000; want a number of bytes, at least 65536", "256kB": `is "256kB"`, "-1": "is -1; want a number of bytes",
	} {
		is := is.New(t)
		_, err := config.Drain(environ(map[string]string{"DORMOUSE_WINDOW": value}))
		is.True(err != nil && strings.Contains(err.Error(), "DORMOUSE_WINDOW "+want))
	}
}

func TestIdentityVectors(t *testing.T) {
	// The reference no longer reads the older single variables; the design says that we do.
	differs := map[string][]relay.Front{
		"the older single variables are no longer read by the reference": {{Platform: "discord", BotID: "app-1"}},
	}
	raw, err := os.ReadFile("testdata/identities.json")
	is.New(t).NoErr(err)
	var vectors struct {
		Cases []struct {
			Env        map[string]string
			Identities []struct {
				Platform string
				BotID    string `json:"bot_id"`
			}
			Note string
		}
	}
	is.New(t).NoErr(json.Unmarshal(raw, &vectors))
	is.New(t).True(len(vectors.Cases) > 10)
	for _, tt := range vectors.Cases {
		t.Run(tt.Note, func(t *testing.T) {
			is := is.New(t)
			got, err := config.Drain(environ(tt.Env))
			is.NoErr(err)
			want := differs[tt.Note]
			if want == nil {
				for _, identity := range tt.Identities {
					want = append(want, relay.Front{Platform: identity.Platform, BotID: identity.BotID})
				}
			}
			is.Equal(got.Fronts, want)
		})
	}
}

func TestFrontsThatLookLikeMistakes(t *testing.T) {
	tests := map[string]struct {
		environ map[string]string
		want    []relay.Front
		warning string
	}{
		"map is no JSON": {
			map[string]string{"GATEWAY_RELAY_PLATFORMS": "relay", "GATEWAY_RELAY_BOT_IDS": "{" + canary},
			[]relay.Front{{Platform: "relay"}}, "GATEWAY_RELAY_BOT_IDS is not a JSON object",
		},
		"map is null": {
			map[string]string{"GATEWAY_RELAY_BOT_IDS": "null"},
			[]relay.Front{{Platform: "relay"}}, "GATEWAY_RELAY_BOT_IDS is not a JSON object",
		},
		"names differ": {
			map[string]string{"GATEWAY_RELAY_PLATFORMS": "Discord", "GATEWAY_RELAY_BOT_IDS": `{"discord":{"botId":"1"}}`},
			[]relay.Front{{Platform: "Discord"}}, `no bot id for platform "Discord"`,
		},
		"bot id is of no use": {
			map[string]string{"GATEWAY_RELAY_PLATFORMS": "discord", "GATEWAY_RELAY_BOT_IDS": `{"discord":{"botId":true}}`},
			[]relay.Front{{Platform: "discord"}}, `no bot id for platform "discord"`,
		},
		"one bot for two platforms": {
			map[string]string{"GATEWAY_RELAY_PLATFORMS": "discord,slack", "GATEWAY_RELAY_BOT_ID": "1"},
			[]relay.Front{{Platform: "discord"}, {Platform: "slack"}}, "GATEWAY_RELAY_BOT_ID is not used",
		},
		"one of each form": {
			map[string]string{"GATEWAY_RELAY_PLATFORMS": "slack", "GATEWAY_RELAY_PLATFORM": "discord", "GATEWAY_RELAY_BOT_ID": "1"},
			[]relay.Front{{Platform: "slack", BotID: "1"}}, "",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			tt.environ["GATEWAY_RELAY_SECRET"], tt.environ["GATEWAY_RELAY_ID"] = "s", "gw-1"
			tt.environ["DORMOUSE_ALLOW_ENV_SECRETS"] = "1"
			got, err := config.Drain(environ(tt.environ))
			is.NoErr(err)
			is.Equal(got.Fronts, tt.want)
			warnings := strings.Join(got.Warnings, "\n")
			is.True(strings.Contains(warnings, tt.warning))
			is.Equal(warnings == "", tt.warning == "")
			is.True(!strings.Contains(warnings, canary))
		})
	}
}

func TestIdentityIsChosenByWhatIsSet(t *testing.T) {
	oidc := map[string]string{
		"GATEWAY_RELAY_IDP_TOKEN_URL": "https://idp.example", "GATEWAY_RELAY_IDP_CLIENT_ID": "id",
		"GATEWAY_RELAY_IDP_CLIENT_SECRET": "s",
	}
	token := map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN": " t\n"}
	blank := map[string]string{"GATEWAY_RELAY_SECRET": " ", "GATEWAY_RELAY_IDENTITY_TOKEN": "\t"}
	pinned := map[string]string{"GATEWAY_RELAY_SECRET": "s", "GATEWAY_RELAY_ID": "gw-1"}
	merge := func(parts ...map[string]string) map[string]string {
		all := map[string]string{}
		for _, part := range parts {
			maps.Copy(all, part)
		}
		return all
	}
	const arn = "arn:aws:ssm:eu-west-1:1:parameter/x"
	stored := map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN_ARN": arn}
	audience := map[string]string{"GATEWAY_RELAY_IDENTITY_AUDIENCE": "aud"}
	pinnedARN := map[string]string{"GATEWAY_RELAY_CREDENTIALS_ARN": "arn:aws-cn:secretsmanager:cn-north-1:1:secret:a/b-AbCdEf"}
	ambient := map[string]string{"GATEWAY_RELAY_IDP_TOKEN_URL": "http://127.0.0.1:1/token"}
	oidcARN := map[string]string{
		"GATEWAY_RELAY_IDP_TOKEN_URL": "https://idp.example", "GATEWAY_RELAY_IDP_CLIENT_ID": "id",
		"GATEWAY_RELAY_IDP_CLIENT_SECRET_ARN": arn,
	}
	tests := map[string]struct {
		environ  map[string]string
		want     config.Auth
		warnings int
	}{
		"stored":              {stored, config.AuthSecret, 0},
		"stored and token":    {merge(stored, token), config.AuthSecret, 1},
		"audience":            {audience, config.AuthAWS, 0},
		"aws asked":           {map[string]string{"GATEWAY_RELAY_IDENTITY": "aws"}, config.AuthAWS, 0},
		"plain endpoint":      {ambient, config.AuthOIDC, 0},
		"client by ARN":       {oidcARN, config.AuthOIDC, 0},
		"client by both":      {merge(oidcARN, oidc), config.AuthOIDC, 1},
		"pinned by ARN":       {pinnedARN, config.AuthPinned, 0},
		"pinned by both":      {merge(pinnedARN, pinned), config.AuthPinned, 1},
		"pinned ARN and more": {merge(pinnedARN, audience), config.AuthPinned, 1},
		"nothing":             {map[string]string{"GATEWAY_RELAY_URL": "http://127.0.0.1:1"}, config.AuthNone, 1},
		"blank":               {merge(blank, map[string]string{"GATEWAY_RELAY_URL": "ws://localhost"}), config.AuthNone, 1},
		"token":               {token, config.AuthEnv, 0},
		"client":              {oidc, config.AuthOIDC, 0},
		"both":                {merge(oidc, token), config.AuthOIDC, 1},
		"both, env asked":     {merge(oidc, token, map[string]string{"GATEWAY_RELAY_IDENTITY": "env"}), config.AuthEnv, 0},
		"nothing, and meant":  {map[string]string{"GATEWAY_RELAY_IDENTITY": "none"}, config.AuthNone, 0},
		"none, and pinned":    {merge(pinned, map[string]string{"GATEWAY_RELAY_IDENTITY": "none"}), config.AuthPinned, 1},
		"pinned":              {pinned, config.AuthPinned, 0},
		"pinned and more":     {merge(pinned, oidc), config.AuthPinned, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			all := environ(merge(map[string]string{"GATEWAY_RELAY_IDENTITY": ""}, tt.environ))
			all["DORMOUSE_ALLOW_ENV_SECRETS"] = "1"
			got, err := config.Drain(all)
			is.NoErr(err)
			is.Equal(got.Auth, tt.want)
			is.Equal(len(got.Warnings), tt.warnings)
			if got.Auth == config.AuthEnv {
				is.Equal(got.IdentityToken.Reveal(), "t") // no blanks around it
			}
		})
	}
}

func TestAudienceIsTheConnectorsOrigin(t *testing.T) {
	for url, want := range map[string]string{
		"wss://connector.example/relay/": "https://connector.example", "https://connector.example:8443/a/b": "https://connector.example:8443",
		"http://127.0.0.1:8787": "http://127.0.0.1:8787",
	} {
		is := is.New(t)
		got, err := config.Drain(environ(map[string]string{"GATEWAY_RELAY_URL": url, "GATEWAY_RELAY_IDENTITY": "aws"}))
		is.NoErr(err)
		is.Equal(got.IdentityAudience, want)
		got, err = config.Drain(environ(map[string]string{
			"GATEWAY_RELAY_URL": url, "GATEWAY_RELAY_IDENTITY": "aws", "GATEWAY_RELAY_IDENTITY_AUDIENCE": "mine",
		}))
		is.NoErr(err)
		is.Equal(got.IdentityAudience, "mine")
	}
}

func TestPolicyVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/policies.json")
	is.New(t).NoErr(err)
	type block struct {
		RequireMention *bool `json:"require_mention"`
		FreeChannels   any   `json:"free_response_channels"`
	}
	var vectors struct {
		Cases []struct {
			Platform string
			Config   json.RawMessage
			Env      map[string]string
			Policy   *relay.Policy
		}
	}
	is.New(t).NoErr(json.Unmarshal(raw, &vectors))
	is.New(t).True(len(vectors.Cases) > 10)
	for i, tt := range vectors.Cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			is := is.New(t)
			// The reference reads a configuration file; here the same settings are variables.
			var top map[string]json.RawMessage
			is.NoErr(json.Unmarshal(tt.Config, &top))
			var gateway struct{ Platforms map[string]json.RawMessage }
			var platforms map[string]json.RawMessage
			json.Unmarshal(top["gateway"], &gateway)
			json.Unmarshal(top["platforms"], &platforms)
			all := map[string]string{"GATEWAY_RELAY_PLATFORMS": tt.Platform + "," + tt.Platform}
			for _, part := range []json.RawMessage{tt.Config, platforms[tt.Platform], gateway.Platforms[tt.Platform], top[tt.Platform]} {
				var b block
				json.Unmarshal(part, &b)
				if b.RequireMention != nil {
					all["GATEWAY_RELAY_REQUIRE_MENTION"] = fmt.Sprint(*b.RequireMention)
				}
				switch channels := b.FreeChannels.(type) {
				case string:
					all["GATEWAY_RELAY_FREE_RESPONSE_SCOPES"] = channels
				case []any:
					all["GATEWAY_RELAY_FREE_RESPONSE_SCOPES"] = strings.Trim(strings.ReplaceAll(fmt.Sprint(channels), " ", ","), "[]")
				}
			}
			maps.Copy(all, tt.Env)
			got, err := config.Drain(environ(all))
			is.NoErr(err)
			var want []relay.Policy
			if tt.Policy != nil {
				want = []relay.Policy{*tt.Policy}
			}
			is.Equal(got.Policies, want) // once per platform
		})
	}
}

func TestUnknownWordForBotsIsWarnedOf(t *testing.T) {
	is := is.New(t)
	got, err := config.Drain(environ(map[string]string{"GATEWAY_RELAY_PLATFORMS": "slack", "SLACK_ALLOW_BOTS": "yes"}))
	is.NoErr(err)
	is.Equal(got.Policies, nil)
	is.True(strings.Contains(strings.Join(got.Warnings, "\n"), `SLACK_ALLOW_BOTS is "yes" and counts as none`))
}

func TestLambdaAgents(t *testing.T) {
	for _, name := range []string{"my-agent", "my-agent:live", "arn:aws:lambda:eu-central-1:000000000000:function:my-agent:$LATEST"} {
		is := is.New(t)
		got, err := config.Drain(environ(map[string]string{
			"DORMOUSE_AGENT": "lambda:" + name, "DORMOUSE_AGENT_SECRET": "whsec_c2lnbmVk", "DORMOUSE_ALLOW_ENV_SECRETS": "1",
		}))
		is.NoErr(err)
		is.Equal(got.Agent, "lambda:"+name)
		is.True(strings.Contains(strings.Join(got.Warnings, "\n"), "DORMOUSE_AGENT_SECRET is not used"))
	}
}

func TestPlainConnectorIsWarnedOf(t *testing.T) {
	for url, want := range map[string]bool{
		"http://connector.example": true, "ws://10.0.0.1/relay": true, "https://connector.example": false,
		"http://127.0.0.1:8080": false, "ws://localhost": false, "http://[::1]:1": false,
	} {
		is := is.New(t)
		got, err := config.Drain(environ(map[string]string{"GATEWAY_RELAY_URL": url}))
		is.NoErr(err)
		is.Equal(strings.Contains(strings.Join(got.Warnings, "\n"), "GATEWAY_RELAY_URL is not encrypted"), want)
	}
}

func TestEachFaultNamesItsVariable(t *testing.T) {
	secret := func(name string) map[string]string { return map[string]string{name: canary} }
	allowed := func(name, value string) map[string]string {
		return map[string]string{name: value, "DORMOUSE_ALLOW_ENV_SECRETS": "1"}
	}
	tests := []struct {
		environ map[string]string // the first name is the variable that is named, if name is empty
		name    string
		want    string
	}{
		{map[string]string{"GATEWAY_RELAY_URL": " "}, "", "is not set; want the connector's base URL"},
		{map[string]string{"GATEWAY_RELAY_URL": "connector.example"}, "", "is not a URL with a host"},
		{map[string]string{"GATEWAY_RELAY_URL": "https://connector.example:" + canary}, "", "is not a URL with a host"},
		{map[string]string{"GATEWAY_RELAY_URL": "ftp://connector.example"}, "", "one of the schemes https, wss, http, ws, in small letters"},
		{map[string]string{"GATEWAY_RELAY_URL": "HTTPS://connector.example"}, "", "in small letters"},
		{map[string]string{"GATEWAY_RELAY_URL": "https://u:" + canary + "@connector.example"}, "", "user or password"},
		{map[string]string{"GATEWAY_RELAY_URL": "https://connector.example/?key=" + canary}, "", "a query or a fragment"},
		{map[string]string{"GATEWAY_RELAY_WAKE_URL": "/w/" + canary}, "", "is not a URL with a host"},
		{map[string]string{"AWS_LAMBDA_FUNCTION_NAME": ""}, "GATEWAY_RELAY_ID", "is not set; want an id"},
		{allowed("GATEWAY_RELAY_SECRET", canary), "GATEWAY_RELAY_ID", "was issued for"},
		{secret("GATEWAY_RELAY_SECRET"), "", "holds a secret and is refused on Lambda"},
		{secret("GATEWAY_RELAY_IDENTITY_TOKEN"), "", "set DORMOUSE_ALLOW_ENV_SECRETS to 1"},
		{secret("GATEWAY_RELAY_IDP_CLIENT_SECRET"), "", "holds a secret and is refused on Lambda"},
		{map[string]string{"DORMOUSE_TEXTS": "Sorry"}, "", "want a JSON object of texts"},
		{map[string]string{"DORMOUSE_TEXTS": `{"apologie": "Pardon."}`}, "", `"apologie" is no text of ours; want one of above, apology,`},
		{map[string]string{"DORMOUSE_TEXTS": `{"cut": 3}`}, "", "cut is no text"},
		{map[string]string{"DORMOUSE_ALLOW_ENV_SECRETS": "yes"}, "", "want 1"},
		{map[string]string{"GATEWAY_RELAY_IDENTITY": "secret"}, "GATEWAY_RELAY_IDENTITY_TOKEN_ARN", "want the ARN of the identity token"},
		{map[string]string{"GATEWAY_RELAY_IDENTITY": "me"}, "", `is "me"; want aws, oidc, secret, env or none`},
		{
			map[string]string{"GATEWAY_RELAY_IDENTITY": ""}, "GATEWAY_RELAY_IDENTITY",
			"is not set, and no credentials are; want aws, oidc, secret or env and what belongs to it, or " +
				"GATEWAY_RELAY_CREDENTIALS_ARN, or none for a connector that asks for no credentials",
		},
		{
			map[string]string{"GATEWAY_RELAY_URL": "http://connector.example", "GATEWAY_RELAY_IDENTITY": "aws"},
			"GATEWAY_RELAY_URL", "would send a token of this AWS account there; want https or wss",
		},
		{secret("GATEWAY_RELAY_CREDENTIALS_ARN"), "", "is not the ARN of a secret; want arn:aws:ssm:"},
		{secret("GATEWAY_RELAY_IDENTITY_TOKEN_ARN"), "", "is not the ARN of a secret; want arn:aws:ssm:"},
		{secret("GATEWAY_RELAY_IDP_CLIENT_SECRET_ARN"), "", "is not the ARN of a secret; want arn:aws:ssm:"},
		{
			map[string]string{"DORMOUSE_AGENT_SECRET_ARN": "arn:aws:ssm:eu-west-1:1:document/" + canary},
			"", "is not the ARN of a secret; want arn:aws:ssm:",
		},
		{map[string]string{"GATEWAY_RELAY_REQUIRE_MENTION": "maybe"}, "", `is "maybe"; want true or false`},
		{map[string]string{"GATEWAY_RELAY_IDENTITY": "env"}, "GATEWAY_RELAY_IDENTITY_TOKEN", "is not set although"},
		{allowed("GATEWAY_RELAY_IDENTITY_TOKEN", canary+" "+canary), "GATEWAY_RELAY_IDENTITY_TOKEN", "want the bare token"},
		{map[string]string{"GATEWAY_RELAY_IDENTITY": "oidc"}, "GATEWAY_RELAY_IDP_TOKEN_URL", "is not set; want"},
		{
			map[string]string{"GATEWAY_RELAY_IDP_CLIENT_ID": "id"}, "GATEWAY_RELAY_IDP_CLIENT_SECRET",
			"is not set, nor is GATEWAY_RELAY_IDP_CLIENT_SECRET_ARN, although",
		},
		{allowed("GATEWAY_RELAY_IDP_CLIENT_SECRET", canary), "GATEWAY_RELAY_IDP_CLIENT_ID", "is not set although"},
		{map[string]string{"GATEWAY_RELAY_IDP_TOKEN_URL": "http://idp.example/" + canary}, "", "loopback only"},
		{map[string]string{"GATEWAY_RELAY_IDP_TOKEN_URL": "idp.example"}, "", "is not a URL with a host"},
		{map[string]string{"DORMOUSE_AGENT": "lambda:"}, "", "has no function behind lambda:"},
		{map[string]string{"DORMOUSE_AGENT": "lambda:my agent"}, "", "has no function behind lambda:"},
		{secret("DORMOUSE_AGENT_SECRET"), "", "holds a secret and is refused on Lambda"},
		{allowed("DORMOUSE_AGENT_SECRET", canary+"*"), "DORMOUSE_AGENT_SECRET", "want whsec_ and base64"},
		{map[string]string{"DORMOUSE_PASSTHROUGH": "yes"}, "", `is "yes"; want on or off`},
		{map[string]string{"DORMOUSE_AGENT": "http://agent.example/" + canary}, "", "loopback only"},
		{map[string]string{"DORMOUSE_AGENT": "Echo"}, "", "or echo"},
		{map[string]string{"DORMOUSE_AGENT": "https://" + canary + "@agent.example"}, "", "user or password"},
		{map[string]string{"DORMOUSE_AGENT_TIMEOUT": "5"}, "", `is "5"; want a duration such as`},
		{map[string]string{"DORMOUSE_OUTBOUND_TIMEOUT": "-1s"}, "", "is -1s; want a positive duration"},
		{map[string]string{"DORMOUSE_IDLE_AFTER": "0"}, "", "is 0s; want a positive duration"},
		{map[string]string{"DORMOUSE_EMPTY_AFTER": "0s"}, "", "is 0s; want a positive duration"},
		{map[string]string{"DORMOUSE_POKE_COOLDOWN": "-1s"}, "", "want 0 or a positive duration"},
		{map[string]string{"DORMOUSE_SECOND_LOOK": "soon"}, "", `is "soon"`},
		{map[string]string{"DORMOUSE_SWEEP": "1d"}, "", `is "1d"`},
		{map[string]string{"DORMOUSE_SWEEP_MAX": "1m"}, "", "is 1m0s, less than DORMOUSE_SWEEP (5m0s)"},
		{map[string]string{"DORMOUSE_LEASE": "0s"}, "", "want a positive duration"},
		{map[string]string{"DORMOUSE_HANDOFF_MARGIN": "0s"}, "", "want a positive duration"},
		{map[string]string{"DORMOUSE_MAX_HANDOFFS": "-1"}, "", "is -1; want at least 0"},
		{map[string]string{"DORMOUSE_CONCURRENCY": "0"}, "", "is 0; want at least 1"},
		{map[string]string{"DORMOUSE_BOT_TURNS": "-1"}, "", `is -1; want at least 0`},
		{map[string]string{"DORMOUSE_MAX_TURNS_PER_DAY": "0"}, "", `is 0; want at least 1`},
		{map[string]string{"DORMOUSE_MAX_ATTEMPTS": "many"}, "", `is "many"; want a whole number`},
		{map[string]string{"DORMOUSE_LOG_LEVEL": "loud"}, "", "want debug, info, warn or error"},
	}
	for _, tt := range tests {
		name := tt.name
		for only := range tt.environ {
			if name == "" {
				name = only
			}
		}
		t.Run(name+" "+tt.want, func(t *testing.T) {
			is := is.New(t)
			got, err := config.Drain(environ(tt.environ))
			is.True(err != nil)
			line := ""
			for text := range strings.Lines(err.Error()) {
				if strings.HasPrefix(text, name+" ") {
					is.Equal(line, "") // one fault for each variable
					line = text
				}
			}
			is.True(strings.Contains(line, tt.want))
			is.True(!strings.Contains(err.Error(), canary))
			is.Equal(got.URL, relay.BaseURL("")) // nothing half done
		})
	}
}

func TestTheApologyOfTheTexts(t *testing.T) {
	is := is.New(t)
	environ := map[string]string{
		"GATEWAY_RELAY_URL": "https://connector.example", "GATEWAY_RELAY_ID": "gw", "GATEWAY_RELAY_IDENTITY": "none",
		"DORMOUSE_TEXTS": `{"apology": "Pardon."}`,
	}
	got, err := config.Drain(environ)
	is.NoErr(err)
	is.Equal(got.Apology, "Pardon.")
	environ["DORMOUSE_APOLOGY"] = "off"
	got, err = config.Drain(environ)
	is.NoErr(err)
	is.Equal(got.Apology, "") // off is off
}

func TestCommandsAreCheckedAtTheStart(t *testing.T) {
	is := is.New(t)
	environ := map[string]string{
		"GATEWAY_RELAY_URL": "https://connector.example", "GATEWAY_RELAY_ID": "gw", "GATEWAY_RELAY_IDENTITY": "none",
		"GATEWAY_RELAY_PLATFORMS": "discord",
		"DORMOUSE_COMMANDS":       `[{"name": "new", "description": "Starts anew."}, {"name": "Old", "description": "d"}]`,
	}
	_, err := config.Drain(environ)
	is.True(err != nil)
	is.True(strings.Contains(err.Error(), "DORMOUSE_COMMANDS cannot be used: [1].name: want 1 to 32 of a-z 0-9 _ -"))
	environ["DORMOUSE_COMMANDS"] = "[]"
	got, err := config.Drain(environ)
	is.NoErr(err)
	is.Equal(got.Commands.String(), "[]")
	is.True(!strings.Contains(strings.Join(got.Warnings, "\n"), "DORMOUSE_COMMANDS"))
	environ["GATEWAY_RELAY_PLATFORMS"] = "telegram"
	got, err = config.Drain(environ)
	is.NoErr(err)
	is.True(strings.Contains(strings.Join(got.Warnings, "\n"), "DORMOUSE_COMMANDS is not used"))
}

func TestAllFaultsAreReportedTogether(t *testing.T) {
	is := is.New(t)
	_, err := config.Drain(map[string]string{
		"DORMOUSE_TABLE": "t t", "DORMOUSE_LEASE": "x", "DORMOUSE_CONCURRENCY": "x", "GATEWAY_RELAY_SECRET": canary,
		"AWS_LAMBDA_FUNCTION_NAME": "drain",
	})
	is.True(err != nil)
	is.Equal(strings.Count(err.Error(), "\n"), 5) // the five, and the missing URL
	_, err = config.Wake(map[string]string{"DORMOUSE_LOG_LEVEL": "x"})
	is.Equal(err.Error(), `DORMOUSE_LOG_LEVEL is "x"; want debug, info, warn or error`+"\n"+
		"DORMOUSE_DRAIN_FUNCTION is not set; want the name or ARN of the function that a poke starts")
	_, err = config.Wake(map[string]string{"DORMOUSE_DRAIN_FUNCTION": "drain me"})
	is.True(err != nil && strings.Contains(err.Error(), "DORMOUSE_DRAIN_FUNCTION has characters"))
}

func TestOnlyTheArgumentIsRead(t *testing.T) {
	is := is.New(t)
	t.Setenv("GATEWAY_RELAY_URL", "https://connector.example")
	t.Setenv("DORMOUSE_DRAIN_FUNCTION", "drain")
	_, err := config.Drain(nil)
	is.True(err != nil && strings.Contains(err.Error(), "GATEWAY_RELAY_URL is not set"))
	_, err = config.Wake(map[string]string{})
	is.True(err != nil && strings.Contains(err.Error(), "DORMOUSE_DRAIN_FUNCTION is not set"))
}

func TestScrubTakesTheSecretsAway(t *testing.T) {
	is := is.New(t)
	names := []string{
		"GATEWAY_RELAY_SECRET", "GATEWAY_RELAY_IDENTITY_TOKEN", "GATEWAY_RELAY_IDP_CLIENT_SECRET", "DORMOUSE_AGENT_SECRET",
	}
	for _, name := range names {
		t.Setenv(name, canary+"="+name)
	}
	before := config.Environ()
	for _, name := range names {
		is.Equal(before[name], canary+"="+name)
	}
	config.Scrub()
	is.True(!strings.Contains(strings.Join(os.Environ(), "\n"), canary))
}

func TestSettingsPrintNoSecret(t *testing.T) {
	is := is.New(t)
	got, err := config.Drain(environ(map[string]string{
		"GATEWAY_RELAY_SECRET": canary, "GATEWAY_RELAY_IDENTITY_TOKEN": canary, "GATEWAY_RELAY_IDP_CLIENT_SECRET": canary,
		"GATEWAY_RELAY_ID": "gw-1", "DORMOUSE_ALLOW_ENV_SECRETS": "1",
	}))
	is.NoErr(err)
	is.True(!strings.Contains(fmt.Sprintf("%v %+v %#v", got, got, got), canary))
}

func FuzzDrain(f *testing.F) { // whatever is set, it is settings or an error, and no secret shows
	f.Add("https://connector.example", "discord, slack", `{"discord":{"botId":1},"slack":[]}`, "echo", "20s", "8")
	f.Add("wss://u:p@connector.example/relay?x#y", ",", `{`, "lambda:x", "-1s", "1e3")
	f.Add("", "\x00", `{"":{"botId":null}}`, "http://[::1]/", "", "")
	f.Fuzz(func(t *testing.T, url, platforms, bots, agent, duration, number string) {
		is := is.New(t)
		all := map[string]string{
			"GATEWAY_RELAY_URL": url, "GATEWAY_RELAY_PLATFORMS": platforms, "GATEWAY_RELAY_BOT_IDS": bots,
			"GATEWAY_RELAY_ID": "gw-1", "GATEWAY_RELAY_SECRET": canary + "1", "GATEWAY_RELAY_IDENTITY_TOKEN": canary + "2\n3",
			"GATEWAY_RELAY_IDP_CLIENT_SECRET": canary + "4", "DORMOUSE_AGENT": agent, "DORMOUSE_LEASE": duration,
			"DORMOUSE_CONCURRENCY": number,
		}
		got, err := config.Drain(all)
		if err != nil {
			is.True(!strings.Contains(err.Error(), canary))
			return
		}
		is.True(got.URL.RelayURL() != "" && got.URL.Provision() != "")
		is.True(len(got.Fronts) > 0 && got.Lease > 0 && got.Concurrency > 0)
		is.True(!strings.Contains(strings.Join(got.Warnings, "\n"), canary))
	})
}
