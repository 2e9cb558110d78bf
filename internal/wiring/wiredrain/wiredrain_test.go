package wiredrain_test

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/wiring/wiredrain"
)

func TestAnEnvironmentBecomesAFunction(t *testing.T) {
	is := is.New(t)
	connector := devconnector.New(devconnector.Config{Preset: devconnector.Hosted(), Anonymous: "gw-1"})
	server := httptest.NewServer(connector)
	defer server.Close()
	defer connector.Close(t.Context())
	var log strings.Builder
	function, err := wiredrain.New(map[string]string{
		"GATEWAY_RELAY_URL": server.URL, "GATEWAY_RELAY_ID": "gw-1", "DORMOUSE_EMPTY_AFTER": "10ms",
		"DORMOUSE_SECOND_LOOK": "0",
	}, slog.NewJSONHandler(&log, nil))
	is.NoErr(err)
	report, err := function.Handle(t.Context(), json.RawMessage(`{"reason":"arm"}`))
	is.NoErr(err)
	is.Equal(report.Status, drain.Empty)
	function.Terminate() // nothing runs, so there is nothing to wait for
	is.True(strings.Contains(log.String(), logs.NoTable))
	is.True(strings.Contains(log.String(), "dialled unauthenticated")) // a warning of the settings
}

func TestFaultsAreReturned(t *testing.T) {
	is := is.New(t)
	_, err := wiredrain.New(map[string]string{"DORMOUSE_AGENT": "gopher://x"}, slog.DiscardHandler)
	is.True(strings.Contains(err.Error(), "GATEWAY_RELAY_URL is not set"))
	is.True(strings.Contains(err.Error(), "DORMOUSE_AGENT "))
}
