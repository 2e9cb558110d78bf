package conform

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

// facts are what checks have measured beside their verdicts.
type facts map[string]any

func (f facts) note(name string, value any) { f[name] = value }

// fact is what was measured, or the zero value.
func fact[T any](f facts, name string) (value T, measured bool) {
	value, measured = f[name].(T)
	return value, measured
}

// take sets what was measured.
func take[T any](f facts, name string, into *T) {
	if value, measured := fact[T](f, name); measured {
		*into = value
	}
}

// Profile is a connector as it was met: what a gateway wants for it, and a preset of the development connector that behaves so.
type Profile struct {
	Name     string              `json:"name"`
	Settings map[string]string   `json:"settings"` // of the gateway
	Needs    Needs               `json:"needs"`
	Fails    []string            `json:"fails"`             // the checks that failed
	Unknown  []string            `json:"unknown,omitempty"` // those that were skipped: there the preset is as the hosted connector
	Preset   devconnector.Preset `json:"preset"`
}

// Needs are what a gateway has to bring along.
type Needs struct {
	Credentials string   `json:"credentials"` // provision, enroll, pinned or none
	BotIDs      bool     `json:"bot_ids"`     // an action is refused without
	Platforms   []string `json:"platforms,omitempty"`
	InFlight    string   `json:"in_flight"` // buffered messages before an ack: one, one for each chat, or many
	Poke        string   `json:"poke"`      // get, another method, or none
}

// Profile makes one of a report of Run.
func (r Report) Profile(name string) Profile {
	p := Profile{Name: name, Settings: map[string]string{}, Preset: devconnector.Hosted(), Fails: []string{}}
	failed, passed := map[string]bool{}, map[string]bool{}
	for _, c := range r.Checks {
		switch c.Status {
		case Fail:
			failed[c.ID] = true
			p.Fails = append(p.Fails, c.ID)
		case Pass:
			passed[c.ID] = true
		default:
			p.Unknown = append(p.Unknown, c.ID)
		}
	}
	m := &measured{facts: r.facts, failed: failed, passed: passed, p: &p.Preset}
	p.Preset.Name = name
	m.credentials()
	m.socket()
	m.buffer()
	m.pokes()
	m.actions()
	p.Needs = m.needs()
	p.settings(m)
	return p
}

// settings are the gateway's.
func (p *Profile) settings(m *measured) {
	if cooldown := p.Preset.PokeCooldown; p.Preset.Poke != devconnector.PokeNone && cooldown > 0 {
		p.Settings["DORMOUSE_POKE_COOLDOWN"] = (cooldown + 5*time.Second).String()
	}
	// 4,096 units of a text may take a minute with the slowest connector that is known.
	if took, _ := fact[time.Duration](m.facts, "send-took"); took > 4*time.Second {
		p.Settings["DORMOUSE_OUTBOUND_TIMEOUT"] = (15 * took).Round(time.Second).String()
	} else {
		p.Settings["DORMOUSE_OUTBOUND_TIMEOUT"] = "75s"
	}
	if p.Needs.Credentials == "none" {
		p.Settings["GATEWAY_RELAY_IDENTITY"] = "none"
	}
}

// measured turns facts and verdicts into a preset.
type measured struct {
	facts          facts
	failed, passed map[string]bool
	p              *devconnector.Preset
}

func (m *measured) known(check string) bool { return m.failed[check] || m.passed[check] }

// set is a field that is so if a check passed, and not if it failed.
func (m *measured) set(field *bool, check string) {
	if m.known(check) {
		*field = m.passed[check]
	}
}

func (m *measured) credentials() {
	p := m.p
	refusal, _ := fact[string](m.facts, "refused upgrade-signature")
	p.NoCredentials = refusal == letIn
	p.RefuseAtUpgrade = strings.HasPrefix(refusal, "HTTP")
	take(m.facts, "leeway", &p.ExpiryLeeway)
	if end, ok := fact[ending](m.facts, "revoked"); ok {
		p.RevokedCode, p.RevokedReason = end.code, end.reason
	}
	take(m.facts, "enroll", &p.Enroll)
	second, _ := fact[bool](m.facts, "provision-second")
	switch how, _ := fact[string](m.facts, "provision"); {
	case how == "none":
		p.Provision, p.RotationWindow = devconnector.ProvisionNone, 0
	case how == "withholds":
		p.Provision = devconnector.ProvisionWithhold
	case how == "issues" && second:
		p.Provision = devconnector.ProvisionIssue
	}
	if m.failed["provision-repeat"] {
		p.RotationWindow = 0
	}
}

func (m *measured) socket() {
	p := m.p
	if gone, ok := fact[ending](m.facts, "seat"); ok {
		p.SeatCode, p.SeatReason = gone.code, gone.reason
		if m.failed["seat-newer"] {
			p.SecondSocket = devconnector.SeatRefuse
		}
	}
	take(m.facts, "lost", &p.LostCode)
	if m.failed["frames-larger"] {
		p.MaxFrame = 1 << 20
	}
	if pings, _ := fact[bool](m.facts, "pings"); pings || m.passed["seat-frozen"] && m.failed["seat-newer"] {
		p.PingEvery, p.PongWithin = 30*time.Second, time.Minute
	}
	p.ErrorFrames = m.failed["frames-unknown"]
	take(m.facts, "odd-frames", &p.OddFrames)
	take(m.facts, "platforms", &p.Platforms)
	take(m.facts, "ops", &p.SupportedOps)
	if descriptor, ok := fact[map[string]any](m.facts, "descriptor"); ok {
		p.Descriptor = differing(p, descriptor)
	}
}

