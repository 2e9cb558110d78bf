package conform_test

import (
	"encoding/json"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/conform"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

// A connector that is met becomes a preset: what is profiled, written, read and profiled again is the same, and fails the same.
func TestAProfileIsThePresetThatItWasMadeOf(t *testing.T) {
	presets := map[string]devconnector.Preset{"ideal": ideal()}
	for _, name := range devconnector.PresetNames() {
		presets[name] = named(t, name)
	}
	for name, preset := range presets {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			report := check(t, preset, nil, nil)
			profile := report.Profile("met")
			raw, err := json.MarshalIndent(profile, "", "  ")
			is.NoErr(err)
			t.Log(string(raw))
			read, err := devconnector.ReadPreset(raw)
			is.NoErr(err)
			again := check(t, read, nil, nil)
			is.Equal(failed(again), failed(report))
			is.Equal(again.Count(conform.Skip), report.Count(conform.Skip))
			same, err := json.MarshalIndent(again.Profile("met"), "", "  ")
			is.NoErr(err)
			is.Equal(string(same), string(raw))
		})
	}
}

// The settings are those that a gateway wants for a connector.
func TestAProfileSaysWhatAGatewayNeeds(t *testing.T) {
	tests := map[string]struct {
		needs    conform.Needs
		cooldown string
	}{
		"hosted":       {conform.Needs{Credentials: "provision", BotIDs: true, InFlight: "one", Poke: "get"}, "1m5s"},
		"whatrouter":   {conform.Needs{Credentials: "pinned", Platforms: []string{"whatsapp"}, InFlight: "one", Poke: "get"}, "1m5s"},
		"agentsync":    {conform.Needs{Credentials: "enroll", InFlight: "many", Poke: "none"}, ""},
		"rustcell":     {conform.Needs{Credentials: "pinned", InFlight: "one for each chat", Poke: "post"}, ""},
		"slacksidecar": {conform.Needs{Credentials: "none", Platforms: []string{"slack"}, InFlight: "none is buffered", Poke: "none"}, ""},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			profile := check(t, named(t, name), nil, nil).Profile(name)
			is.Equal(profile.Needs, want.needs)
			is.Equal(profile.Settings["DORMOUSE_POKE_COOLDOWN"], want.cooldown)
			is.Equal(profile.Settings["DORMOUSE_OUTBOUND_TIMEOUT"], "75s")
		})
	}
	slow := devconnector.Hosted()
	slow.OutboundDelay = 4500e6
	profile := check(t, slow, []string{"action-send"}, nil).Profile("slow")
	is.New(t).Equal(profile.Settings["DORMOUSE_OUTBOUND_TIMEOUT"], "1m8s")
}
