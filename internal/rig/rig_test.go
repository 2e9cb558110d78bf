package rig_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAMessageGoesAllTheWayAndEveryCredentialIsSeen(t *testing.T) {
	is := is.New(t)
	const identity = "an-identity-token"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	seen := map[string]bool{}
	built := rigtest.Bootstraps(t)
	r, err := rig.Start(rig.Config{
		Wake: &locallambda.Function{Command: []string{built.Wake}},
		Drain: &locallambda.Function{Command: []string{built.Drain}, Env: map[string]string{
			"GATEWAY_RELAY_ID": "gw-1", "GATEWAY_RELAY_IDENTITY_TOKEN": identity, "GATEWAY_RELAY_PLATFORMS": "telegram",
			"GATEWAY_RELAY_BOT_IDS": `{"telegram":{"botId":"1"}}`, "DORMOUSE_ALLOW_ENV_SECRETS": "1",
			"DORMOUSE_IDLE_AFTER": "50ms", "DORMOUSE_EMPTY_AFTER": "50ms",
		}},
		Connector: &devconnector.Config{Preset: devconnector.Hosted(), Identities: map[string]string{identity: "tenant"}},
		Secret: func(secret string) {
			mu.Lock()
			defer mu.Unlock()
			seen[secret] = true
		},
	})
	is.NoErr(err)
	defer func() { is.NoErr(r.Close(ctx)) }()

	_, err = r.Invoke(ctx, rig.Drain, []byte(`{"reason":"arm"}`)) // the connector learns the wake URL
	is.NoErr(err)
	r.Connector.Deliver("gw-1", relay.Event{Text: "hello", MessageType: "text", MessageID: "1", Source: relay.Source{
		Platform: "telegram", ChatID: "42", ChatType: "dm", UserID: "42",
	}})
	is.NoErr(r.Connector.Wait(ctx, func(s devconnector.State) bool { return len(s.Acks) == 1 }))
	pokes := r.Connector.Pokes()
	is.Equal(len(pokes), 1)
	mu.Lock()
	defer mu.Unlock()
	is.True(seen[identity])
	is.True(len(seen) >= 4) // and what was issued, and the tokens of two sockets
}

func TestWhatFailsLeavesNothingRunning(t *testing.T) { // goleak sees to that
	is := is.New(t)
	_, err := rig.Start(rig.Config{
		Drain:     &locallambda.Function{Command: []string{"no/such/bootstrap"}},
		Connector: &devconnector.Config{Preset: devconnector.Hosted()},
	})
	is.True(err != nil && strings.Contains(err.Error(), "no/such/bootstrap"))
}

func TestADeafURLStartsNothing(t *testing.T) {
	is := is.New(t)
	r, err := rig.Start(rig.Config{Deaf: true})
	is.NoErr(err)
	defer func() { is.NoErr(r.Close(t.Context())) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for url, want := range map[string]int{r.WakeURL: http.StatusAccepted, r.WakeURL + "x": http.StatusNotFound} {
		resp, err := client.Get(url)
		is.NoErr(err)
		is.NoErr(resp.Body.Close())
		is.Equal(resp.StatusCode, want)
	}
}

func TestFindSaysWhatIsMissing(t *testing.T) {
	is := is.New(t)
	_, err := rig.Find(t.TempDir())
	is.True(err != nil && strings.Contains(err.Error(), "no function wake"))
}
