package devconnector_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

func TestAPresetIsReadAsItWasWritten(t *testing.T) {
	for _, name := range devconnector.PresetNames() {
		is := is.New(t)
		p, err := devconnector.PresetNamed(name)
		is.NoErr(err)
		raw, err := json.Marshal(map[string]any{"name": name, "preset": p})
		is.NoErr(err)
		file := filepath.Join(t.TempDir(), "profile.json")
		is.NoErr(os.WriteFile(file, raw, 0o600))
		again, err := devconnector.PresetOf(file)
		is.NoErr(err)
		is.True(reflect.DeepEqual(again, p))
		is.True(!strings.Contains(string(raw), "000000000")) // times are not in nanoseconds
	}
}

func TestWhatAProfileLeavesOutIsAsHosted(t *testing.T) {
	is := is.New(t)
	p, err := devconnector.ReadPreset([]byte(`{"name":"theirs","needs":{},"preset":{"poke":"waiting","poke_every":"7s","live_ids":"always","supported_ops":["send"]}}`))
	is.NoErr(err)
	want := devconnector.Hosted()
	want.Name, want.Poke, want.PokeEvery, want.LiveIDs, want.SupportedOps = "theirs", devconnector.PokeWaiting, 7*time.Second, devconnector.LiveAlways, []string{"send"}
	is.True(reflect.DeepEqual(p, want))
}

func TestAProfileThatIsNoneIsRefused(t *testing.T) {
	for raw, want := range map[string]string{
		`{`:                                    "no profile",
		`{"preset":{}}`:                        "no name",
		`{"name":"x","preset":{"a":1}}`:        `no field "a"`,
		`{"name":"x","preset":{"poke":"now"}}`: "poke: ",
		`{"name":"x","preset":{"poke_cooldown":5}}`:        "poke_cooldown: ",
		`{"name":"x","preset":{"poke_cooldown":"-1s"}}`:    "negative",
		`{"name":"x","preset":{"window":-1}}`:              "negative",
		`{"name":"x","preset":{"buffer_id_format":"row"}}`: "no place for a number",
		`{"name":"x","preset":{"supported_ops":{}}}`:       "supported_ops: ",
	} {
		_, err := devconnector.ReadPreset([]byte(raw))
		is := is.New(t)
		is.True(err != nil)
		is.True(strings.Contains(err.Error(), want)) // the error says what
	}
	_, err := devconnector.PresetOf("nonsense")
	is.New(t).True(err != nil && strings.Contains(err.Error(), "or a file"))
}

// Whatever is in a file, it is refused, or a connector that can be made of it.
func FuzzReadPreset(f *testing.F) {
	for _, name := range devconnector.PresetNames() {
		p, _ := devconnector.PresetNamed(name)
		raw, _ := json.Marshal(map[string]any{"name": name, "preset": p})
		f.Add(raw)
	}
	f.Add([]byte(`{"name":"x","preset":{"buffer_id_format":"%[2]d","descriptor":{"a":null}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := devconnector.ReadPreset(raw)
		if err != nil {
			return
		}
		c := devconnector.New(devconnector.Config{Preset: p, Gateways: []devconnector.Gateway{{ID: "gw", Asleep: true}}})
		c.DeliverRaw("gw", []byte(`{"source":{"chat_id":"c"}}`))
		_ = p.DescriptorFor("discord")
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		again, err := json.Marshal(map[string]any{"name": p.Name, "preset": p})
		if err != nil {
			t.Fatal(err)
		}
		if q, err := devconnector.ReadPreset(again); err != nil || !reflect.DeepEqual(p, q) {
			t.Errorf("%v\n%+v\n%+v", err, p, q)
		}
	})
}
