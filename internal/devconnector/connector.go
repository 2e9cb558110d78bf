// Package devconnector is a connector for development and tests: the other side of the relay contract. It uses the wire
// types of package relay and nothing else of it, so that a mistake there is not repeated here. Sections named in comments
// are the contract's; the four connectors of its section 19 are presets.
//
// Tests, chaos, the demonstration and dormouse connector make a Connector. It is an http.Handler, which the caller serves
// on any listener, also on one in memory. It has no chat platform behind it: Deliver and the control API stand in for
// users. It buffers in memory, and nothing of it outlives the process. Buffered events are delivered at least once: what
// is not acked comes again with the same id on a later socket. Live events are delivered at most once.
//
// An instance is what sleeps: it has one seat for a socket, one buffer and one wake URL. Gateway ids that were
// provisioned with the same instanceId share an instance; one without an instanceId is an instance of its own. Methods
// that take a gateway accept its id, its instance's id, or "" if there is only one.
//
// A Connector starts goroutines for sockets, pokes, delayed answers and observations. Close waits for all of them, and
// Wait for what its caller asks for; no other method blocks. All methods may be called from any goroutine, and all but
// Close also from Config.Observe.
package devconnector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// PokeFunc requests a wake URL and returns the HTTP status of the answer. ctx ends after 10 s.
type PokeFunc func(ctx context.Context, url string) (status int, err error)

// DialFunc opens a connection.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// IdentifyFunc returns the tenant that an identity token stands for. If the token is not accepted, it returns an error or
// "". An error that wraps ErrCannotAsk says nothing about the token.
type IdentifyFunc func(ctx context.Context, token string) (tenant string, err error)

// Config is what New needs; every field may be left out.
type Config struct {
	Preset      Preset            // without a Name: the hosted connector's
	Gateways    []Gateway         // known from the start
	Identities  map[string]string // identity token to tenant, for provision and enroll (section 14)
	Identify    IdentifyFunc      // asked about tokens that are not in Identities
	Enrollments map[string]string // enrollment token to tenant; each is good once
	Anonymous   string            // gateway id of dials without a token; empty refuses them
	Poke        PokeFunc          // nil: a real HTTP request, as the preset says
	PokeDial    DialFunc          // opens the connections of real ones; nil: a net.Dialer
	Observe     func(Observation) // called for each thing that happens, in order, never twice at a time
}

// Gateway is a gateway that need not provision: its credentials are pinned.
type Gateway struct {
	ID       string
	Instance string         // default: ID
	Tenant   string         // default: "dev"
	Secrets  []relay.Secret // any of them verifies; blank ones are ignored
	WakeURL  string
	Asleep   bool // starts as if it had gone idle: its events are buffered, and it is poked
}

// Connector is one running connector.
type Connector struct {
	cfg    Config
	client *http.Client // for pokes
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // sockets, pokes, delayed answers, event streams
	done   chan struct{}  // closed when the observer has seen everything

	behaviour atomic.Pointer[Preset] // see preset; it is not changed in place

	mu          sync.Mutex // guards what follows; never held during I/O
	closed      bool
	finished    bool // wg is done: nothing will be observed any more
	changed     chan struct{}
	gateways    map[string]*gateway
	instances   map[string]*instance
	order       []*instance // as they became known
	enrollments map[string]string
	failures    map[string][]time.Time
	media       map[string]medium
	open        map[*socket]struct{}
	requests    map[string]relay.Result // what was answered to a requestId
	messages    int                     // message ids given out
	faults      faults
	records
}

// New makes a Connector. Close it.
func New(cfg Config) *Connector {
	c := &Connector{
		cfg: cfg,
		// Without keep-alives no idle connection outlives a poke.
		client: &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: cfg.PokeDial, DisableKeepAlives: true,
		}},
		done:        make(chan struct{}),
		gateways:    make(map[string]*gateway),
		instances:   make(map[string]*instance),
		enrollments: make(map[string]string),
		failures:    make(map[string][]time.Time),
		media:       make(map[string]medium),
		open:        make(map[*socket]struct{}),
		requests:    make(map[string]relay.Result),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.behaviour.Store(new(cfg.Preset.withDefaults()))
	for token, tenant := range cfg.Enrollments {
		c.enrollments[token] = tenant
	}
	for _, gw := range cfg.Gateways {
		c.Register(gw)
	}
	if cfg.Observe == nil {
		close(c.done)
	} else {
		go c.report()
	}
	return c
}

// Register adds a gateway, or replaces the credentials of a known one.
func (c *Connector) Register(g Gateway) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gw := c.gateway(g.ID)
	if g.Instance != "" {
		c.join(gw, g.Instance)
	}
	gw.tenant = "dev"
	if g.Tenant != "" {
		gw.tenant = g.Tenant
	}
	gw.inst.tenant = gw.tenant
	gw.secrets = nil
	for _, secret := range g.Secrets {
		if secret.Usable() {
			gw.secrets = append(gw.secrets, rotated{value: secret})
		}
	}
	if g.WakeURL != "" {
		gw.inst.wakeURL = g.WakeURL
	}
	gw.inst.flipped = gw.inst.flipped || g.Asleep && !c.preset().LiveOnly
}

