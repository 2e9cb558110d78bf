package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/devstage"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Machine is a gateway on this machine, with a page to watch it and to talk to it. It follows its stage until Close.
type Machine struct {
	stage *devstage.Stage
	model *Model

	mu     sync.Mutex // held while something is delivered, and while the model is told of events: one sees the other whole
	cancel context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup
	look   chan struct{} // the books may have changed

	reading      sync.Mutex // of the books
	look1, looks float64    // read units of one look, and of all of them: they are not the gateway's
}

// NewMachine follows a stage. version is what is said of this program.
func NewMachine(stage *devstage.Stage, version string) *Machine {
	m := &Machine{stage: stage, look: make(chan struct{}, 1)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	about := About{
		Title: "dormouse dev", Presets: devconnector.PresetNames(), Preset: stage.Connector().State().Preset,
		Classes: devconnector.RefusalClasses(), Version: version,
	}
	for name := range m.Acts() {
		about.Acts = append(about.Acts, name)
	}
	m.model = NewModel(about)
	m.model.OutboundsFrom(stage.Connector().OutboundNumber)
	for _, c := range Cast() {
		m.model.AddChat(c)
	}
	m.model.AddFaults(ConnectorFaults())
	m.model.AddFaults(HostFaults())
	m.model.AddFaults(LedgerFaults())
	m.agentIs(stage.Agent())
	m.settings()
	m.wg.Go(m.follow)
	m.wg.Go(m.read)
	return m
}

// Model is what there is to see.
func (m *Machine) Model() *Model { return m.model }

// Close ends what NewMachine has begun, and waits for it.
func (m *Machine) Close() {
	m.cancel()
	m.wg.Wait()
}

// ownSource is who has given what the stage sets.
const ownSource = "dormouse dev"

func (m *Machine) settings() {
	var list []Setting
	for _, s := range m.stage.Settings() {
		if s.Name == "DORMOUSE_AGENT" && s.Source == ownSource { // its path is a secret, and of no use to anybody else
			s.Value = "the agent, through dormouse dev, which keeps its turns"
		}
		list = append(list, Setting{s.Name, s.Value, s.Source})
	}
	m.model.SetSettings(list)
}

// follow tells the model what happens.
func (m *Machine) follow() {
	for seq := 0; ; {
		events, changed := m.stage.Log().Since(seq)
		if len(events) > 0 {
			m.mu.Lock()
			for _, e := range events {
				m.tell(e)
				seq = e.Seq
			}
			m.mu.Unlock()
			select {
			case m.look <- struct{}{}:
			default:
			}
			continue
		}
		select {
		case <-changed:
		case <-m.ctx.Done():
			return
		}
	}
}

func (m *Machine) tell(e devstage.Event) {
	switch {
	case e.Observation != nil:
		m.model.Observe(*e.Observation)
		if e.Observation.What == devconnector.ObsHello {
			m.model.SetAbout(func(a *About) { a.Commands = m.stage.Connector().State().Commands })
		}
	case e.Function != nil:
		m.model.Function(*e.Function)
	case e.Line != nil && e.Line.From == devstage.FromAgent:
		m.model.Printed(e.Line.Text, e.At)
	case e.Line != nil:
		m.model.Log(ReadLog(e.Line.From, e.Line.Text, e.At))
	case e.Exchange != nil:
		m.model.Exchange(*e.Exchange)
	case e.Agent != nil:
		m.agentIs(*e.Agent)
	}
}

func (m *Machine) agentIs(is devstage.AgentState) {
	words := is.What
	if is.Command != "" {
		words += ": " + is.Command
	}
	m.model.SetAbout(func(a *About) { a.Agent, a.AgentState, a.AgentWhy = is.URL, words, is.Why })
}

const (
	settleTime = 150 * time.Millisecond // from an event to a look into the books
	lookEvery  = 5 * time.Second
)

// read keeps the books up to date.
func (m *Machine) read() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		m.readBooks()
		select {
		case <-m.look:
			select {
			case <-time.After(settleTime):
			case <-m.ctx.Done():
				return
			}
		case <-ticker.C:
		case <-m.ctx.Done():
			return
		}
	}
}

func (m *Machine) readBooks() {
	ctx, cancel := context.WithTimeout(m.ctx, lookEvery)
	defer cancel()
	m.reading.Lock()
	defer m.reading.Unlock()
	began := time.Now()
	_, before := m.stage.Table().Units()
	books, err := ReadBooks(ctx, m.stage.Ledger())
	if m.ctx.Err() != nil {
		return
	}
	m.model.SetBooks(books, err, began)
	m.tellKept(ctx, books)
	writes, reads := m.stage.Table().Units()
	if !books.Held { // nobody else reads
		m.look1 = reads - before
	}
	m.looks += m.look1
	m.model.UsedTable(writes, max(0, reads-m.looks))
}

// mostShown is how many dead messages of earlier times are read at a look.
const mostShown = 50

