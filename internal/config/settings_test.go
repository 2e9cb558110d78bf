package config_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestSettingsHoldOtherVariables(t *testing.T) {
	is := is.New(t)
	settings := `{
		"DORMOUSE_AGENT_TIMEOUT": " 1m ", "DORMOUSE_CONCURRENCY": 3, "DORMOUSE_MAX_ATTEMPTS": "5", "DORMOUSE_STOP": null,
		"DORMOUSE_IDLE_AFTER": "9s", "DORMOUSE_APOLOGY": "so \"sorry\", 1=1",
		"GATEWAY_RELAY_PLATFORMS": ["discord", "slack"], "GATEWAY_RELAY_BOT_IDS": {"discord": {"botId": 1234}, "slack": {"botId": "U1"}},
		"GATEWAY_RELAY_REQUIRE_MENTION": true, "SLACK_ALLOW_BOTS": "all"
	}`
	got, err := config.Drain(environ(map[string]string{"DORMOUSE_SETTINGS": settings, "DORMOUSE_IDLE_AFTER": "7s", "DORMOUSE_MAX_ATTEMPTS": " "}))
	is.NoErr(err)
	is.Equal(got.AgentTimeout, time.Minute)
	is.Equal(got.Concurrency, 3)
	is.Equal(got.MaxAttempts, 5)             // an empty variable of its own does not win
	is.Equal(got.IdleAfter, 7*time.Second)   // one that is not empty does
	is.Equal(got.Stop, "/stop")              // null is unset
	is.Equal(got.Apology, `so "sorry", 1=1`) // as it stands in the JSON
	is.Equal(got.Fronts, []relay.Front{{Platform: "discord", BotID: "1234"}, {Platform: "slack", BotID: "U1"}})
	is.Equal(len(got.Policies), 2)
	is.True(got.Policies[0].RequireAddress && got.Policies[1].AllowOtherBots)
	is.Equal(len(got.Warnings), 0)

	wake, err := config.Wake(map[string]string{
		"DORMOUSE_DRAIN_FUNCTION": "d", "DORMOUSE_SETTINGS": `{"DORMOUSE_LOG_LEVEL":"debug","GATEWAY_RELAY_SECRET":"s","DORMOUSE_IDLE_AFTER":"soon"}`,
	})
	is.NoErr(err) // drain's settings are for drain to report
	is.Equal(wake.LogLevel.String(), "DEBUG")
}

