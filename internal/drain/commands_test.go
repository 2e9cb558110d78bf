package drain_test

import (
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func TestCommandsGoWithDiscordsHello(t *testing.T) {
	env := map[string]string{
		"GATEWAY_RELAY_PLATFORMS": "telegram,discord",
		"DORMOUSE_COMMANDS":       `[ {"name": "deploy", "description": "Deploys.", "options": [{"type": 3, "name": "version", "description": "v"}]} ]`,
	}
	bubble(t, setup{env: env}, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		time.Sleep(time.Second)
		state := r.State()
		is.Equal(len(state.Hellos), 2)
		is.True(!state.Hellos[0].Manifest) // telegram's
		is.True(state.Hellos[1].Manifest)
		is.Equal(len(state.Breaches), 0)
		is.Equal(len(state.Commands), 1)
		is.Equal(state.Commands[0].Name, "deploy")
		is.Equal(string(state.Commands[0].Options), `[{"type":3,"name":"version","description":"v"}]`)
	})
}

func TestWithoutCommandsNothingIsSaidOfThem(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		for _, hello := range r.State().Hellos {
			is.True(!hello.Manifest)
		}
		is.Equal(r.State().Commands, nil)
	})
}
