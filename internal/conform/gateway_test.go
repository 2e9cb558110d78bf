package conform_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/conform"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/pipenet"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// checkGateway runs the kit against a gateway, in simulated time. start runs the gateway until its context ends.
func checkGateway(t *testing.T, preset devconnector.Preset, only []string, start func(ctx context.Context, ln *pipenet.Listener, platforms []string)) (
	report conform.Report,
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		known := devconnector.Gateway{ID: gatewayID, Tenant: "t", Secrets: []relay.Secret{relay.NewSecret(secret)}, Asleep: !preset.LiveOnly,
			WakeURL: "http://wake.example/"}
		c := devconnector.New(devconnector.Config{
			Preset: preset, Gateways: []devconnector.Gateway{known}, Identities: map[string]string{identity: "t"},
			Poke: func(context.Context, string) (int, error) { return http.StatusAccepted, nil },
		})
		ln := pipenet.Listen()
		srv := serve(ln, c)
		platforms := []string{"discord", "telegram"}
		if preset.Platforms != nil {
			platforms = preset.Platforms
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { start(ctx, ln, platforms) })
		var err error
		report, err = conform.RunGateway(t.Context(), conform.GatewayConfig{
			Connector: c, Gateway: gatewayID, Platforms: platforms, Only: only, Slow: true, URL: "http://connector", Elsewhere: "http://elsewhere",
		})
		if err != nil {
			t.Error(err)
		}
		cancel()
		running.Wait()
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	return report
}

// ours drains again and again, as under a schedule that is much too fast.
func ours(t *testing.T) func(ctx context.Context, ln *pipenet.Listener, platforms []string) {
	return func(ctx context.Context, ln *pipenet.Listener, platforms []string) {
		var bots []string
		for _, platform := range platforms {
			bots = append(bots, platform+"=bot-"+platform)
		}
		settings, err := config.Drain(map[string]string{
			"GATEWAY_RELAY_URL": "http://connector:80", "GATEWAY_RELAY_ID": gatewayID, "GATEWAY_RELAY_SECRET": secret,
			"GATEWAY_RELAY_PLATFORMS": strings.Join(platforms, ","), "GATEWAY_RELAY_BOT_IDS": strings.Join(bots, ","),
		})
		if err != nil {
			t.Error(err)
			return
		}
		parts := drain.Parts{Ledger: ledger.NewMemory(), Agent: agent.Echo{}, NetDial: ln.Dial, Log: slog.New(slog.DiscardHandler)}
		drainer := drain.New(settings, parts)
		for ctx.Err() == nil {
			limit, cancel := context.WithTimeout(ctx, 15*time.Minute)
			_, _ = drainer.Run(limit, drain.Request{Reason: ledger.Wake}) // what comes of it is seen on the wire
			cancel()
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
}

// Under each preset our own drain keeps every sentence.
func TestOurDrainConforms(t *testing.T) {
	for _, name := range devconnector.PresetNames() {
		t.Run(name, func(t *testing.T) {
			report := checkGateway(t, named(t, name), nil, ours(t))
			for _, result := range report.Checks {
				if result.Status != conform.Pass {
					t.Logf("%s %s: %s\n%s", result.Status, result.ID, result.Observed, strings.Join(result.Frames, "\n"))
				}
			}
			is.New(t).Equal(failed(report), []string{})
		})
	}
}
