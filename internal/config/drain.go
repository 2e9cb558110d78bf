package config

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Auth says how this gateway proves itself to the connector.
type Auth string

const (
	AuthPinned Auth = "pinned" // its credentials are at CredentialsARN, or else GatewayID and Secret; nothing is provisioned
	AuthAWS    Auth = "aws"    // AWS STS says who it is, for IdentityAudience
	AuthOIDC   Auth = "oidc"   // the identity token comes from IDPTokenURL
	AuthSecret Auth = "secret" // the identity token is at IdentityTokenARN
	AuthEnv    Auth = "env"    // the identity token is IdentityToken
	AuthNone   Auth = "none"   // it dials unauthenticated, for development (section 2)
)

// DrainSettings are the drain function's. Sections named in comments are the contract's.
type DrainSettings struct {
	URL         relay.BaseURL `env:"GATEWAY_RELAY_URL"`          // the connector; never empty
	GatewayID   string        `env:"GATEWAY_RELAY_ID"`           // never empty; by default gw- and FunctionName
	InstanceID  string        `env:"GATEWAY_RELAY_INSTANCE_ID"`  // forwarded at provision (section 14); may be empty
	WakeURL     string        `env:"GATEWAY_RELAY_WAKE_URL"`     // likewise; a capability: not to be logged with its path
	Endpoint    string        `env:"GATEWAY_RELAY_ENDPOINT"`     // likewise
	RouteKeys   []string      `env:"GATEWAY_RELAY_ROUTE_KEYS"`   // likewise
	DisplayName string        `env:"GATEWAY_RELAY_DISPLAY_NAME"` // likewise

	Fronts []relay.Front `env:"-"` // fronted platforms, at least one, the first is primary (section 4)

	// Of the ARNs, each is of a SecureString in SSM Parameter Store or of a secret in Secrets Manager.
	Auth               Auth         `env:"GATEWAY_RELAY_IDENTITY"`              // never empty
	CredentialsARN     string       `env:"GATEWAY_RELAY_CREDENTIALS_ARN"`       // for AuthPinned; empty: Secret
	Secret             relay.Secret `env:"GATEWAY_RELAY_SECRET"`                // for AuthPinned without CredentialsARN
	IdentityToken      relay.Secret `env:"GATEWAY_RELAY_IDENTITY_TOKEN"`        // for AuthEnv; without blanks around it
	IdentityTokenARN   string       `env:"GATEWAY_RELAY_IDENTITY_TOKEN_ARN"`    // for AuthSecret
	IdentityAudience   string       `env:"GATEWAY_RELAY_IDENTITY_AUDIENCE"`     // for AuthAWS; by default the connector's origin
	IDPTokenURL        string       `env:"GATEWAY_RELAY_IDP_TOKEN_URL"`         // for AuthOIDC, as the next four
	IDPClientID        string       `env:"GATEWAY_RELAY_IDP_CLIENT_ID"`         // empty: the endpoint hands a token to whoever asks
	IDPClientSecret    relay.Secret `env:"GATEWAY_RELAY_IDP_CLIENT_SECRET"`     // as it came, untrimmed
	IDPClientSecretARN string       `env:"GATEWAY_RELAY_IDP_CLIENT_SECRET_ARN"` // in its place
	IDPScope           string       `env:"GATEWAY_RELAY_IDP_SCOPE"`             // may be empty

	Policies []relay.Policy `env:"-"` // what is declared of the fronted platforms (section 14); usually empty

	Agent           string        `env:"DORMOUSE_AGENT" envDefault:"echo"`           // echo, lambda:NAME, an https or loopback http URL
	AgentSecret     relay.Secret  `env:"DORMOUSE_AGENT_SECRET"`                      // whsec_ and base64: signs what is posted
	AgentSecretARN  string        `env:"DORMOUSE_AGENT_SECRET_ARN"`                  // in its place: where that secret is
	AgentTimeout    time.Duration `env:"DORMOUSE_AGENT_TIMEOUT" envDefault:"5m"`     // for one turn
	Concurrency     int           `env:"DORMOUSE_CONCURRENCY" envDefault:"8"`        // turns side by side
	MaxAttempts     int           `env:"DORMOUSE_MAX_ATTEMPTS" envDefault:"3"`       // tries before a message is dead
	OutboundTimeout time.Duration `env:"DORMOUSE_OUTBOUND_TIMEOUT" envDefault:"75s"` // wait for an outbound_result
	Stop            string        `env:"DORMOUSE_STOP" envDefault:"/stop"`           // cancels its session's running turn
	Apology         string        `env:"DORMOUSE_APOLOGY" envDefault:"off"`          // sent for a dead message; empty when off
	Passthrough     bool          `env:"-"`                                          // raw turns for platforms other than Discord

	IdleAfter     time.Duration `env:"DORMOUSE_IDLE_AFTER" envDefault:"20s"`     // quiet time before going_idle
	EmptyAfter    time.Duration `env:"DORMOUSE_EMPTY_AFTER"`                     // 0: 10 s after a wake, 3 s otherwise
	PokeCooldown  time.Duration `env:"DORMOUSE_POKE_COOLDOWN" envDefault:"65s"`  // the connector's; 0: it has none
	SecondLook    time.Duration `env:"DORMOUSE_SECOND_LOOK" envDefault:"500ms"`  // 0: none
	Sweep         time.Duration `env:"DORMOUSE_SWEEP" envDefault:"5m"`           // first interval between sweeps
	SweepMax      time.Duration `env:"DORMOUSE_SWEEP_MAX" envDefault:"1h"`       // longest one; at least Sweep
	Lease         time.Duration `env:"DORMOUSE_LEASE" envDefault:"30s"`          // life of the lease
	HandoffMargin time.Duration `env:"DORMOUSE_HANDOFF_MARGIN" envDefault:"30s"` // kept free before the deadline
	MaxHandoffs   int           `env:"DORMOUSE_MAX_HANDOFFS" envDefault:"12"`    // 0: never hands off

	Table string `env:"DORMOUSE_TABLE"` // name or ARN of the DynamoDB table; empty: the ledger is in memory

	FunctionName string     `env:"AWS_LAMBDA_FUNCTION_NAME"`             // empty when not on Lambda
	LogLevel     slog.Level `env:"DORMOUSE_LOG_LEVEL" envDefault:"info"` // least severe level that is logged

	Warnings []string `env:"-"` // what is legal and looks like a mistake, to be logged at the start
}