func TestWhatSettingsMayNotHold(t *testing.T) {
	tests := map[string]struct{ settings, want string }{
		"a secret":          {`{"GATEWAY_RELAY_SECRET":"` + canary + `"}`, "GATEWAY_RELAY_SECRET holds a secret and is refused in DORMOUSE_SETTINGS"},
		"a token":           {`{"GATEWAY_RELAY_IDENTITY_TOKEN":"` + canary + `"}`, "GATEWAY_RELAY_IDENTITY_TOKEN holds a secret"},
		"a client's secret": {`{"GATEWAY_RELAY_IDP_CLIENT_SECRET":"` + canary + `"}`, "GATEWAY_RELAY_IDP_CLIENT_SECRET holds a secret"},
		"a signing secret":  {`{"DORMOUSE_AGENT_SECRET":"` + canary + `"}`, "DORMOUSE_AGENT_SECRET holds a secret"},
		"itself":            {`{"DORMOUSE_SETTINGS":"{}"}`, "DORMOUSE_SETTINGS is refused in itself"},
		"a key of AWS":      {`{"AWS_SECRET_ACCESS_KEY":"` + canary + `"}`, "AWS_SECRET_ACCESS_KEY is refused in DORMOUSE_SETTINGS: that is for"},
		"the platform's":    {`{"PATH":"/"}`, "PATH is refused in DORMOUSE_SETTINGS"},
		"a slip":            {`{"DORMOUSE_IDLE_AFTR":"1s"}`, "DORMOUSE_IDLE_AFTR in DORMOUSE_SETTINGS is no setting of this version"},
		"no platform":       {`{"_ALLOW_BOTS":"all"}`, "_ALLOW_BOTS in DORMOUSE_SETTINGS is no setting"},
		"a bad value":       {`{"DORMOUSE_IDLE_AFTER":"soon"}`, `DORMOUSE_IDLE_AFTER is "soon"; want a duration such as`},
		"lists in a list":   {`{"GATEWAY_RELAY_PLATFORMS":[["a"]]}`, "GATEWAY_RELAY_PLATFORMS in DORMOUSE_SETTINGS is neither a text nor"},
		"a list":            {`["DORMOUSE_STOP"]`, "DORMOUSE_SETTINGS is no JSON object; want"},
		"a text":            {`"x"`, "DORMOUSE_SETTINGS is no JSON object; want"},
		"null":              {`null`, "DORMOUSE_SETTINGS is no JSON object; want"},
		"half":              {`{"DORMOUSE_APOLOGY":"` + canary, "DORMOUSE_SETTINGS is no JSON object; want"},
		"a missing quote":   {`{"DORMOUSE_STOP":"/x", DORMOUSE_LEASE":1}`, "with names of variables (it goes wrong behind byte 23)"},
		"two":               {`{} {}`, "DORMOUSE_SETTINGS is no JSON object; want"},
		"twice":             {`{"DORMOUSE_STOP":"/a","DORMOUSE_STOP":"/b"}`, "DORMOUSE_SETTINGS has a name twice"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			_, err := config.Drain(environ(map[string]string{"DORMOUSE_SETTINGS": tt.settings, "DORMOUSE_ALLOW_ENV_SECRETS": "1"}))
			is.True(err != nil)
			t.Log(err)
			is.True(strings.Contains(err.Error(), tt.want))
			is.True(!strings.Contains(err.Error(), canary))
		})
	}
	is := is.New(t)
	_, err := config.Wake(map[string]string{"DORMOUSE_DRAIN_FUNCTION": "d", "DORMOUSE_SETTINGS": "{"})
	is.True(err != nil && strings.HasPrefix(err.Error(), "DORMOUSE_SETTINGS is no JSON object"))
	_, err = config.Drain(environ(map[string]string{"DORMOUSE_SETTINGS": `{"DORMOUSE_STOP":"a b","DORMOUSE_SWEEP":"0s","PATH":1}`}))
	is.Equal(len(strings.Split(err.Error(), "\n")), 3) // all faults together
}

func TestBotIDsAsAList(t *testing.T) {
	tests := map[string]struct {
		ids     string
		want    string // bot ids of discord and telegram
		warning bool
	}{
		"a list":          {"discord=1234,telegram=5678", "1234 5678", false},
		"blanks":          {" discord = 1234 , telegram = 5678 ,", "1234 5678", false},
		"equals signs":    {"discord=12=34,telegram=@x:y.example", "12=34 @x:y.example", false},
		"JSON":            {`{"discord":{"botId":"1234"},"telegram":{"botId":5678}}`, "1234 5678", false},
		"one is missing":  {"discord=1234", "1234 ", true},
		"no equals sign":  {"discord=1234,telegram", " ", true},
		"nothing":         {"discord=,telegram=5678", " ", true},
		"no platform":     {"=1234", " ", true},
		"cut by a parser": {`{"discord":{"botId":"1234"}`, " ", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			got, err := config.Drain(environ(map[string]string{
				"GATEWAY_RELAY_PLATFORMS": "discord,telegram", "GATEWAY_RELAY_BOT_IDS": tt.ids,
			}))
			is.NoErr(err)
			is.Equal(got.Fronts[0].BotID+" "+got.Fronts[1].BotID, tt.want)
			is.Equal(len(got.Warnings) > 0, tt.warning)
		})
	}
}

