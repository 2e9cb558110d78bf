package config

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/dormouse-relay/dormouse/internal/texts"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// DrainSettings are the drain function's. Sections named in comments are the contract's.
type DrainSettings struct {
	URL         relay.BaseURL `env:"GATEWAY_RELAY_URL"`          // the connector; never empty
	GatewayID   string        `env:"GATEWAY_RELAY_ID"`           // never empty; by default gw- and FunctionName
	InstanceID  string        `env:"GATEWAY_RELAY_INSTANCE_ID"`  // forwarded at provision (section 14); may be empty
	WakeURL     string        `env:"GATEWAY_RELAY_WAKE_URL"`     // likewise; whoever has it can poke: never log its path
	Endpoint    string        `env:"GATEWAY_RELAY_ENDPOINT"`     // likewise
	RouteKeys   []string      `env:"GATEWAY_RELAY_ROUTE_KEYS"`   // likewise
	DisplayName string        `env:"GATEWAY_RELAY_DISPLAY_NAME"` // likewise

	Fronts []relay.Front `env:"-"` // fronted platforms, at least one, the first is primary (section 4)

	// An ARN is that of a SecureString in SSM Parameter Store, or of a secret in Secrets Manager.
	Auth               Auth         `env:"GATEWAY_RELAY_IDENTITY"`              // never empty
	CredentialsARN     string       `env:"GATEWAY_RELAY_CREDENTIALS_ARN"`       // for AuthPinned; empty: Secret
	Secret             relay.Secret `env:"GATEWAY_RELAY_SECRET"`                // for AuthPinned without CredentialsARN
	IdentityToken      relay.Secret `env:"GATEWAY_RELAY_IDENTITY_TOKEN"`        // for AuthEnv; without blanks around it
	IdentityTokenARN   string       `env:"GATEWAY_RELAY_IDENTITY_TOKEN_ARN"`    // for AuthSecret
	IdentityAudience   string       `env:"GATEWAY_RELAY_IDENTITY_AUDIENCE"`     // for AuthAWS; by default the connector's origin
	IDPTokenURL        string       `env:"GATEWAY_RELAY_IDP_TOKEN_URL"`         // for AuthOIDC, as the next four
	IDPClientID        string       `env:"GATEWAY_RELAY_IDP_CLIENT_ID"`         // empty: the endpoint gives a token to anybody who asks
	IDPClientSecret    relay.Secret `env:"GATEWAY_RELAY_IDP_CLIENT_SECRET"`     // as it came, untrimmed
	IDPClientSecretARN string       `env:"GATEWAY_RELAY_IDP_CLIENT_SECRET_ARN"` // where that secret is, in place of it
	IDPScope           string       `env:"GATEWAY_RELAY_IDP_SCOPE"`             // may be empty

	Policies []relay.Policy `env:"-"` // what is declared of the fronted platforms (section 14); usually empty

	Agent           string         `env:"DORMOUSE_AGENT" envDefault:"echo"`           // echo, lambda:NAME, an https or loopback http URL
	AgentSecret     relay.Secret   `env:"DORMOUSE_AGENT_SECRET"`                      // whsec_ and base64: signs what is posted
	AgentSecretARN  string         `env:"DORMOUSE_AGENT_SECRET_ARN"`                  // where that secret is, in place of it
	AgentDurable    time.Duration  `env:"DORMOUSE_AGENT_DURABLE"`                     // within it the durable function answers later; 0: it is none
	AgentStream     bool           `env:"-"`                                          // lambda: agents are invoked with a response stream
	AgentTimeout    time.Duration  `env:"DORMOUSE_AGENT_TIMEOUT" envDefault:"5m"`     // for one turn
	Concurrency     int            `env:"DORMOUSE_CONCURRENCY" envDefault:"8"`        // turns side by side
	MaxAttempts     int            `env:"DORMOUSE_MAX_ATTEMPTS" envDefault:"3"`       // tries before a message is dead
	StaleAfter      time.Duration  `env:"DORMOUSE_STALE_AFTER" envDefault:"15m"`      // age from which a message is told as late; 0: none is
	OutboundTimeout time.Duration  `env:"DORMOUSE_OUTBOUND_TIMEOUT" envDefault:"75s"` // wait for an outbound_result
	GiveUpAfter     time.Duration  `env:"DORMOUSE_GIVE_UP_AFTER" envDefault:"24h"`    // how long a message waits for an agent or a chat
	Stop            string         `env:"DORMOUSE_STOP" envDefault:"/stop"`           // stops what its session runs, and what waits there
	Apology         string         `env:"DORMOUSE_APOLOGY"`                           // sent for a dead message; empty when off
	Texts           texts.Texts    `env:"-"`                                          // our own sentences to chats
	Commands        relay.Commands `env:"-"`                                          // what the connector is to register with Discord
	BotTurns        int            `env:"DORMOUSE_BOT_TURNS" envDefault:"20"`         // messages of bots answered, an hour and chat; 0: none
	MaxTurnsPerDay  int            `env:"DORMOUSE_MAX_TURNS_PER_DAY"`                 // of the instance; 0: any number
	Reactions       bool           `env:"-"`                                          // a mark on the message while its turn runs, and after it
	Merge           bool           `env:"-"`                                          // what waits in a session is one turn
	Passthrough     bool           `env:"-"`                                          // raw turns for platforms other than Discord

	IdleAfter     time.Duration `env:"DORMOUSE_IDLE_AFTER" envDefault:"20s"`     // quiet time before going_idle
	EmptyAfter    time.Duration `env:"DORMOUSE_EMPTY_AFTER"`                     // 0: 10 s after a wake, 3 s otherwise
	PokeCooldown  time.Duration `env:"DORMOUSE_POKE_COOLDOWN" envDefault:"65s"`  // how long the connector does not poke again; 0: no such time
	SecondLook    time.Duration `env:"DORMOUSE_SECOND_LOOK" envDefault:"500ms"`  // 0: none
	Sweep         time.Duration `env:"DORMOUSE_SWEEP" envDefault:"5m"`           // first interval between sweeps
	SweepMax      time.Duration `env:"DORMOUSE_SWEEP_MAX" envDefault:"1h"`       // longest one; at least Sweep
	Lease         time.Duration `env:"DORMOUSE_LEASE" envDefault:"30s"`          // life of the lease
	HandoffMargin time.Duration `env:"DORMOUSE_HANDOFF_MARGIN" envDefault:"30s"` // drain goes idle this long before its deadline
	MaxHandoffs   int           `env:"DORMOUSE_MAX_HANDOFFS" envDefault:"12"`    // 0: never hands off

	Window int64 `env:"DORMOUSE_WINDOW"` // bytes of messages in memory; never 0

	Table string `env:"DORMOUSE_TABLE"` // name or ARN of the DynamoDB table; empty: the ledger is in memory

	FunctionName string     `env:"AWS_LAMBDA_FUNCTION_NAME"`             // empty when not on Lambda
	LogLevel     slog.Level `env:"DORMOUSE_LOG_LEVEL" envDefault:"info"` // least severe level that is logged

	Warnings []string `env:"-"` // settings that are allowed but look like mistakes; the caller logs them
}