// tellKept tells of dead messages that nobody here has seen come: an earlier dormouse dev did.
func (m *Machine) tellKept(ctx context.Context, books Books) {
	told := 0
	for _, d := range books.Dead {
		if told == mostShown {
			return
		}
		if _, known := m.model.Way(d.Key); known {
			continue
		}
		if e, err := m.stage.Ledger().ShowDead(ctx, d.Key); err == nil {
			m.model.Kept(e)
			told++
		}
	}
}

// File returns a file that the connector keeps.
func (m *Machine) File(id string) (File, bool) {
	f, ok := m.stage.Connector().File(id)
	return File{f.ContentType, f.Filename, f.Data}, ok
}

// AddFile has the connector keep a file of a user's.
func (m *Machine) AddFile(f File) (string, error) {
	return m.stage.Connector().AddMedia(devstage.Gateway, f.ContentType, f.Name, f.Data)
}

// deliver hands an event, or an interaction, to the connector.
func (m *Machine) deliver(message Message, raw json.RawMessage, forward bool, replayed string) (id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id = m.model.delivering(time.Now(), message, raw, forward, replayed)
	buffer := ""
	if forward {
		buffer = m.stage.Connector().Forward(devstage.Gateway, relay.Forward{Platform: "discord", Method: "POST", Path: "/interactions",
			Headers: [][2]string{{"content-type", "application/json"}}, Body: raw})
	} else {
		buffer = m.stage.Connector().DeliverRaw(devstage.Gateway, raw)
	}
	m.model.delivered(id, buffer)
	return id
}

// act makes an Act of a function that takes its body decoded.
func act[T any](do func(ctx context.Context, in T) (any, error)) Act {
	return func(ctx context.Context, body json.RawMessage) (any, error) {
		var in T
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, fmt.Errorf("what is to be done is not understood: %w", err)
		}
		return do(ctx, in)
	}
}

// Acts are what may be done here.
func (m *Machine) Acts() map[string]Act {
	return map[string]Act{
		"say": act(m.say), "edit": act(m.edit), "delete": act(m.remove), "press": act(m.press), "command": act(m.command), "form": act(m.form),
		"chat": act(m.newChat), "replay": act(m.replay), "case": act(m.openCase), "fault": act(m.injectFault), "preset": act(m.preset),
		"schedule": act(m.schedule), "arm": act(m.arm), "agent": act(m.restartAgent),
		"retry": act(m.retry), "drop": act(m.drop), "enable": act(m.enable),
	}
}

var errNoChat = errors.New("there is no such chat")

func (m *Machine) chatAndUser(chat, user string) (c Chat, u User, err error) {
	c, ok := m.model.chat(chat)
	if !ok || len(c.Users) == 0 {
		return c, u, errNoChat
	}
	for _, u := range c.Users {
		if u.ID == user {
			return c, u, nil
		}
	}
	return c, c.Users[0], nil
}

func (m *Machine) schedule(context.Context, struct{}) (any, error) {
	return nil, m.stage.Host().InvokeEvent(rig.Drain, []byte(`{"reason":"schedule"}`))
}

func (m *Machine) arm(context.Context, struct{}) (any, error) {
	return nil, m.stage.Host().InvokeEvent(rig.Drain, []byte(`{"reason":"arm"}`))
}

func (m *Machine) restartAgent(context.Context, struct{}) (any, error) {
	m.stage.RestartAgent()
	return nil, nil
}

func (m *Machine) preset(_ context.Context, in struct {
	Name string `json:"name"`
}) (any, error) {
	p, err := devconnector.PresetNamed(in.Name)
	if err != nil {
		return nil, err
	}
	m.stage.Connector().Become(devstage.AtHome(p))
	m.model.SetAbout(func(a *About) { a.Preset = in.Name })
	return nil, nil
}

// newChat makes one more.
func (m *Machine) newChat(_ context.Context, in Chat) (any, error) {
	in.Name = strings.TrimSpace(in.Name)
	known := map[string]bool{}
	for _, platform := range devstage.Platforms() {
		known[platform] = true
	}
	switch {
	case !known[in.Platform]:
		return nil, fmt.Errorf("the platform is one of %s", strings.Join(devstage.Platforms(), ", "))
	case in.Name == "":
		return nil, errors.New("the chat has no name")
	case in.Type != "dm" && in.Type != "group":
		return nil, errors.New("a chat is a dm or a group")
	}
	in.Chat = newMID(in.Platform, time.Now())
	if len(in.Users) == 0 {
		in.Users = []User{{Name: in.Name}}
	}
	for i := range in.Users {
		in.Users[i].ID = fmt.Sprintf("%s-%d", in.Chat, i+1)
	}
	if in.Platform == "discord" && in.Type == "group" || in.Platform == "slack" {
		in.Scope = "1101100110011001100"
	}
	m.model.AddChat(in)
	return map[string]string{"id": chatID(in.Platform, in.Chat)}, nil
}