func TestAPlatformHasAPolicyOfItsOwn(t *testing.T) {
	policy := func(platform string, mention, bots bool, scopes ...string) relay.Policy {
		return relay.Policy{Platform: platform, RequireAddress: mention, FreeResponseScopes: append([]string{}, scopes...), AllowOtherBots: bots}
	}
	tests := map[string]struct {
		environ map[string]string
		want    []relay.Policy
	}{
		"one platform alone": {map[string]string{"GATEWAY_RELAY_REQUIRE_MENTION_SLACK": "false"}, []relay.Policy{policy("slack", false, false)}},
		"over the general one": {
			map[string]string{"GATEWAY_RELAY_REQUIRE_MENTION": "true", "GATEWAY_RELAY_REQUIRE_MENTION_SLACK": "False"},
			[]relay.Policy{policy("discord", true, false), policy("slack", false, false)},
		},
		"scopes": {
			map[string]string{"GATEWAY_RELAY_FREE_RESPONSE_SCOPES": "a,b", "GATEWAY_RELAY_FREE_RESPONSE_SCOPES_SLACK": " c ,"},
			[]relay.Policy{policy("discord", false, false, "a", "b"), policy("slack", false, false, "c")},
		},
		"no scopes for one": {
			map[string]string{"GATEWAY_RELAY_FREE_RESPONSE_SCOPES": "a", "GATEWAY_RELAY_FREE_RESPONSE_SCOPES_SLACK": ","},
			[]relay.Policy{policy("discord", false, false, "a")},
		},
		"beside bots": {
			map[string]string{"SLACK_ALLOW_BOTS": "mentions", "GATEWAY_RELAY_REQUIRE_MENTION_DISCORD": "true"},
			[]relay.Policy{policy("discord", true, false), policy("slack", false, true)},
		},
	}
	for name, tt := range tests {
		for _, way := range []string{"variables", "settings"} {
			t.Run(name+" in "+way, func(t *testing.T) {
				is := is.New(t)
				all := map[string]string{"GATEWAY_RELAY_PLATFORMS": "discord,slack", "GATEWAY_RELAY_BOT_IDS": "discord=1,slack=2"}
				if way == "settings" {
					raw, err := json.Marshal(tt.environ)
					is.NoErr(err)
					all["DORMOUSE_SETTINGS"] = string(raw)
				} else {
					for name, value := range tt.environ {
						all[name] = value
					}
				}
				got, err := config.Drain(environ(all))
				is.NoErr(err)
				is.Equal(got.Policies, tt.want)
				is.Equal(got.Warnings, nil)
			})
		}
	}
	is := is.New(t)
	_, err := config.Drain(environ(map[string]string{"GATEWAY_RELAY_PLATFORMS": "slack", "GATEWAY_RELAY_REQUIRE_MENTION_SLACK": "perhaps"}))
	is.True(err != nil && strings.Contains(err.Error(), `GATEWAY_RELAY_REQUIRE_MENTION_SLACK is "perhaps"; want true or false`))
	got, err := config.Drain(environ(map[string]string{"GATEWAY_RELAY_REQUIRE_MENTION_SLACK": "true"}))
	is.NoErr(err)
	is.True(strings.Contains(strings.Join(got.Warnings, "\n"), "GATEWAY_RELAY_REQUIRE_MENTION_SLACK is not used"))
}

func FuzzSettings(f *testing.F) { // whatever DORMOUSE_SETTINGS holds, it is read as the variables would be, or refused
	for _, seed := range []string{
		"", "{}", "null", `{"DORMOUSE_IDLE_AFTER":"5s"}`, `{"DORMOUSE_CONCURRENCY":1e2}`, `{"GATEWAY_RELAY_PLATFORMS":["a",1,null,true]}`,
		`{"GATEWAY_RELAY_SECRET":"x"}`, `{"DORMOUSE_STOP":"\ud800"}`, `{"SLACK_ALLOW_BOTS":"all","SLACK_ALLOW_BOTS":"none"}`, "{\"\\u0000\":{}}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, settings string) {
		got, err := config.Drain(environ(map[string]string{"DORMOUSE_SETTINGS": settings}))
		if err != nil {
			return
		}
		if got.Secret.Usable() || got.IdentityToken.Usable() || got.IDPClientSecret.Usable() || got.AgentSecret.Usable() {
			t.Error("a secret came from DORMOUSE_SETTINGS")
		}
		var texts map[string]string
		if json.Unmarshal([]byte(settings), &texts) != nil {
			return
		}
		again, err := config.Drain(environ(texts))
		is := is.New(t)
		is.NoErr(err)
		is.Equal(again, got)
	})
}
