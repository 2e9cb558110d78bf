// Package devstage is a gateway in development, all of it on this machine: the development connector, both functions as
// processes on a local Lambda, a table that outlives them, and an agent that is started, restarted when its files change,
// or reached by URL. Between drain and the agent it listens, so that each turn and its answer can be shown. Everything that
// happens goes into one Log, in the order in which it happened. dormouse dev shows it on a page, dormouse chat in a terminal.
//
// Start starts servers, processes and goroutines, and Close ends them and waits for them; no other method blocks, unless it
// says so. All methods may be called from any goroutine. Everything listens on loopback.
package devstage

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/devtable"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/rig"
)

// Gateway is the gateway's id at the connector.
const Gateway = "gw-dev"

const (
	source    = "dormouse dev" // of the settings that a stage makes
	tableFile = "table.db"
)

// Config is what Start needs. Wake, Drain and Dir are required.
type Config struct {
	Wake, Drain []string // the command lines that are the functions
	Dir         string   // where the table is kept; it is made if it is not there

	Agent    Agent               // who answers; zero: echo
	Preset   devconnector.Preset // whose ways the connector takes; without a Name: the hosted one's
	Settings map[string]Given    // drain's settings, over those that Start makes
	Schedule time.Duration       // between two firings of the schedule; default 15 s, negative: never
}

// Given is a setting's value and who gave it.
type Given struct {
	Value  string
	Source string // in words, such as "this shell"
}

// Stage is what Start has started.
type Stage struct {
	log   *Log
	rig   *rig.Rig
	agent *supervisor
	tap   *tap
	table *Table

	settings []Setting
	server   *http.Server
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// Start starts everything, or nothing if there is an error. The gateway is asleep, and has to be armed before it can prove
// itself to the connector: by Arm, or by the first message.
func Start(ctx context.Context, cfg Config) (_ *Stage, err error) {
	s := &Stage{log: newLog()}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	defer func() {
		if err != nil {
			s.Close(context.WithoutCancel(ctx))
		}
	}()
	if s.table, err = OpenTable(ctx, filepath.Join(cfg.Dir, tableFile)); err != nil {
		return nil, err
	}
	if s.agent, err = newSupervisor(cfg.Agent, s.log); err != nil {
		return nil, err
	}
	s.tap = newTap(s.agent, s.log)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for turns: %w", err)
	}
	s.server = &http.Server{Handler: s.tap, ReadHeaderTimeout: 10 * time.Second}
	s.wg.Go(func() { s.server.Serve(listener) })
	s.wg.Go(func() { s.agent.run(running) })

	identity := rand.Text()
	made := stageSettings(identity, rig.LocalURL(listener)+s.tap.path)
	for name, value := range s.table.Variables() {
		made[name] = Given{value, source}
	}
	env := map[string]string{}
	for name, given := range made {
		env[name] = given.Value
	}
	for name, given := range cfg.Settings {
		env[name] = given.Value
	}
	if err := checkSettings(env); err != nil {
		return nil, err
	}
	preset := cfg.Preset
	if preset.Name == "" {
		preset = devconnector.Hosted()
	}
	s.rig, err = rig.Start(rig.Config{
		Wake:  &locallambda.Function{Command: cfg.Wake, Env: levels(env)},
		Drain: &locallambda.Function{Command: cfg.Drain, Env: env},
		Host:  locallambda.Config{Log: s.log.line, Tell: s.log.function},
		Connector: &devconnector.Config{
			Preset: AtHome(preset), Identities: map[string]string{identity: "dev"}, Observe: s.log.observe,
		},
	})
	if err != nil {
		return nil, err
	}
	// What is said before the gateway has introduced itself is for it, too.
	s.rig.Connector.Register(devconnector.Gateway{ID: Gateway, WakeURL: s.rig.WakeURL, Asleep: true})
	maps.Copy(made, cfg.Settings)
	s.settings = InForce(made)
	s.wg.Go(func() { s.fire(running, cmp.Or(cfg.Schedule, defaultSchedule)) })
	return s, nil
}

const defaultSchedule = 15 * time.Second

// checkSettings finds what drain would refuse to start with.
func checkSettings(env map[string]string) error {
	env = maps.Clone(env)
	env["GATEWAY_RELAY_URL"], env["AWS_LAMBDA_FUNCTION_NAME"] = "http://127.0.0.1:1", rig.Drain
	if _, err := config.Drain(env); err != nil {
		return fmt.Errorf("the gateway does not start with these settings: %w", err)
	}
	return nil
}

// levels are wake's settings: it logs as drain does.
func levels(drain map[string]string) map[string]string {
	env := map[string]string{}
	if level := drain["DORMOUSE_LOG_LEVEL"]; level != "" {
		env["DORMOUSE_LOG_LEVEL"] = level
	}
	return env
}