// drainVariables adds what the settings are made from and do not keep.
type drainVariables struct {
	DrainSettings
	Platforms       []string `env:"GATEWAY_RELAY_PLATFORMS"`
	BotIDs          string   `env:"GATEWAY_RELAY_BOT_IDS"`
	Platform        string   `env:"GATEWAY_RELAY_PLATFORM"`
	BotID           string   `env:"GATEWAY_RELAY_BOT_ID"`
	AllowEnvSecrets string   `env:"DORMOUSE_ALLOW_ENV_SECRETS"`
	RequireMention  string   `env:"GATEWAY_RELAY_REQUIRE_MENTION"`
	FreeScopes      []string `env:"GATEWAY_RELAY_FREE_RESPONSE_SCOPES"`
	RawPassthrough  string   `env:"DORMOUSE_PASSTHROUGH" envDefault:"off"`
}

// DrainVariables are the names of all variables that Drain reads, sorted.
func DrainVariables() []string { return variables(reflect.TypeFor[drainVariables]()) }

// Drain reads the drain function's settings from environ. The error joins all faults.
func Drain(environ map[string]string) (DrainSettings, error) {
	var v drainVariables
	values := trimmed(environ)
	faults := parse(&v, values)
	s := &v.DrainSettings

	s.Fronts = v.fronts()
	v.refuseEnvSecrets(values, faults)
	v.checkConnector(faults)
	v.checkGatewayID(faults)
	v.checkAuth(faults)
	v.checkARNs(faults)
	s.Policies = v.policies(values, faults)
	v.checkAgent(faults)
	v.checkRanges(values, faults)
	v.checkTable(faults)
	s.RouteKeys = list(s.RouteKeys)
	if s.Apology == "off" {
		s.Apology = ""
	}
	if err := faults.join(); err != nil {
		return DrainSettings{}, err
	}
	return *s, nil
}

// Instance is what the ledger's entries and the keys of deliveries belong to.
func (s *DrainSettings) Instance() string { return cmp.Or(s.InstanceID, s.GatewayID) }

func (s *DrainSettings) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

// refuseEnvSecrets keeps secrets out of a deployed function's configuration, where too many can read them.
func (v *drainVariables) refuseEnvSecrets(values map[string]string, faults *faultList) {
	if allow := v.AllowEnvSecrets; allow != "" && allow != "0" && allow != "1" {
		faults.add("DORMOUSE_ALLOW_ENV_SECRETS", "has another value than 1; want 1, or nothing for off")
	}
	if v.FunctionName == "" || v.AllowEnvSecrets == "1" {
		return
	}
	for _, name := range secrets {
		if values[name] != "" {
			faults.add(name, "holds a secret and is refused on Lambda, where whoever may read the function's "+
				"configuration can read it; for development set DORMOUSE_ALLOW_ENV_SECRETS to 1")
		}
	}
}

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
		v.warn("%s is not encrypted: credentials and messages can be read on the way; use https or wss", name)
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