// differing are the members of a descriptor that are not those of the development connector.
func differing(p *devconnector.Preset, seen map[string]any) map[string]any {
	platform, _ := seen["platform"].(string)
	usual := asJSON(p.DescriptorFor(platform))
	more := map[string]any{}
	for name, value := range seen {
		if name != "supported_ops" && !reflect.DeepEqual(value, usual[name]) {
			more[name] = value
		}
	}
	for name := range usual {
		if _, there := seen[name]; !there {
			more[name] = nil
		}
	}
	if len(more) == 0 {
		return nil
	}
	return more
}

var digits = regexp.MustCompile(`[0-9a-f]*[0-9]$`)

func (m *measured) buffer() {
	p := m.p
	switch how, _ := fact[string](m.facts, "in-flight"); how {
	case inFlightChat:
		p.Window, p.WindowPerChat = 0, true
	case inFlightMany:
		p.Window = 0
	}
	if m.failed["buffer-chat"] && p.WindowPerChat {
		p.TurnLimit = 20 * time.Minute
	}
	take(m.facts, "forwards-pass", &p.ForwardsPass)
	m.set(&p.FlipOnIdle, "idle-flip")
	m.set(&p.BufferUnflipped, "buffer-unsaid")
	p.LiveOnly = m.failed["buffer-away"]
	if id, _ := fact[string](m.facts, "buffer-id"); id != "" {
		p.BufferIDFormat = formatOf(id)
	}
	if with, ok := fact[[]bool](m.facts, "live-ids"); ok {
		switch {
		case with[0] && with[1]:
			p.LiveIDs = devconnector.LiveAlways
		case with[0] || with[1]:
			p.LiveIDs = devconnector.LiveSometimes
		}
	}
}

// formatOf is the form of a buffer id that ends in a number.
func formatOf(id string) string {
	number := digits.FindString(id)
	head := strings.ReplaceAll(strings.TrimSuffix(id, number), "%", "%%")
	switch {
	case number == "":
		return head + "-%d"
	case len(number) > 1 && number[0] == '0', strings.ContainsAny(number, "abcdef"):
		return fmt.Sprintf("%s%%0%dx", head, len(number))
	}
	return head + "%d"
}

func (m *measured) pokes() {
	p := m.p
	poke, came := fact[Poke](m.facts, "poke")
	switch interval, repeated := fact[time.Duration](m.facts, "poke-interval"); {
	case m.known("poke-get") && !came:
		p.Poke, p.PokeCooldown, p.PokeWhileConnected = devconnector.PokeNone, 0, false
		return
	case repeated:
		p.Poke, p.PokeEvery, p.PokeCooldown = devconnector.PokeWaiting, interval.Round(time.Second), 0
	}
	if cooldown, ok := fact[time.Duration](m.facts, "cooldown"); ok && p.Poke != devconnector.PokeWaiting {
		p.PokeCooldown = cooldown.Truncate(5 * time.Second)
	}
	if came {
		p.PokeMethod, p.PokeSigned = poke.Method, poke.Signed
		if !strings.HasPrefix(poke.UserAgent, "Go-http-client") {
			p.PokeUserAgent = poke.UserAgent
		}
	}
	m.set(&p.PokeWhileConnected, "poke-open")
	m.set(&p.PokeAfterCooldown, "poke-cooldown")
	m.set(&p.PokeHeedsAnswer, "poke-failed")
	if p.Poke == devconnector.PokeWaiting { // it pokes again in any case
		p.PokeAfterCooldown, p.PokeHeedsAnswer = false, false
	}
}

func (m *measured) actions() {
	p := m.p
	if m.failed["egress-refused"] {
		p.Routing = devconnector.RouteAny
	} else if m.failed["egress-code"] {
		p.Routing = devconnector.RouteChat
	}
	take(m.facts, "bot-ids", &p.RequireBotID)
	p.ErrorsUntold = m.failed["action-unknown"]
	take(m.facts, "says-retryable", &p.SaysRetryable)
	take(m.facts, "answers-again", &p.AnswersAgain)
	take(m.facts, "interrupts", &p.Interrupts)
	take(m.facts, "media", &p.Media)
	take(m.facts, "media-size", &p.MediaSize)
}

func (m *measured) needs() Needs {
	p := m.p
	n := Needs{Credentials: "pinned", BotIDs: p.RequireBotID, Platforms: p.Platforms, InFlight: inFlightOne, Poke: "none"}
	switch {
	case p.NoCredentials:
		n.Credentials = "none"
	case p.Provision != devconnector.ProvisionNone:
		n.Credentials = "provision"
	case p.Enroll:
		n.Credentials = "enroll"
	}
	switch {
	case p.LiveOnly:
		n.InFlight = "none is buffered"
	case p.WindowPerChat:
		n.InFlight = inFlightChat
	case p.Window == 0:
		n.InFlight = inFlightMany
	}
	if p.Poke != devconnector.PokeNone {
		n.Poke = strings.ToLower(cmp.Or(p.PokeMethod, "GET"))
	}
	return n
}

const (
	letIn        = "let in"
	inFlightOne  = "one"
	inFlightChat = "one for each chat"
	inFlightMany = "many"
)

// noteRefusal notes how a token was refused.
func (t *trial) noteRefusal(end ending, err error) {
	how := end.String()
	if refusal, ok := errors.AsType[*refused](err); ok {
		how = refusal.Error()
	} else if err != nil {
		how = letIn
	}
	t.facts.note("refused "+t.check.ID, how)
}

// asJSON is an object as it would come over the wire.
func asJSON(object map[string]any) map[string]any {
	raw, err := json.Marshal(object)
	if err != nil {
		panic("conform: a descriptor always marshals: " + err.Error())
	}
	var again map[string]any
	_ = json.Unmarshal(raw, &again) // it was made of one
	return again
}
