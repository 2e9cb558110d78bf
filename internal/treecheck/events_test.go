package treecheck

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/matryer/is"
)

// canned has each file of events/ with the check that it is what its name says.
var canned = map[string]func(*is.I, []byte){
	"wake-get.json":          poke(http.MethodGet),
	"wake-post.json":         poke(http.MethodPost),
	"wake-head.json":         poke(http.MethodHead),
	"wake-put.json":          poke(http.MethodPut),
	"drain-wake.json":        request("wake", 0),
	"drain-schedule.json":    request("schedule", 0),
	"drain-arm.json":         request("arm", 0),
	"drain-continue.json":    request("continue", 1),
	"drain-eventbridge.json": scheduled,
}

func TestCannedEventsAreWhatTheirNamesSay(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "events", "*"))
	is.New(t).NoErr(err)
	is.New(t).Equal(len(files), len(canned)) // every file has its check
	for name, check := range canned {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			content, err := os.ReadFile(filepath.Join(root, "events", name))
			is.NoErr(err)
			check(is, content)
		})
	}
}

func TestReadmeSaysHowToSendEachCannedEvent(t *testing.T) {
	is := is.New(t)
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	is.NoErr(err)
	for name := range canned {
		function := "DrainFunction"
		if strings.HasPrefix(name, "wake-") {
			function = "WakeFunction"
		}
		line := "sam local invoke " + function + " --event events/" + name
		if !regexp.MustCompile(`(?m)` + regexp.QuoteMeta(line) + `\b`).Match(readme) {
			t.Errorf("README.md lacks: %s", line)
		}
	}
}

// poke checks a request to the wake URL in payload format 2.0.
func poke(method string) func(*is.I, []byte) {
	return func(is *is.I, content []byte) {
		var event events.APIGatewayV2HTTPRequest
		is.NoErr(decode(content, &event))
		is.Equal(event.Version, "2.0")
		is.Equal(event.RequestContext.HTTP.Method, method)
		is.Equal(event.RequestContext.HTTP.Path, event.RawPath)
		is.True(strings.HasPrefix(event.RawPath, "/w/")) // the template's route
		is.Equal(event.RouteKey, "ANY "+event.RawPath)
		is.Equal(event.RequestContext.RouteKey, event.RouteKey)
		at, err := time.Parse("02/Jan/2006:15:04:05 -0700", event.RequestContext.Time)
		is.NoErr(err)
		is.Equal(at.Unix(), event.RequestContext.TimeEpoch/1000)
	}
}

// request checks a payload that asks drain for a reason.
func request(reason string, hop int) func(*is.I, []byte) {
	return func(is *is.I, content []byte) {
		var payload struct {
			Reason string    `json:"reason"`
			Hop    int       `json:"hop"`
			At     time.Time `json:"at"`
		}
		is.NoErr(decode(content, &payload))
		is.Equal(payload.Reason, reason)
		is.Equal(payload.Hop, hop)
	}
}

// scheduled checks what an EventBridge rule sends where no input is set.
func scheduled(is *is.I, content []byte) {
	var event events.EventBridgeEvent
	is.NoErr(decode(content, &event))
	is.Equal(event.Source, "aws.events")
	is.Equal(event.DetailType, "Scheduled Event")
	is.True(!event.Time.IsZero())
}

func decode(content []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