func (v *drainVariables) checkAuth(faults *faultList) {
	const name = "GATEWAY_RELAY_IDENTITY"
	oidc := v.IDPTokenURL != "" || v.IDPClientID != "" || v.IDPClientSecret.Usable() || v.IDPClientSecretARN != ""
	chosen := v.Auth
	switch {
	case chosen != "" && !slices.Contains([]Auth{AuthAWS, AuthOIDC, AuthSecret, AuthEnv}, chosen):
		faults.add(name, "is %.40q; want aws, oidc, secret or env", string(chosen))
		return
	case v.CredentialsARN != "" || v.Secret.Usable():
		v.Auth = AuthPinned
		if chosen != "" || oidc || v.IdentityToken.Usable() || v.IdentityTokenARN != "" || v.IdentityAudience != "" {
			v.warn("the credentials are pinned: nothing is provisioned, so the identity settings are not used")
		}
		if v.CredentialsARN != "" && v.Secret.Usable() {
			v.warn("GATEWAY_RELAY_SECRET is not used: GATEWAY_RELAY_CREDENTIALS_ARN is set")
		}
	case chosen != "":
	case oidc:
		v.Auth = AuthOIDC
		if v.IdentityToken.Usable() {
			v.warn("GATEWAY_RELAY_IDENTITY_TOKEN is not used: the identity provider is asked")
		}
	case v.IdentityTokenARN != "":
		v.Auth = AuthSecret
		if v.IdentityToken.Usable() {
			v.warn("GATEWAY_RELAY_IDENTITY_TOKEN is not used: GATEWAY_RELAY_IDENTITY_TOKEN_ARN is set")
		}
	case v.IdentityToken.Usable():
		v.Auth = AuthEnv
	case v.IdentityAudience != "":
		v.Auth = AuthAWS
	default:
		v.Auth = AuthNone
		v.warn("no identity and no secret is set: the connector is dialled unauthenticated, which is for development")
	}
	switch v.Auth {
	case AuthAWS:
		v.checkAudience(faults)
	case AuthOIDC:
		v.checkOIDC(faults)
	case AuthSecret:
		if v.IdentityTokenARN == "" {
			faults.add("GATEWAY_RELAY_IDENTITY_TOKEN_ARN", "is not set although %s is secret; want the ARN of the identity token", name)
		}
	case AuthEnv:
		v.checkIdentityToken(faults)
	}
}

// checkAudience sets the audience as a policy's condition can say it, too: scheme and host as they stand in the URL.
func (v *drainVariables) checkAudience(faults *faultList) {
	if v.IdentityAudience != "" {
		return
	}
	u, err := url.Parse(v.URL.Provision())
	switch {
	case err != nil || u.Host == "": // told already
	case u.Scheme == "http" && !loopback(u):
		faults.add("GATEWAY_RELAY_URL", "is not encrypted, and identity aws would send a token of this account's there; want https or wss")
	default:
		v.IdentityAudience = u.Scheme + "://" + u.Host
	}
}