// Close ends every socket with 1001, and ends pokes, delayed answers and event streams. It returns when all of them have
// ended and Observe was called for the last time. If ctx ends first, it cuts the sockets. It returns an error only if a
// poke outlives ctx.
func (c *Connector) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	for s := range c.open {
		s.kick(1001, "going away")
	}
	c.mu.Unlock()
	c.cancel()

	gone := make(chan struct{})
	go func() {
		c.wg.Wait()
		c.mu.Lock()
		c.finished = true
		c.touch()
		c.mu.Unlock()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
		c.mu.Lock()
		for s := range c.open {
			s.ws.NetConn().Close()
		}
		c.mu.Unlock()
		select {
		case <-gone:
		case <-time.After(time.Second):
			return fmt.Errorf("devconnector: close: a Config.Poke does not heed its context: %w", ctx.Err())
		}
	}
	<-c.done
	return nil
}

// ServeHTTP serves /relay and the routes below it (section 1).
func (c *Connector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if path == "/relay" || c.preset().LostCode != 0 && websocket.IsWebSocketUpgrade(r) {
		c.serveSocket(w, r)
		return
	}
	if path == "/relay/" {
		fail(w, http.StatusBadRequest, "the socket is at /relay, without a slash behind it")
		return
	}
	p := c.preset()
	file, isFile := strings.CutPrefix(path, "/relay/media/")
	for _, route := range []struct {
		there  bool
		method string
		serve  http.HandlerFunc
	}{
		{path == "/relay/provision" && p.Provision != ProvisionNone, http.MethodPost, c.serveProvision},
		{path == "/relay/enroll" && p.Enroll, http.MethodPost, c.serveEnroll},
		{path == "/relay/policy", http.MethodPost, c.servePolicy},
		{path == "/relay/media" && p.Media, http.MethodPost, c.serveUpload},
		{isFile && p.Media, http.MethodGet, func(w http.ResponseWriter, r *http.Request) { c.serveDownload(w, r, file) }},
	} {
		if route.there {
			if allow(w, r, route.method) {
				route.serve(w, r)
			}
			return
		}
	}
	fail(w, http.StatusNotFound, "not found")
}

func allow(w http.ResponseWriter, r *http.Request, method string) bool {
	if r.Method == method {
		return true
	}
	w.Header().Set("Allow", method)
	fail(w, http.StatusMethodNotAllowed, "use "+method)
	return false
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"error": message})
}

// gateway returns the gateway of that id, and makes it if there is none. Call with c.mu held.
func (c *Connector) gateway(id string) *gateway {
	gw := c.gateways[id]
	if gw == nil {
		gw = &gateway{id: id, inst: c.instance(id)}
		gw.inst.gateways = append(gw.inst.gateways, id)
		c.gateways[id] = gw
	}
	return gw
}

// instance returns the instance of that id, and makes it if there is none. Call with c.mu held.
func (c *Connector) instance(id string) *instance {
	inst := c.instances[id]
	if inst == nil {
		inst = newInstance(c, id)
		c.instances[id] = inst
		c.order = append(c.order, inst)
	}
	return inst
}

// join moves a gateway to the instance that it names. If the old instance was this gateway's alone, that instance gets the
// new name, so that its buffer is not left behind. Call with c.mu held.
func (c *Connector) join(gw *gateway, id string) {
	old := gw.inst
	if old.id == id {
		return
	}
	alone := len(old.gateways) == 1 && old.id == gw.id
	if c.instances[id] == nil && alone {
		delete(c.instances, old.id)
		old.id = id
		c.instances[id] = old
		return
	}
	if alone && len(old.byID) == 0 && old.sock == nil {
		delete(c.instances, old.id)
		c.order = slices.DeleteFunc(c.order, func(i *instance) bool { return i == old })
	}
	old.gateways = slices.DeleteFunc(old.gateways, func(g string) bool { return g == gw.id })
	gw.inst = c.instance(id)
	gw.inst.gateways = append(gw.inst.gateways, gw.id)
}

var errUnknown = errors.New("devconnector: no such gateway, or several where none was named")

// find returns the instance of a gateway id or instance id, or the only one for "". Call with c.mu held.
func (c *Connector) find(name string) (*instance, error) {
	if name == "" && len(c.order) == 1 {
		return c.order[0], nil
	}
	if gw := c.gateways[name]; gw != nil {
		return gw.inst, nil
	}
	if inst := c.instances[name]; inst != nil {
		return inst, nil
	}
	return nil, fmt.Errorf("%w: %q: %s; a gateway is known once it has provisioned or enrolled, or if its credentials were given at "+
		"the start (dormouse connector --gateway)", errUnknown, name, c.knownIDs())
}

// knownIDs says which gateways are known. Call with c.mu held.
func (c *Connector) knownIDs() string {
	if len(c.gateways) == 0 {
		return "none is known so far"
	}
	return "known are " + strings.Join(slices.Sorted(maps.Keys(c.gateways)), ", ")
}

// enter counts a goroutine that Close has to wait for. It returns false once the Connector is closed.
func (c *Connector) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Add(1)
	return true
}

// later runs do after d, with c.mu held; never if the Connector is closed before. Call with c.mu held.
func (c *Connector) later(d time.Duration, do func()) {
	if c.closed {
		return
	}
	c.wg.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			c.mu.Lock()
			defer c.mu.Unlock()
			do()
		case <-c.ctx.Done():
		}
	})
}
