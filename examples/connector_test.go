package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/conform"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// pythonConnector starts the connector in Python. end kills it.
func pythonConnector(t *testing.T, args ...string) (url, control string, end func()) {
	t.Helper()
	is := is.New(t)
	args = append([]string{"-B", "connector/connector.py", "--listen", "0", "--control", "0"}, args...)
	cmd := exec.CommandContext(t.Context(), tool(t, "python3"), args...)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	is.NoErr(err)
	is.NoErr(cmd.Start())
	end = func() { cmd.Process.Kill(); cmd.Wait() }
	t.Cleanup(end)
	line, err := bufio.NewReader(out).ReadString('\n')
	is.NoErr(err)
	var outside, inside int
	_, err = fmt.Sscanf(line, "listening on %d %d", &outside, &inside)
	is.NoErr(err)
	return fmt.Sprintf("http://127.0.0.1:%d", outside), fmt.Sprintf("http://127.0.0.1:%d", inside), end
}

// A connector that was written from docs/contract.md alone, in another language, is one.
func TestTheConnectorInPythonConforms(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	wakes := conform.NewWakes()
	wake := httptest.NewServer(wakes)
	defer wake.Close()
	gateways := filepath.Join(t.TempDir(), "gateways.json")
	is.NoErr(os.WriteFile(gateways, fmt.Appendf(nil, `[{"id":"gw:1","secret":"s3cret-canary","wakeUrl":%q}]`, wake.URL), 0o600))
	const cooldown = 1500 * time.Millisecond
	url, control, _ := pythonConnector(t, "--gateways", gateways, "--platform", "discord", "--platform", "telegram", "--cooldown", cooldown.String()[:3])
	for _, suite := range []conform.Suite{conform.Core, conform.Sleep} {
		report, err := conform.Run(t.Context(), conform.Config{
			URL: url, GatewayID: "gw:1", Secret: relay.NewSecret("s3cret-canary"), Platforms: []string{"discord", "telegram"}, BotID: "bot",
			Suite:  suite,
			Inject: conform.NewInjector(control), Wakes: wakes, Slow: true, Cooldown: cooldown + 200*time.Millisecond, Silence: time.Second,
			Wait: 10 * time.Second,
		})
		is.NoErr(err)
		for _, result := range report.Checks {
			if result.Status != conform.Pass && !strings.HasSuffix(result.Observed, " is not offered") {
				t.Errorf("%s %s: %s\n%q", result.Status, result.ID, result.Observed, result.Frames)
			}
		}
	}
}

// What waits outlives the connector, and a gateway that provisions is told its secret; another tenant is not.
func TestTheConnectorInPythonKeepsWhatWaits(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	args := []string{"--state", filepath.Join(t.TempDir(), "connector.db"), "--identity", "a=token-a", "--identity", "b=token-b"}
	url, control, end := pythonConnector(t, args...)
	client := provision.New(provision.Config{URL: relay.NewBaseURL(url)})
	request := provision.Request{GatewayID: "gw-1", Fronts: []relay.Front{{Platform: "discord", BotID: "bot"}}}
	ours, err := client.Provision(t.Context(), relay.NewSecret("token-a"), request)
	is.NoErr(err)
	is.True(ours.Secret.Usable())
	again, err := client.Provision(t.Context(), relay.NewSecret("token-a"), request)
	is.NoErr(err)
	is.Equal(again.Secret.Reveal(), ours.Secret.Reveal())
	_, err = client.Provision(t.Context(), relay.NewSecret("token-b"), request)
	is.True(errors.Is(err, provision.ErrWithheld))
	_, err = client.Provision(t.Context(), relay.NewSecret("token-c"), request)
	is.True(err != nil && !errors.Is(err, provision.ErrWithheld))

	body := []byte(`{"gateway":"gw-1","event":{"text":"hi","message_id":"1","source":{"platform":"discord","chat_id":"c","user_id":"u"}}}`)
	resp, err := http.Post(control+"/deliver", "application/json", bytes.NewReader(body))
	is.NoErr(err)
	resp.Body.Close()
	is.Equal(resp.StatusCode, http.StatusAccepted)
	end()

	url, control, _ = pythonConnector(t, args...)
	conn, err := relay.Dial(t.Context(), relay.Config{
		URL: relay.NewBaseURL(url).RelayURL(), Token: relay.UpgradeToken("gw-1", ours.Secret, time.Now(), time.Minute), Fronts: request.Fronts,
	})
	is.NoErr(err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	d, err := conn.Receive(t.Context())
	is.NoErr(err)
	is.Equal(d.Event.Text, "hi")
	is.True(d.BufferID != "")
	is.NoErr(conn.Ack(d.BufferID))
	result, err := conn.Do(t.Context(), relay.Outbound{Platform: "discord", Action: relay.Action{"op": "send", "chat_id": "c", "content": "hello"}})
	is.NoErr(err)
	is.True(result.MessageID != "")
	resp, err = http.Get(control + "/said")
	is.NoErr(err)
	defer resp.Body.Close()
	var said []struct {
		Chat   string
		Action relay.Action
	}
	is.NoErr(json.NewDecoder(resp.Body).Decode(&said))
	is.Equal(len(said), 1)
	is.Equal(said[0].Action["content"], "hello")
}
