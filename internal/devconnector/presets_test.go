package devconnector_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

func TestAConnectorCanBecomeAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		p := r.connect("discord")
		r.c.Become(preset(t, "rustcell"))
		code, _ := p.closed()
		is.Equal(code, 1001)
		is.Equal(r.c.State().Preset, "rustcell")
		r.c.Deliver(id, event("c", "m")) // it keeps what comes for somebody who left without going_idle
		is.Equal(r.c.Buffered(id), 1)
		p = r.connect("discord") // with the credentials that it had
		is.Equal(p.bufferID(), "0000000000000001")
	})
}

func TestAnActionIsFoundByTheNumberOfItsObservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		p := r.connect("discord")
		r.c.Deliver(id, event("c", "m"))
		p.expect("inbound")
		p.do("discord", "", `{"op":"send","chat_id":"c","content":"one","metadata":{"user_id":"u"}}`)
		p.do("discord", "", `{"op":"send","chat_id":"c","content":"two","metadata":{"user_id":"u"}}`)
		o, ok := r.c.OutboundNumber(1)
		is.True(ok)
		is.Equal(o.Content, "two")
		_, ok = r.c.OutboundNumber(2)
		is.True(!ok)
	})
}

func TestAFileIsThereUntilItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		file, err := r.c.AddMedia(id, "text/plain", "a.txt", []byte("words"))
		is.NoErr(err)
		f, ok := r.c.File(file)
		is.True(ok)
		is.Equal(f, devconnector.File{ContentType: "text/plain", Filename: "a.txt", Data: []byte("words")})
		time.Sleep(time.Hour)
		_, ok = r.c.File(file)
		is.True(!ok)
	})
}