// drainVariables adds the variables that settings are made from and that are not kept as they are.
type drainVariables struct {
	DrainSettings
	Platforms       []string `env:"GATEWAY_RELAY_PLATFORMS"`
	BotIDs          string   `env:"GATEWAY_RELAY_BOT_IDS"`
	Platform        string   `env:"GATEWAY_RELAY_PLATFORM"`
	BotID           string   `env:"GATEWAY_RELAY_BOT_ID"`
	AllowEnvSecrets string   `env:"DORMOUSE_ALLOW_ENV_SECRETS"`
	Settings        string   `env:"DORMOUSE_SETTINGS"` // has been merged into the others
	RequireMention  string   `env:"GATEWAY_RELAY_REQUIRE_MENTION"`
	FreeScopes      []string `env:"GATEWAY_RELAY_FREE_RESPONSE_SCOPES"`
	RawTexts        string   `env:"DORMOUSE_TEXTS"`
	RawCommands     string   `env:"DORMOUSE_COMMANDS"`
	RawAgentStream  string   `env:"DORMOUSE_AGENT_STREAM" envDefault:"off"`
	RawReactions    string   `env:"DORMOUSE_REACTIONS" envDefault:"on"`
	RawMerge        string   `env:"DORMOUSE_MERGE" envDefault:"on"`
	RawPassthrough  string   `env:"DORMOUSE_PASSTHROUGH" envDefault:"off"`
	MemoryLimit     string   `env:"GOMEMLIMIT"`
	MemorySize      int64    `env:"AWS_LAMBDA_FUNCTION_MEMORY_SIZE"` // in MB
}

// DrainVariables are the names of all variables that Drain reads, sorted.
func DrainVariables() []string { return variables(reflect.TypeFor[drainVariables]()) }