// fire invokes drain as the schedule does.
func (s *Stage) fire(ctx context.Context, every time.Duration) {
	if every < 0 {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.rig.InvokeEvent(rig.Drain, []byte(`{"reason":"schedule"}`)) // it fails once the stage closes
		case <-ctx.Done():
			return
		}
	}
}

// Arm has the gateway introduce itself to the connector, and returns once it sleeps again: about a second. Its error says
// why drain does not start.
func (s *Stage) Arm(ctx context.Context) error {
	result, err := s.rig.Invoke(ctx, rig.Drain, []byte(`{"reason":"arm"}`))
	switch {
	case err != nil:
		return fmt.Errorf("arming the gateway: %w", err)
	case result.FunctionError != "":
		return fmt.Errorf("arming the gateway: drain failed: %s", result.Payload)
	}
	return nil
}

// Log is everything that happens.
func (s *Stage) Log() *Log { return s.log }

// Connector is where messages are delivered and faults injected. Name Gateway, or "", as the gateway.
func (s *Stage) Connector() *devconnector.Connector { return s.rig.Connector }

// ConnectorURL is where the gateway dials it.
func (s *Stage) ConnectorURL() string { return s.rig.ConnectorURL }

// Host runs the functions rig.Wake and rig.Drain: to kill them, to shut them down, or to invoke them.
func (s *Stage) Host() *locallambda.Host { return s.rig.Host }

// Ledger is the gateway's, for operators. Its methods ask the table over loopback, and block until it has answered.
func (s *Stage) Ledger() ledger.Operator { return s.table.Ledger(Gateway) }

// Table is where the ledger is kept: to inject faults into it, and to see what it has cost.
func (s *Stage) Table() *devtable.Store { return s.table.Store }

// TableURL is where the table is served.
func (s *Stage) TableURL() string { return s.table.URL }

// Agent is how the agent is.
func (s *Stage) Agent() AgentState { return s.agent.state() }

// RestartAgent starts the agent anew, if it is a command.
func (s *Stage) RestartAgent() { s.agent.restart("by hand") }

// Exchanges are the turns that went to the agent, the oldest first; of one delivery if key is not empty.
func (s *Stage) Exchanges(key string) []Exchange { return s.tap.exchanges(key) }

// Settings are drain's in force, sorted by name. Secrets are redacted.
func (s *Stage) Settings() []Setting { return s.settings }

// Close ends everything: a running drain takes leave first, so that what it holds stays in the table.
func (s *Stage) Close(ctx context.Context) error {
	var faults []error
	s.cancel()
	if s.rig != nil {
		s.rig.Refuse()
		faults = append(faults, s.rig.Shutdown(rig.Drain), s.rig.Close(ctx))
	}
	if s.server != nil {
		s.server.Close()
		s.tap.transport.CloseIdleConnections()
	}
	if s.table != nil {
		faults = append(faults, s.table.Close())
	}
	s.wg.Wait()
	return errors.Join(faults...)
}

const cooldown = time.Second

// AtHome is a connector's preset as far as a stage can have it: the gateway proves itself as it does here, and the pause between
// pokes is a short one.
func AtHome(p devconnector.Preset) devconnector.Preset {
	hosted := devconnector.Hosted()
	p.Provision, p.NoCredentials, p.RotationWindow = hosted.Provision, false, hosted.RotationWindow
	p.PokeCooldown, p.MediaBase = min(p.PokeCooldown, cooldown), ""
	return p
}

// stageSettings are what makes a gateway at home here: quiet times are short, so that it can be seen to sleep.
func stageSettings(identity, agentURL string) map[string]Given {
	made := map[string]Given{}
	for name, value := range map[string]string{
		"GATEWAY_RELAY_ID":             Gateway,
		"GATEWAY_RELAY_IDENTITY_TOKEN": identity,
		"GATEWAY_RELAY_PLATFORMS":      strings.Join(Platforms(), ","),
		"GATEWAY_RELAY_BOT_IDS": `{"discord":{"botId":"1180000000000000001"},"telegram":{"botId":"700100"},` +
			`"slack":{"botId":"A06DORMOUSE"},"whatsapp":{"botId":"4930555000"}}`,
		"DORMOUSE_AGENT":             agentURL,
		"DORMOUSE_ALLOW_ENV_SECRETS": "1",
		"DORMOUSE_IDLE_AFTER":        "3s",
		"DORMOUSE_EMPTY_AFTER":       "500ms",
		"DORMOUSE_POKE_COOLDOWN":     (cooldown + cooldown/10).String(),
		"DORMOUSE_SWEEP":             "1m",
	} {
		made[name] = Given{value, source}
	}
	return made
}

// Platforms are those that the gateway fronts.
func Platforms() []string { return []string{"discord", "telegram", "slack", "whatsapp"} }