// isSecretARN says whether it could be the ARN of a parameter or of a secret.
func isSecretARN(value string) bool {
	parts := strings.SplitN(value, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || parts[3] == "" || parts[4] == "" {
		return false
	}
	name, ok := strings.CutPrefix(parts[5], map[string]string{"ssm": "parameter/", "secretsmanager": "secret:"}[parts[2]])
	return ok && name != "" && name != parts[5] && isWord(name, "/_+=.@-")
}

func (v *drainVariables) checkARNs(faults *faultList) {
	for name, value := range map[string]string{
		"GATEWAY_RELAY_CREDENTIALS_ARN":       v.CredentialsARN,
		"GATEWAY_RELAY_IDENTITY_TOKEN_ARN":    v.IdentityTokenARN,
		"GATEWAY_RELAY_IDP_CLIENT_SECRET_ARN": v.IDPClientSecretARN,
		"DORMOUSE_AGENT_SECRET_ARN":           v.AgentSecretARN,
	} {
		if value != "" && !isSecretARN(value) {
			faults.add(name, "is not the ARN of a secret; want arn:aws:ssm:REGION:ACCOUNT:parameter/NAME or "+
				"arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME")
		}
	}
	if v.AgentSecretARN != "" && v.AgentSecret.Usable() {
		v.warn("DORMOUSE_AGENT_SECRET is not used: DORMOUSE_AGENT_SECRET_ARN is set")
		v.AgentSecret = relay.Secret{}
	}
}

func (v *drainVariables) checkOIDC(faults *faultList) {
	const (
		tokenURL = "GATEWAY_RELAY_IDP_TOKEN_URL"
		id       = "GATEWAY_RELAY_IDP_CLIENT_ID"
		secret   = "GATEWAY_RELAY_IDP_CLIENT_SECRET"
	)
	u, fault := parseURL(v.IDPTokenURL, "https", "http")
	switch {
	case v.IDPTokenURL == "":
		faults.add(tokenURL, "is not set; want the identity provider's token endpoint")
	case fault != "":
		faults.add(tokenURL, "%s", fault)
	case u.Scheme == "http" && !loopback(u):
		faults.add(tokenURL, "is plain http, which is for loopback only; want https")
	}
	if v.IDPClientSecretARN != "" && v.IDPClientSecret.Usable() {
		v.warn("%s is not used: %s_ARN is set", secret, secret)
		v.IDPClientSecret = relay.Secret{}
	}
	switch hasID, hasSecret := v.IDPClientID != "", v.IDPClientSecret.Usable() || v.IDPClientSecretARN != ""; {
	case hasSecret && !hasID:
		faults.add(id, "is not set although %s or %[1]s_ARN is; want both, or neither for an endpoint that asks for none", secret)
	case hasID && !hasSecret:
		faults.add(secret, "is not set, nor is %s_ARN, although %s is; want both, or neither for an endpoint that asks for none", secret, id)
	}
}

// policies projects the settings to what is declared of each fronted platform: nothing at all while they are the
// defaults, else everything, an explicit false included (section 14).
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

func (v *drainVariables) checkIdentityToken(faults *faultList) {
	const name = "GATEWAY_RELAY_IDENTITY_TOKEN"
	v.IdentityToken = relay.NewSecret(strings.TrimSpace(v.IdentityToken.Reveal()))
	switch token := v.IdentityToken.Reveal(); {
	case token == "":
		faults.add(name, "is not set although GATEWAY_RELAY_IDENTITY is env; want the identity token")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		faults.add(name, "has blanks or other characters inside that no token has; want the bare token")
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
	switch v.RawPassthrough {
	case "on", "off":
		v.Passthrough = v.RawPassthrough == "on"
	default:
		faults.add("DORMOUSE_PASSTHROUGH", "is %.40q; want on or off", v.RawPassthrough)
	}
}

func isFunctionName(s string) bool {
	return s != "" && isWord(s, "-_:.$/")
}

func (v *drainVariables) checkTable(faults *faultList) {
	if v.Table != "" && !isTableName(v.Table) {
		faults.add("DORMOUSE_TABLE", "is %.40q; want the name or ARN of a DynamoDB table", v.Table)
	}
}

// isTableName says whether DynamoDB could take it for one: 3 to 255 of its characters, or an ARN with them. By hand, as a
// regular expression of that takes milliseconds of each start to compile.
func isTableName(value string) bool {
	name := value
	if parts := strings.SplitN(value, ":", 6); len(parts) == 6 && parts[0] == "arn" && parts[2] == "dynamodb" {
		name, _ = strings.CutPrefix(parts[5], "table/")
	}
	return len(name) >= 3 && len(name) <= 255 && isWord(name, "_.-")
}

// isWord says whether text has nothing but letters, digits and what is in others.
func isWord(text, others string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return !strings.ContainsRune(others, r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// checkRanges looks at what is set: the defaults are in range.
func (v *drainVariables) checkRanges(values map[string]string, faults *faultList) {
	for _, d := range []struct {
		name  string
		value time.Duration
		zero  bool // is allowed
	}{
		{"DORMOUSE_AGENT_TIMEOUT", v.AgentTimeout, false},
		{"DORMOUSE_OUTBOUND_TIMEOUT", v.OutboundTimeout, false},
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
	} {
		if values[n.name] != "" && n.value < n.min {
			faults.add(n.name, "is %d; want at least %d", n.value, n.min)
		}
	}
}

// fronts reads the fronted platforms and their bots (section 4). Unlike the reference it takes the older single
// variables, each while its plural is unset; like it, a map that cannot be read counts as empty, with a warning.
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

// parseURL returns the URL, or its fault without a word of it: it may hold what is not for a log.
func parseURL(raw string, schemes ...string) (u *url.URL, fault string) {
	want := "want " + schemes[0] + "://host and a path, if any"
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, "is not a URL with a host; " + want
	case !slices.Contains(schemes, u.Scheme) || !strings.HasPrefix(raw, u.Scheme+"://"):
		return nil, "begins with another scheme than " + strings.Join(schemes, ", ") + " in small letters; " + want
	case u.User != nil:
		return nil, "has a user or password inside, which would end up in logs; " + want
	}
	return u, ""
}

func loopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return strings.EqualFold(u.Hostname(), "localhost") || ip != nil && ip.IsLoopback()
}