// Drain reads the drain function's settings from environ. The error joins all faults.
func Drain(environ map[string]string) (DrainSettings, error) {
	var v drainVariables
	faults := &faultList{}
	values := withSettings(trimmed(environ), nil, faults)
	parse(&v, values, faults)
	s := &v.DrainSettings

	s.Fronts = v.fronts()
	v.refuseEnvSecrets(values, faults)
	v.checkConnector(faults)
	v.checkGatewayID(faults)
	v.checkAuth(faults)
	v.checkARNs(faults)
	s.Policies = v.policies(values, faults)
	v.checkAgent(faults)
	if strings.ContainsFunc(v.Stop, func(r rune) bool { return unicode.IsSpace(r) || r == '@' }) {
		faults.add("DORMOUSE_STOP", "is %.40q; want one word without blanks and @, for instance /stop", v.Stop)
	}
	v.checkRanges(values, faults)
	v.checkWindow(values, faults)
	v.checkTable(faults)
	s.RouteKeys = list(s.RouteKeys)
	v.readTexts(faults)
	v.readCommands(faults)
	switch s.Apology {
	case "":
		s.Apology = s.Texts.Apology()
	case "off":
		s.Apology = ""
	}
	if err := faults.join(); err != nil {
		return DrainSettings{}, err
	}
	return *s, nil
}

// Instance is the id under which the ledger keeps everything of this gateway, and from which delivery keys are made.
func (s *DrainSettings) Instance() string { return cmp.Or(s.InstanceID, s.GatewayID) }

func (s *DrainSettings) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

// refuseEnvSecrets refuses secrets in the configuration of a deployed function, where too many people can read them.
func (v *drainVariables) refuseEnvSecrets(values map[string]string, faults *faultList) {
	if allow := v.AllowEnvSecrets; allow != "" && allow != "0" && allow != "1" {
		faults.add("DORMOUSE_ALLOW_ENV_SECRETS", "is neither 1 nor empty; want 1 for on, or nothing for off")
	}
	if v.FunctionName == "" || v.AllowEnvSecrets == "1" {
		return
	}
	for _, name := range secrets {
		if values[name] != "" {
			faults.add(name, "holds a secret and is refused on Lambda: everybody who may read the function's configuration "+
				"can read it; for development set DORMOUSE_ALLOW_ENV_SECRETS to 1")
		}
	}
}

func (v *drainVariables) checkAgent(faults *faultList) {
	const (
		name   = "DORMOUSE_AGENT"
		secret = "DORMOUSE_AGENT_SECRET"
	)
	u, fault := parseURL(v.Agent, "https", "http")
	function, isFunction := strings.CutPrefix(v.Agent, "lambda:")
	switch {
	case v.Agent == "echo":
	case isFunction && !isFunctionName(function):
		faults.add(name, "has no function behind lambda:; want its name or ARN, with :alias if wanted")
	case isFunction:
	case fault != "":
		faults.add(name, "%s; or lambda: and a function's name; or echo", fault)
	case u.Scheme == "http" && !loopback(u):
		faults.add(name, "is plain http, which is for loopback only; want https")
	}
	if v.AgentSecret.Usable() {
		key := strings.TrimPrefix(strings.TrimSpace(v.AgentSecret.Reveal()), "whsec_")
		if decoded, err := base64.StdEncoding.DecodeString(key); err != nil || len(decoded) == 0 {
			faults.add(secret, "cannot be read; want whsec_ and base64, as in: echo whsec_$(openssl rand -base64 32)")
		} else if fault != "" {
			v.warn("%s is not used: only what is posted to a URL is signed", secret)
		}
	}
	v.Reactions = isOn("DORMOUSE_REACTIONS", v.RawReactions, faults)
	v.Merge = isOn("DORMOUSE_MERGE", v.RawMerge, faults)
	v.Passthrough = isOn("DORMOUSE_PASSTHROUGH", v.RawPassthrough, faults)
	v.checkDurable(faults)
	v.AgentStream = isOn("DORMOUSE_AGENT_STREAM", v.RawAgentStream, faults)
}

// isOn reads a setting that is on or off.
func isOn(name, value string, faults *faultList) bool {
	if value != "on" && value != "off" {
		faults.add(name, "is %.40q; want on or off", value)
	}
	return value == "on"
}

