package wirewake_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/wiring/wirewake"
)

func TestAnEnvironmentBecomesAHandler(t *testing.T) {
	is := is.New(t)
	var invoked []string
	lambda := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		invoked = append(invoked, r.URL.Path)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer lambda.Close()
	var log strings.Builder
	handler, err := wirewake.New(map[string]string{
		"DORMOUSE_DRAIN_FUNCTION": "gw-drain", "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key",
		"AWS_ENDPOINT_URL_LAMBDA": lambda.URL,
	}, slog.NewJSONHandler(&log, nil))
	is.NoErr(err)
	event, err := os.ReadFile("../../../events/wake-get.json")
	is.NoErr(err)
	answer, err := handler.Invoke(t.Context(), event)
	is.NoErr(err)
	var response struct{ StatusCode int }
	is.NoErr(json.Unmarshal(answer, &response))
	is.Equal(response.StatusCode, http.StatusAccepted)
	is.Equal(invoked, []string{"/2015-03-31/functions/gw-drain/invocations"})
	is.True(strings.Contains(log.String(), `"msg":"`+logs.Poke+`"`))
}

func TestFaultsAreReturned(t *testing.T) {
	is := is.New(t)
	_, err := wirewake.New(map[string]string{"DORMOUSE_LOG_LEVEL": "loud"}, slog.DiscardHandler)
	is.True(strings.Contains(err.Error(), "DORMOUSE_DRAIN_FUNCTION is not set"))
	is.True(strings.Contains(err.Error(), "DORMOUSE_LOG_LEVEL is"))
}
