package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/conform"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

// A connector that was met becomes a preset and a deployment's settings without code.
func TestAConnectorThatIsMetBecomesAPresetAndSettings(t *testing.T) {
	is := is.New(t)
	url, control := subject(t, "whatrouter")
	profile := filepath.Join(t.TempDir(), "met.json")
	code, _, errs := conforms(t, url, "--gateway-id", "gw-7", "--platform", "whatsapp", "--inject", control, "--profile", profile, "--timeout", "2s",
		"--wake-listen", "127.0.0.1:0", "--only", "buffer-gated", "--only", "seat-one", "--only", "seat-newer", "--only", "egress-code",
		"--only", "hello-without-bot", "--only", "hello-strange", "--only", "descriptor-ops")
	t.Log(errs)
	is.Equal(code, 3)
	raw, err := os.ReadFile(profile)
	is.NoErr(err)
	var met conform.Profile
	is.NoErr(json.Unmarshal(raw, &met))
	is.Equal(met.Name, "met")
	is.Equal(met.Preset.SecondSocket, devconnector.SeatRefuse)
	is.Equal(met.Preset.Platforms, []string{"whatsapp"})
	is.Equal(met.Preset.BufferIDFormat, "%d")
	is.True(!met.Needs.BotIDs)
	is.Equal(met.Preset.Routing, devconnector.RouteChat)

	d := newPrepared(t)
	out, err := d.command(t, "--yes", "--no-trial", "--connector", d.connector, "--bot", "whatsapp", "--agent", "echo", "--identity", "aws",
		"--alarms", "none", "--profile", profile, "--set", "DORMOUSE_OUTBOUND_TIMEOUT=90s").CombinedOutput()
	t.Log(string(out))
	is.NoErr(err)
	config, err := os.ReadFile(filepath.Join(d.dir, "samconfig.toml"))
	is.NoErr(err)
	says(t, string(config), "DORMOUSE_POKE_COOLDOWN", "1m5s", "90s")

	for args, want := range map[string]string{
		"testdata/none": "--profile: open testdata/none",
		"template.yaml": "this is no profile",
	} {
		out, err := d.command(t, "--yes", "--profile", args).CombinedOutput()
		is.True(err != nil)
		says(t, string(out), want)
	}
}

// dormouse connector and conform gateway take a profile where they take a preset's name.
func TestAProfileStandsForAPreset(t *testing.T) {
	is := is.New(t)
	file := filepath.Join(t.TempDir(), "theirs.json")
	is.NoErr(os.WriteFile(file, []byte(`{"name":"theirs","preset":{"provision":"none","platforms":["telegram"]}}`), 0o600))
	code, _, errs := dormouse(t.Context(), "connector", "--preset", file)
	is.Equal(code, 2)
	says(t, errs, "the preset theirs does not provision")
	code, _, errs = dormouse(t.Context(), "conform", "gateway", "--preset", file, "--only", "gateway-token", "--", "false")
	is.Equal(code, 1)
	says(t, errs, "has to run until it gets SIGTERM")
	is.NoErr(os.WriteFile(file, []byte(`{"name":"theirs","preset":{"window":-1}}`), 0o600))
	code, _, errs = dormouse(t.Context(), "connector", "--preset", file)
	is.Equal(code, 2)
	says(t, errs, "--preset: ", "negative")
}