func (v *drainVariables) readTexts(faults *faultList) {
	if v.RawTexts == "" {
		return
	}
	var err error
	if v.Texts, err = texts.Parse(v.RawTexts); err != nil {
		faults.add("DORMOUSE_TEXTS", "cannot be used: %v", err)
	}
}

func (v *drainVariables) readCommands(faults *faultList) {
	const name = "DORMOUSE_COMMANDS"
	if v.RawCommands == "" {
		return
	}
	var err error
	if v.Commands, err = relay.ParseCommands([]byte(v.RawCommands)); err != nil {
		faults.add(name, "cannot be used: %v", err)
	}
	if !slices.ContainsFunc(v.Fronts, func(f relay.Front) bool { return f.Platform == "discord" }) {
		v.warn("%s is not used: commands are Discord's, and no fronted platform is discord", name)
	}
}

func (v *drainVariables) checkTable(faults *faultList) {
	if v.Table != "" && !isTableName(v.Table) {
		faults.add("DORMOUSE_TABLE", "is %.40q; want the name or ARN of a DynamoDB table", v.Table)
	}
}

// checkRanges checks durations and numbers. The defaults are in range.
// qualified matches a function's name or ARN with a version or alias behind it.
var qualified = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^lambda:(arn:[^:]+:lambda:[^:]+:[0-9]+:function:|[0-9]+:function:)?[^:]+:[^:]+$`)
})

// checkDurable checks what a durable function needs: Lambda starts one by a version or alias only, and waits for none.
func (v *drainVariables) checkDurable(faults *faultList) {
	const name = "DORMOUSE_AGENT_DURABLE"
	switch {
	case v.AgentDurable == 0:
	case v.AgentDurable < 0 || v.AgentDurable > 24*time.Hour:
		faults.add(name, "is %v; want how long its answers take at most, up to 24h", v.AgentDurable)
	case !qualified().MatchString(v.Agent):
		faults.add(name, "is for a durable function; want DORMOUSE_AGENT to be lambda:NAME:ALIAS")
	case v.RawAgentStream == "on":
		faults.add(name, "is set beside DORMOUSE_AGENT_STREAM=on; want one of them: what answers later does not stream")
	}
}

func (v *drainVariables) checkRanges(values map[string]string, faults *faultList) {
	for _, d := range []struct {
		name  string
		value time.Duration
		zero  bool // is allowed
	}{
		{"DORMOUSE_AGENT_TIMEOUT", v.AgentTimeout, false},
		{"DORMOUSE_OUTBOUND_TIMEOUT", v.OutboundTimeout, false},
		{"DORMOUSE_GIVE_UP_AFTER", v.GiveUpAfter, false},
		{"DORMOUSE_STALE_AFTER", v.StaleAfter, true},
		{"DORMOUSE_IDLE_AFTER", v.IdleAfter, false},
		{"DORMOUSE_EMPTY_AFTER", v.EmptyAfter, false},
		{"DORMOUSE_POKE_COOLDOWN", v.PokeCooldown, true},
		{"DORMOUSE_SECOND_LOOK", v.SecondLook, true},
		{"DORMOUSE_SWEEP", v.Sweep, false},
		{"DORMOUSE_SWEEP_MAX", v.SweepMax, false},
		{"DORMOUSE_LEASE", v.Lease, false},
		{"DORMOUSE_HANDOFF_MARGIN", v.HandoffMargin, false},
	} {
		switch {
		case values[d.name] == "":
		case d.zero && d.value < 0:
			faults.add(d.name, "is %v; want 0 or a positive duration", d.value)
		case !d.zero && d.value <= 0:
			faults.add(d.name, "is %v; want a positive duration", d.value)
		}
	}
	if v.SweepMax < v.Sweep {
		faults.add("DORMOUSE_SWEEP_MAX", "is %v, less than DORMOUSE_SWEEP (%v); want at least as much", v.SweepMax, v.Sweep)
	}
	for _, n := range []struct {
		name       string
		value, min int
	}{
		{"DORMOUSE_CONCURRENCY", v.Concurrency, 1},
		{"DORMOUSE_MAX_ATTEMPTS", v.MaxAttempts, 1},
		{"DORMOUSE_MAX_HANDOFFS", v.MaxHandoffs, 0},
		{"DORMOUSE_BOT_TURNS", v.BotTurns, 0},
		{"DORMOUSE_MAX_TURNS_PER_DAY", v.MaxTurnsPerDay, 1},
	} {
		if values[n.name] != "" && n.value < n.min {
			faults.add(n.name, "is %d; want at least %d", n.value, n.min)
		}
	}
}
