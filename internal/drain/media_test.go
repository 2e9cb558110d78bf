package drain_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const files = "http://connector/relay/media/"

// clerk answers with the file that came, and remembers the turns.
type clerk struct {
	mu    sync.Mutex
	turns map[string]agent.Turn // by message id
}

func (c *clerk) Answer(_ context.Context, t agent.Turn) (agent.Answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turns == nil {
		c.turns = map[string]agent.Turn{}
	}
	c.turns[t.Event.MessageID] = t
	if len(t.Media) == 0 || t.Media[0].Data == nil {
		return agent.Echo{}.Answer(context.Background(), t)
	}
	return agent.Answer{Actions: []relay.Action{{
		"op": "send_media", "media_kind": "document", "data": t.Media[0].Data, "mime": "text/plain", "filename": "back.txt",
	}}}, nil
}

func (c *clerk) turn(id string) agent.Turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turns[id]
}

// attached is a message with a file that the connector has re-hosted for a gateway.
func attached(t *testing.T, r *rig, of, chat, id, content string) relay.Event {
	t.Helper()
	file, err := r.AddMedia(of, "text/plain", "in.txt", []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	e := event("discord", chat, id, id)
	e.MediaURLs = []string{files + file}
	e.Media = []relay.Media{{URL: files + file, Kind: "document", Filename: "in.txt", Size: int64(len(content))}}
	return e
}

// with and without pinned credentials: the bearer is a token of those in hand.
func TestFilesComeWithAMessageAndGoWithItsAnswer(t *testing.T) {
	for name, pinned := range map[string]bool{"provisioned": false, "pinned": true} {
		t.Run(name, func(t *testing.T) {
			clerk := &clerk{}
			bubble(t, setup{agent: clerk, pinned: pinned}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.Register(devconnector.Gateway{ID: "stranger", Tenant: "tenant-2"})
				r.Deliver(gateway, attached(t, r, gateway, "c1", "own", "hello"))
				r.Deliver(gateway, attached(t, r, "stranger", "c1", "foreign", "theirs"))
				public := event("discord", "c1", "public", "public")
				public.MediaURLs = []string{"https://cdn.example/a.png"}
				r.Deliver(gateway, public)

				rep, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(rep.Status, drain.Drained)
				is.Equal(rep.Outbound, 3)
				is.Equal(string(clerk.turn("own").Media[0].Data), "hello")
				is.Equal(clerk.turn("own").Media[0].MIME, "text/plain")
				is.Equal(clerk.turn("own").Media[0].Filename, "in.txt")
				is.Equal(clerk.turn("foreign").Media[0].Data, nil)
				is.True(strings.Contains(clerk.turn("foreign").Media[0].Error, "HTTP 404")) // another tenant's
				is.Equal(clerk.turn("public").Media, []agent.Media{{Media: relay.Media{URL: "https://cdn.example/a.png"}}})

				out := r.Outbounds()
				i := slices.IndexFunc(out, func(o devconnector.Outbound) bool { return o.Op == "send_media" })
				is.True(i >= 0)
				link, _ := out[i].Action["source_url"].(string)
				is.True(strings.HasPrefix(link, "http://connector:80/relay/media/"))
				is.Equal(out[i].Action["data"], nil)
				is.Equal(out[i].Action["filename"], "back.txt")
				is.Equal(sorted(r.replies()), []string{"c1 foreign", "c1 public"})

				back := event("discord", "c1", "again", "again") // what was uploaded can be downloaded
				back.MediaURLs = []string{link}
				r.Deliver(gateway, back)
				_, _, err = r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(string(clerk.turn("again").Media[0].Data), "hello")
			})
		})
	}
}

func TestASlowDownloadHoldsUpNobodyElse(t *testing.T) {
	clerk := &clerk{}
	bubble(t, setup{agent: clerk, env: map[string]string{"DORMOUSE_CONCURRENCY": "1"}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		serve := make(chan struct{})
		r.proxy(func(_ http.ResponseWriter, req *http.Request) bool {
			if strings.HasPrefix(req.URL.Path, "/relay/media/") {
				<-serve
			}
			return false
		})
		slow := attached(t, r, gateway, "c1", "slow", "hello")
		live := r.during(connected, func() {
			r.Deliver(gateway, slow)
			r.Deliver(gateway, event("discord", "c2", "fast", "fast"))
		})
		done := r.during(answered, func() { close(serve) })
		rep, took, err := r.run(ledger.Wake, quarter)
		live()
		done()
		is.NoErr(err)
		is.Equal(rep.Turns, 2)
		is.True(took < quarter)
		is.Equal(string(clerk.turn("slow").Media[0].Data), "hello")
	})
}

func TestAConnectorWithoutFilesGetsAText(t *testing.T) {
	agent := agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
		return agent.Answer{Actions: []relay.Action{{
			"op": "send_media", "media_kind": "image", "data": []byte("x"), "mime": "image/png", "filename": "a.png",
		}}}, nil
	})
	bubble(t, setup{agent: agent, change: func(p *devconnector.Preset) { p.Media = false }}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "x"))
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(r.replies(), []string{"c1 [a.png could not be sent]"})
		is.True(strings.Contains(r.log.String(), "this connector takes no files"))
	})
}
