package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/rig"
)

// Gateway is the gateway's id, in the connector and in the ledger.
const Gateway = "gw-demo"

const (
	closeTime = 5 * time.Second
)

// Quiet times of the demonstration. As in a deployment, the gateway takes the connector's cooldown for a bit longer than
// it is.
const (
	shortIdle     = time.Second
	shortEmpty    = 500 * time.Millisecond
	shortCooldown = time.Second
	shortMargin   = 100 * time.Millisecond
)

// stage is the connector, the functions and the HTTP API in front of wake, all of them processes but the last.
type stage struct {
	*record
	*rig.Rig // wake and drain

	connector *connectorProcess
	pids      []int // of every process that was seen
}

// openStage starts everything. env is laid over drain's. What fails later is told to rec. The identity token is made here
// and goes to the two that need it by their environments alone.
func openStage(ctx context.Context, cfg Config, env map[string]string, rec *record) (_ *stage, err error) {
	bootstraps, err := rig.Find(cfg.Functions)
	if err != nil {
		return nil, err
	}
	s := &stage{record: rec}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	identity := rand.Text()
	s.connector, err = startConnector(ctx, cfg.Connector, identity, rec)
	if err != nil {
		return nil, err
	}
	s.pids = append(s.pids, s.connector.cmd.Process.Pid)
	drainEnv := drainSettings(s.connector.at.Relay, identity)
	maps.Copy(drainEnv, env)
	s.Rig, err = rig.Start(rig.Config{
		Wake:  &locallambda.Function{Command: []string{bootstraps.Wake}},
		Drain: &locallambda.Function{Command: []string{bootstraps.Drain}, Env: drainEnv},
		Host:  locallambda.Config{Retries: -1, Log: rec.log, Done: rec.done},
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// drainSettings is drain's environment.
func drainSettings(relayURL, identity string) map[string]string {
	return map[string]string{
		"GATEWAY_RELAY_URL":            relayURL,
		"GATEWAY_RELAY_ID":             Gateway,
		"GATEWAY_RELAY_IDENTITY_TOKEN": identity,
		"GATEWAY_RELAY_PLATFORMS":      strings.Join(platforms, ","),
		"GATEWAY_RELAY_BOT_IDS": `{"discord":{"botId":"1180000000000000001"},"telegram":{"botId":"700100"},` +
			`"slack":{"botId":"A06DORMOUSE"},"whatsapp":{"botId":"4930555000"}}`,
		"DORMOUSE_ALLOW_ENV_SECRETS": "1",
		"DORMOUSE_IDLE_AFTER":        shortIdle.String(),
		"DORMOUSE_EMPTY_AFTER":       shortEmpty.String(),
		"DORMOUSE_POKE_COOLDOWN":     (shortCooldown + shortMargin).String(),
	}
}

var platforms = []string{"discord", "telegram", "slack", "whatsapp"}

// Close ends every process, and says which one outlived that.
func (s *stage) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	var faults []error
	if s.Rig != nil {
		s.notePIDs()
		faults = append(faults, s.Rig.Close(ctx))
	}
	if s.connector != nil {
		faults = append(faults, s.connector.stop())
	}
	for _, pid := range s.pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			faults = append(faults, fmt.Errorf("process %d is still there", pid))
		}
	}
	return errors.Join(faults...)
}

// notePIDs remembers the functions' processes.
func (s *stage) notePIDs() {
	s.pids = append(s.pids, slices.Concat(s.PIDs(rig.Wake), s.PIDs(rig.Drain))...)
}

// deliver writes the messages and returns their buffer ids, empty for one that found the gateway awake.
func (s *stage) deliver(ctx context.Context, messages []Message) ([]string, error) {
	var ids []string
	for _, m := range messages {
		path, body := m.delivery()
		var answer struct {
			BufferIDs []string `json:"buffer_ids"`
		}
		if err := s.control(ctx, http.MethodPost, path, body, &answer); err != nil {
			return nil, fmt.Errorf("delivering the message from %s: %w", m.From, err)
		}
		ids = append(ids, answer.BufferIDs...)
	}
	return ids, nil
}

// state is what the connector knows.
func (s *stage) state(ctx context.Context) (state devconnector.State, err error) {
	return state, s.control(ctx, http.MethodGet, "/state", nil, &state)
}

// control is one request to the connector's control API.
func (s *stage) control(ctx context.Context, method, path string, body, into any) error {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.connector.at.Control+path, content)
	if err != nil {
		return err
	}
	req.Close = true // nothing is left open behind the demonstration
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("the control API answered HTTP %d: %.200s", resp.StatusCode, answer)
	}
	return json.Unmarshal(answer, into)
}
