package devconnector_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

func TestPresetsByName(t *testing.T) {
	is := is.New(t)
	is.Equal(devconnector.PresetNames(), []string{"hosted", "whatrouter", "agentsync", "rustcell", "slacksidecar"})
	_, err := devconnector.PresetNamed("nonsense")
	is.True(strings.Contains(err.Error(), "hosted, whatrouter, agentsync, rustcell, slacksidecar"))
}

func TestAPresetIsTheCallersToChange(t *testing.T) {
	is := is.New(t)
	p := devconnector.Hosted()
	p.SupportedOps[0] = "changed"
	p.Window = 7
	is.Equal(devconnector.Hosted().SupportedOps[0], "send")
	is.Equal(devconnector.Hosted().Window, 1)
}

func TestAPresetOfOnesOwnNeedsOnlyAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{Preset: devconnector.Preset{Name: "mine", FlipOnIdle: true,
			Poke: devconnector.PokeWaiting}})
		r.c.Deliver(id, event("c", "m"))
		is.Equal(r.poked(), 1)
		p := r.dial(freshToken())
		p.hello("discord")
		p.expect("descriptor")
		is.Equal(p.bufferID(), "buf-1")
		is.NoErr(r.c.Revoke(id))
		code, _ := p.closed()
		is.Equal(code, 4401)
	})
}
